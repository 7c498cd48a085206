"""The Space, served as `hfsr demo` serves it, in a process and folders of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import hfsr
from hfsr.checkpoints import write_model_folder

_START_SECONDS = 120


@dataclass(frozen=True)
class Served:
    """A running Space."""

    url: str
    temporary: Path
    """The server's temporary folder: uploads, results, and what a job has in work."""
    quick: str
    """The model chosen at the start: EDSR, tiny."""
    slow: str
    """A second one, about a second for a piece."""

    def jobs(self) -> list[Path]:
        """Folders of jobs that are running, or that were not tidied."""
        return list(self.temporary.glob("hfsr-*"))


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    pytest.importorskip("gradio", reason="gradio is not installed: pip install 'hfsr[demo]'")
    folder = tmp_path_factory.mktemp("space")
    torch.manual_seed(0)
    write_model_folder(hfsr.create_model("edsr_tiny"), folder / "quick")
    write_model_folder(hfsr.create_model("edsr_baseline_x2"), folder / "slow")
    (folder / "tmp").mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "hfsr", "demo", "--no-browser", "--port", str(port)]
    command += ["-m", str(folder / "quick"), "-m", str(folder / "slow")]
    environment = {
        **os.environ,
        "TMPDIR": str(folder / "tmp"),
        "OMP_NUM_THREADS": str(torch.get_num_threads()),  # sums in the order of this process
    }
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_it_answers(url, server, folder / "log")
        yield Served(url, folder / "tmp", str(folder / "quick"), str(folder / "slow"))
    finally:
        server.terminate()
        server.wait(timeout=30)


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture of two pieces: 300x200 px, smooth and noisy."""
    noise = np.random.default_rng(0).integers(0, 60, (200, 300, 3))
    slope = np.linspace(0, 190, 300)[None, :, None]
    path = tmp_path_factory.mktemp("pictures") / "photo.png"
    Image.fromarray((noise + slope).astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="session")
def large_photo(photo: Path) -> Path:
    """A picture of 24 pieces: 1500x1000 px."""
    path = photo.with_name("large.png")
    with Image.open(photo) as image:
        image.resize((1500, 1000)).save(path)
    return path


@pytest.fixture(scope="session")
def text_file(photo: Path) -> Path:
    path = photo.with_name("letter.png")
    path.write_text("Dear reader, this is no picture.")
    return path


def _wait_until_it_answers(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"the Space did not start:\n{log.read_text()}")
