"""What a stranger may not do with the Space: read its files, have it fetch, pass its queue, flood it."""

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

from .program import FILE, Program


@pytest.fixture
def program(served):
    with Program(served.url) as program:
        yield program


@pytest.fixture
def elsewhere():
    """A server of the web, and what it was asked for."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"a picture")

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def _run(coroutine):
    """As asyncio.run, but the thread keeps the event loop that gradio has given it."""
    with closing(asyncio.new_event_loop()) as loop:
        return loop.run_until_complete(coroutine)


@pytest.fixture(scope="module")
def door():
    load_app()
    from hfsr_space import middleware

    return middleware


# Files


@pytest.mark.parametrize("named", [{}, FILE])
@pytest.mark.parametrize("job", [("upscale", "auto", "auto", False, 1), ("zeroshot", 2, "bicubic")])
def test_a_path_of_the_server_is_no_picture(served, program, photo, named, job):
    name, *rest = job
    data = [{"path": str(photo), **named}, *([served.quick] if name == "upscale" else []), *rest]
    assert program.join(name, *data).status_code == (400 if named else 200)
    if not named:
        assert program.outcome() == (False, "Drop a picture first.")


@pytest.mark.parametrize(
    "place", ["/etc/passwd", "app.py", "models.yml", "../log", "{quick}/config.json", "{tmp}"]
)
def test_files_of_the_server_are_not_handed_out(served, program, place):
    assert program.fetch(place.format(quick=served.quick, tmp=served.temporary)).status_code in (403, 404)


def test_an_upload_cannot_climb_out_of_its_folder(served, program, photo):
    answer = program.http.post("/upload", files={"files": ("../../../../escaped.png", photo.read_bytes())})
    (path,) = answer.json()
    assert Path(path).is_relative_to(served.temporary)
    assert program.fetch(path).content == photo.read_bytes()


# The web


def test_no_web_address_is_fetched_for_any_input(served, program, elsewhere):
    address, asked = elsewhere
    picture = {"path": f"{address}/a.png", "url": f"{address}/a.png", **FILE}
    inputs = [{"path": ""}, served.quick, "auto", "auto", False, 1]
    for place in range(len(inputs)):
        answer = program.join("upscale", *inputs[:place], picture, *inputs[place + 1 :])
        assert answer.status_code == 422
        assert answer.json()["detail"][0]["message"].startswith("this page fetches nothing from the web")
    nested = {"data": [[{"a": [picture]}]], "session_hash": program.session}
    for way in ("call/upscale", "call/zeroshot", "run/upscale", "api/upscale", "queue/join"):
        assert program.http.post(f"/{way}", json=nested).status_code == 422
    assert asked == []


def test_no_web_address_is_handed_on(program, elsewhere):
    address, asked = elsewhere
    assert program.fetch(f"{address}/a.png").status_code == 403
    assert program.fetch(f"{address.replace(':', '%3A')}/a.png").status_code == 403
    assert program.http.get(f"/proxy={address}/a.png").status_code == 400
    assert asked == []


def test_gradio_alone_would_have_fetched_it(elsewhere, tmp_path, monkeypatch):
    import safehttpx
    from gradio import processing_utils

    address, asked = elsewhere
    monkeypatch.setattr(safehttpx, "is_public_ip", lambda address: True)  # as in the Space under test
    _run(processing_utils.async_ssrf_protected_download(f"{address}/a.png", str(tmp_path)))
    assert asked == ["/a.png"]


def test_gradio_client_is_told_in_words(served, elsewhere):
    import gradio_client

    address, asked = elsewhere
    space = gradio_client.Client(served.url, verbose=False, analytics_enabled=False)
    with pytest.raises(gradio_client.exceptions.ValidationError, match="save the picture and send the file"):
        space.predict(image=gradio_client.handle_file(f"{address}/a.png"), api_name="/upscale")
    space.close()
    assert "/a.png" not in asked


# The queue


@pytest.mark.parametrize("way", ["run", "api"])
def test_nobody_passes_the_queue_by(served, program, photo, way):
    data = {"data": [program.upload(photo), served.quick, "auto", "auto", False, 1]}
    assert program.http.post(f"/{way}/upscale", json=data).status_code == 404


def test_a_request_that_is_too_large(program):
    answer = program.http.post(
        "/queue/join", json={"data": ["x" * 1_000_000], "session_hash": program.session}
    )
    assert answer.status_code == 413
    assert "too large" in answer.json()["detail"]


def _ask(door, path="/", method="GET", headers=(), parts=(b"",), scheme="http"):
    """What the door answers: status, headers, and the body that came through, None where none did."""
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
    _run(door.Door(behind)(scope, receive, send))
    return answer["status"], dict(answer["headers"]), through[0] if through else None


def test_a_body_comes_through_whole(door):
    parts = (b'{"data": [{"path": ', b'"/tmp/a.png", "url": "http://here/a.png"}]}')
    status, _, body = _ask(door, "/gradio_api/queue/join", "POST", parts=parts)
    assert (status, body) == (200, b"".join(parts))


def test_what_is_no_json_is_left_to_gradio(door):
    assert _ask(door, "/gradio_api/queue/join", "POST", parts=(b"[" * 100_000,))[0] == 200


def test_an_address_may_be_hidden_in_escapes_but_is_found(door):
    body = b'{"data": [{"path": "htt\\u0070://elsewhere/a.png"}]}'
    assert _ask(door, "/gradio_api/queue/join", "POST", parts=(body,))[::2] == (422, None)


def test_uploads_are_counted_while_they_come(door, monkeypatch):
    monkeypatch.setattr(door.limits, "MAX_UPLOAD", 1000)
    monkeypatch.setattr(door, "ROOM", 10)
    assert _ask(door, "/gradio_api/upload", "POST", parts=(b"x" * 500, b"x" * 510))[0] == 200
    assert _ask(door, "/gradio_api/upload", "POST", parts=(b"x" * 500, b"x" * 511))[::2] == (413, None)


def test_a_browser_gets_a_cookie_once(door):
    _, headers, _ = _ask(door)
    cookie = headers[b"set-cookie"].decode()
    assert cookie.endswith("; Path=/; HttpOnly; SameSite=Lax")
    again = [(b"cookie", b"other=1; " + cookie.split(";")[0].encode())]
    assert b"set-cookie" not in _ask(door, headers=again)[1]
    assert b"set-cookie" not in _ask(door, "/config")[1]
    assert _ask(door)[1][b"set-cookie"] != headers[b"set-cookie"]


@pytest.mark.parametrize("how", [{"scheme": "https"}, {"headers": [(b"x-forwarded-proto", b"https")]}])
def test_inside_the_hubs_page_the_cookie_is_kept(door, how):
    assert _ask(door, **how)[1][b"set-cookie"].endswith(b"HttpOnly; SameSite=None; Secure; Partitioned")


def test_the_served_page_gives_the_cookie(served):
    answer = httpx.get(served.url, trust_env=False)
    assert "hfsr_visitor" in answer.cookies
