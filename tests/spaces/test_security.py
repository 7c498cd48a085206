"""Tests that visitors cannot read the Space's files, make it download, bypass its queue, or overload it."""

from __future__ import annotations

import asyncio
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest

pytest.importorskip("gradio", reason="gradio is not installed: pip install 'hfsr[demo]'")

from hfsr.cli.demo import load_app

from .http_client import FILE, UPSCALE, HttpClient


@pytest.fixture
def client(served):
    with HttpClient(served.url) as client:
        yield client


@pytest.fixture
def other_server():
    """Another web server: its URL and the paths requested from it."""
    requested = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            requested.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"an image")

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", requested
    server.shutdown()
    server.server_close()


def _run(coroutine):
    """Runs a coroutine like asyncio.run, but keeps the event loop that Gradio has set for the thread."""
    with closing(asyncio.new_event_loop()) as loop:
        return loop.run_until_complete(coroutine)


@pytest.fixture(scope="module")
def middleware():
    load_app()
    from hfsr_space import middleware as module

    return module


# Files


@pytest.mark.parametrize("named", [{}, FILE])
@pytest.mark.parametrize("job", [("upscale", *UPSCALE), ("zeroshot", 2, "bicubic")])
def test_server_path_is_rejected_as_image(served, client, photo, named, job):
    name, *rest = job
    data = [{"path": str(photo), **named}, *([served.quick] if name == "upscale" else []), *rest]
    assert client.join(name, *data).status_code == (400 if named else 200)
    if not named:
        assert client.outcome() == (False, "Choose an image first.")


@pytest.mark.parametrize(
    "place", ["/etc/passwd", "app.py", "models.yml", "../log", "{quick}/config.json", "{tmp}"]
)
def test_server_files_are_not_served(served, client, place):
    assert client.fetch(place.format(quick=served.quick, tmp=served.temporary)).status_code in (403, 404)


def test_upload_cannot_leave_its_folder(served, client, photo):
    answer = client.http.post("/upload", files={"files": ("../../../../escaped.png", photo.read_bytes())})
    (path,) = answer.json()
    assert Path(path).is_relative_to(served.temporary)
    assert client.fetch(path).content == photo.read_bytes()


# The web


def test_no_url_is_downloaded_for_any_input(served, client, other_server):
    address, requested = other_server
    image = {"path": f"{address}/a.png", "url": f"{address}/a.png", **FILE}
    inputs = [{"path": ""}, served.quick, *UPSCALE]
    for place in range(len(inputs)):
        answer = client.join("upscale", *inputs[:place], image, *inputs[place + 1 :])
        assert answer.status_code == 422
        assert answer.json()["detail"][0]["message"].startswith("this page downloads nothing from the web")
    nested = {"data": [[{"a": [image]}]], "session_hash": client.session}
    for way in ("call/upscale", "call/zeroshot", "run/upscale", "api/upscale", "queue/join"):
        assert client.http.post(f"/{way}", json=nested).status_code == 422
    assert requested == []


def test_no_url_is_proxied(client, other_server):
    address, requested = other_server
    assert client.fetch(f"{address}/a.png").status_code == 403
    assert client.fetch(f"{address.replace(':', '%3A')}/a.png").status_code == 403
    assert client.http.get(f"/proxy={address}/a.png").status_code == 400
    assert requested == []


def test_gradio_without_middleware_would_download(other_server, tmp_path, monkeypatch):
    import safehttpx
    from gradio import processing_utils

    address, requested = other_server
    monkeypatch.setattr(safehttpx, "is_public_ip", lambda address: True)  # as in the Space under test
    _run(processing_utils.async_ssrf_protected_download(f"{address}/a.png", str(tmp_path)))
    assert requested == ["/a.png"]


def test_gradio_client_gets_the_message(served, other_server):
    import gradio_client

    address, requested = other_server
    space = gradio_client.Client(served.url, verbose=False, analytics_enabled=False)
    with pytest.raises(gradio_client.exceptions.ValidationError, match="save the image and send the file"):
        space.predict(image=gradio_client.handle_file(f"{address}/a.png"), api_name="/upscale")
    space.close()
    assert "/a.png" not in requested


