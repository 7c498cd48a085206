"""Tests of `hfsr demo`: serves the Space and deletes its files at the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import httpx
import pytest

from .conftest import free_port, wait_for_server

pytest.importorskip("gradio", reason="gradio is not installed: pip install 'hfsr[demo]'")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_demo_serves_until_stopped_and_deletes_its_files(tmp_path, number):
    (tmp_path / "tmp").mkdir()
    (tmp_path / "work").mkdir()
    port = free_port()
    with (tmp_path / "log").open("wb") as log:
        demo = subprocess.Popen(
            [sys.executable, "-m", "hfsr", "demo", "--no-browser", "--port", str(port), "-m", "hfsr-x2"],
            cwd=tmp_path / "work",
            env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for_server(url, demo, tmp_path / "log")
        assert list((tmp_path / "tmp").glob("hfsr_space_*/*"))
        upload = httpx.post(f"{url}/gradio_api/upload", files={"files": ("a.png", b"0")}, trust_env=False)
        assert upload.status_code == 200
    finally:
        demo.send_signal(number)
    assert demo.wait(timeout=60) == 0
    assert [path for path in (tmp_path / "tmp").rglob("*") if path.is_file()] == []
    assert list((tmp_path / "tmp").glob("hfsr*")) == []
    assert list((tmp_path / "work").iterdir()) == []
