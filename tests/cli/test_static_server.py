"""The server of the static Space, and `hfsr demo --static`."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import hfsr
from hfsr.cli import main
from hfsr.cli.static_server import static_server
from hfsr.errors import HfsrError

from ..publishing.fake_runtime import write_package


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "site" / "models").mkdir(parents=True)
    for name in ("index.html", "worker.js", "ort.mjs", "ort.wasm", "model.onnx"):
        (tmp_path / "site" / name).write_text(name)
    (tmp_path / "secret.txt").write_text("secret")
    return tmp_path / "site"


@pytest.fixture
def get(folder):
    """Answers of the server: status, headers, body."""

    def ask(path, isolated=True):
        with static_server(folder, port=0, isolated=isolated) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=20)
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            connection.close()
            server.shutdown()
        return answer.status, answer.headers, body

    return ask


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/worker.js", "text/javascript; charset=utf-8"),
        ("/ort.mjs", "text/javascript; charset=utf-8"),
        ("/ort.wasm", "application/wasm"),
        ("/model.onnx?sha256=1", "application/octet-stream"),
    ],
)
def test_files_have_their_type_and_isolate_the_page(get, path, kind):
    status, headers, _ = get(path)
    assert (status, headers["Content-Type"]) == (200, kind)
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"


def test_nothing_else_is_served(get):
    assert get("/models/")[0] == 404  # no listing
    status, _, body = get("/../secret.txt")
    assert status == 404
    assert b"secret" not in body
    assert get("/%2e%2e/secret.txt")[0] == 404


def test_isolation_can_be_left_out(get):
    assert get("/", isolated=False)[1]["Cross-Origin-Opener-Policy"] is None


def test_the_first_free_port_is_taken(folder):
    with static_server(folder) as first, static_server(folder) as second:
        assert first.server_address[1] != second.server_address[1]
        with pytest.raises(HfsrError, match=r"cannot be served on 127\.0\.0\.1, port"):
            static_server(folder, port=first.server_address[1])


def test_runtime_belongs_to_the_static_page(capsys):
    assert main(["demo", "--runtime", "x.tgz"]) == 2
    assert capsys.readouterr().err == "hfsr demo: --runtime is for the static page; add --static\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_demo_serves_until_it_is_stopped_and_removes_its_folder(tmp_path, number):
    hfsr.save_pretrained(hfsr.create_model("edsr_tiny"), tmp_path / "small")
    write_package(tmp_path / "runtime.tgz")
    (tmp_path / "tmp").mkdir()
    script = (
        "import sys; from pathlib import Path; from hfsr.cli import main; "
        "from tests.publishing.fake_runtime import pin, write_package; "
        f"pin(write_package(Path({str(tmp_path / 'runtime.tgz')!r}))); sys.exit(main(sys.argv[1:]))"
    )
    words = ["demo", "--static", "--no-browser", "--port", "0", "-m", str(tmp_path / "small")]
    environment = {
        **os.environ,
        "TMPDIR": str(tmp_path / "tmp"),
        "HFSR_CACHE": str(tmp_path / "cache"),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    demo = subprocess.Popen(
        [sys.executable, "-c", script, *words, "--runtime", str(tmp_path / "runtime.tgz")],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert demo.stdout is not None
    lines = [demo.stdout.readline(), demo.stdout.readline()]
    assert lines[0] == f"preparing {tmp_path / 'small'} for the browser\n"
    address = lines[1].split()[0].removeprefix("http://")
    host, _, port = address.partition(":")
    assert host == "127.0.0.1"
    deadline = time.monotonic() + 60
    status = 0
    while status != 200 and time.monotonic() < deadline:
        connection = http.client.HTTPConnection(host, int(port), timeout=20)
        connection.request("GET", "/site.json")
        status = connection.getresponse().status
        connection.close()
    assert status == 200
    demo.send_signal(number)
    assert demo.wait(timeout=60) == 0
    demo.stdout.close()
    assert list((tmp_path / "tmp").glob("hfsr*")) == []