# The queue


@pytest.mark.parametrize("way", ["run", "api"])
def test_queue_cannot_be_bypassed(served, client, photo, way):
    data = {"data": [client.upload(photo), served.quick, *UPSCALE]}
    assert client.http.post(f"/{way}/upscale", json=data).status_code == 404


def test_too_large_request(client):
    answer = client.http.post("/queue/join", json={"data": ["x" * 1_000_000], "session_hash": client.session})
    assert answer.status_code == 413
    assert "too large" in answer.json()["detail"]


def _request(middleware, path="/", method="GET", headers=(), parts=(b"",), scheme="http"):
    """Returns status and headers of the response, and the body that the app received (None: not called)."""
    through, answer = [], {}

    async def behind(scope, receive, send):
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                break
        through.append(body)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    waiting = [
        {"type": "http.request", "body": p, "more_body": i < len(parts) - 1} for i, p in enumerate(parts)
    ]

    async def receive():
        return waiting.pop(0)

    async def send(message):
        answer.update(message)

    scope = {"type": "http", "path": path, "method": method, "headers": list(headers), "scheme": scheme}
    _run(middleware.RequestFilter(behind)(scope, receive, send))
    return answer["status"], dict(answer["headers"]), through[0] if through else None


def test_body_is_passed_on_unchanged(middleware):
    parts = (b'{"data": [{"path": ', b'"/tmp/a.png", "url": "http://here/a.png"}]}')
    status, _, body = _request(middleware, "/gradio_api/queue/join", "POST", parts=parts)
    assert (status, body) == (200, b"".join(parts))


def test_invalid_json_is_passed_on(middleware):
    assert _request(middleware, "/gradio_api/queue/join", "POST", parts=(b"[" * 100_000,))[0] == 200


def test_escaped_url_is_found(middleware):
    body = b'{"data": [{"path": "htt\\u0070://elsewhere/a.png"}]}'
    assert _request(middleware, "/gradio_api/queue/join", "POST", parts=(body,))[::2] == (422, None)


def test_uploads_are_limited_while_streaming(middleware, monkeypatch):
    monkeypatch.setattr(middleware.limits, "MAX_UPLOAD", 1000)
    monkeypatch.setattr(middleware, "UPLOAD_OVERHEAD", 10)
    assert _request(middleware, "/gradio_api/upload", "POST", parts=(b"x" * 500, b"x" * 510))[0] == 200
    assert _request(middleware, "/gradio_api/upload", "POST", parts=(b"x" * 500, b"x" * 511))[::2] == (
        413,
        None,
    )


def test_browser_gets_one_cookie(middleware):
    _, headers, _ = _request(middleware)
    cookie = headers[b"set-cookie"].decode()
    assert cookie.endswith("; Path=/; HttpOnly; SameSite=Lax")
    again = [(b"cookie", b"other=1; " + cookie.split(";")[0].encode())]
    assert b"set-cookie" not in _request(middleware, headers=again)[1]
    assert b"set-cookie" not in _request(middleware, "/config")[1]
    assert _request(middleware)[1][b"set-cookie"] != headers[b"set-cookie"]


@pytest.mark.parametrize("how", [{"scheme": "https"}, {"headers": [(b"x-forwarded-proto", b"https")]}])
def test_cookie_in_an_iframe_of_the_hub(middleware, how):
    assert _request(middleware, **how)[1][b"set-cookie"].endswith(
        b"HttpOnly; SameSite=None; Secure; Partitioned"
    )


def test_unknown_endpoint_is_404_and_the_connection_stays_open(client):
    for name in ("nothing", "v2/nothing"):
        response = client.http.post(f"/call/{name}", json={"data": []})
        assert response.status_code == 404
        assert "there is no endpoint '/nothing'; use one of" in response.json()["detail"]
        assert response.headers.get("connection") != "close"
    assert client.http.get("/info").status_code == 200


def test_page_sets_the_cookie(served):
    answer = httpx.get(served.url, trust_env=False)
    assert "hfsr_visitor" in answer.cookies
