"""Curves and images on a real visdom server at 127.0.0.1."""

from __future__ import annotations

import importlib
import json
import socket
import subprocess
import sys
import time
from importlib.util import find_spec

import pytest

from hfsr import training

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("visdom") is None, reason="needs visdom"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:visdom"),
]
SERVER = "from visdom.server.run_server import main; main()"
"""`python -m visdom.server` downloads scripts for the browser first."""


@pytest.fixture
def port(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    command = [sys.executable, "-c", SERVER, "-port", str(number), "--hostname", "127.0.0.1", "-bind_local"]
    log = (tmp_path / "server.log").open("w")
    server = subprocess.Popen(
        [*command, "-env_path", str(tmp_path / "environments")], stdout=log, stderr=subprocess.STDOUT
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", number), 1).close()
                break
            except OSError:
                assert server.poll() is None, (tmp_path / "server.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.2)
        yield number
    finally:
        server.terminate()
        server.wait(30)
        log.close()


def test_curves_and_images_arrive(tmp_path, options, port):
    where = f"logger:visdom={{server: 'http://127.0.0.1', port: {port}}}"
    training.train(options(where), root=tmp_path)
    visdom = importlib.import_module("visdom")
    client = visdom.Visdom(server="http://127.0.0.1", port=port, env="tiny", use_incoming_socket=False)
    windows = {window["title"]: window for window in json.loads(client.get_window_data(env="tiny")).values()}
    loss = windows["l_pix"]["content"]["data"][0]
    assert loss["x"] == [1, 2, 3, 4, 5, 6]
    assert all(value > 0 for value in loss["y"])
    assert windows["held_out/psnr_y"]["content"]["data"][0]["x"] == [0, 3, 6]
    image = next(window for title, window in windows.items() if title.startswith("held_out: lq, sr, gt"))
    assert image["title"].endswith("iteration 6")
    assert image["content"]["src"].startswith("data:image/")
