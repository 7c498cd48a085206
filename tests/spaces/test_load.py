"""Load test: twenty simultaneous visitors get a result or a clear error, and memory stays bounded."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest
from PIL import Image

import hfsr
from hfsr.cli.demo import load_app

pytest.importorskip("gradio", reason="gradio is not installed: pip install 'hfsr[demo]'")

from .conftest import eventually
from .http_client import UPSCALE, HttpClient

VISITORS = 20
EXTRA_BYTES = 200 << 20
"""Bytes that the server may use in addition to its peak with one visitor: sessions, streams, fragments."""


class PeakMemory:
    """Context manager that measures the peak resident memory of a process."""

    def __init__(self, pid: int) -> None:
        self.process, self.bytes = psutil.Process(pid), 0
        self._done = threading.Event()
        self._watch = threading.Thread(target=self._look)

    def __enter__(self) -> PeakMemory:
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._watch.join()

    def _look(self) -> None:
        while not self._done.wait(0.02):
            self.bytes = max(self.bytes, self.process.memory_info().rss)


@pytest.mark.slow
def test_twenty_visitors_at_once(served, large_photo, tmp_path):
    load_app()
    from hfsr_space import limits

    hfsr.Upscaler(hfsr.from_pretrained(served.quick), tile=256, dtype="fp32").file(
        large_photo, tmp_path / "own.png"
    )
    with Image.open(tmp_path / "own.png") as image:
        own = np.asarray(image)
    answered = threading.Barrier(VISITORS + 1)

    def visit(number, wait=answered.wait):
        """Returns "busy", or True if the PNG is correct."""
        with HttpClient(served.url) as client:
            answer = client.join(
                "upscale", client.upload(large_photo), served.quick, "256", "fp32", *UPSCALE[2:]
            )
            wait()
            if answer.status_code == 503:
                assert answer.json()["detail"].startswith("Queue is full. Max size is 8")
                return "busy"
            answer.raise_for_status()
            good, (png, report) = client.outcome()
            assert good
            assert report.startswith("3000 × 2000, ")
            (tmp_path / f"{number}.png").write_bytes(client.fetch(png["path"]).content)
        with Image.open(tmp_path / f"{number}.png") as image:
            return np.array_equal(np.asarray(image), own)

    with PeakMemory(served.pid) as alone:
        assert visit("alone", wait=lambda: None) is True
    with (
        PeakMemory(served.pid) as crowded,
        ThreadPoolExecutor(VISITORS) as visitors,
        HttpClient(served.url) as first,
    ):
        held = (served.slow, "64", "fp32", *UPSCALE[2:])  # runs until all visitors have joined
        event = first.join("upscale", first.upload(large_photo), *held).json()["event_id"]
        assert eventually(served.jobs)
        outcomes = [visitors.submit(visit, number) for number in range(VISITORS)]
        answered.wait(timeout=250)
        first.cancel("upscale", event)
        outcomes = [outcome.result() for outcome in outcomes]
    assert set(outcomes) == {True, "busy"}
    assert outcomes.count(True) >= limits.MAX_WAITING
    assert crowded.bytes < alone.bytes + EXTRA_BYTES
    assert served.is_idle()
