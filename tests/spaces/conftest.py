"""Fixtures of the Space's tests: the Space runs as on the Hub, by `python app.py` in a copy of its folder."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import hfsr
from hfsr import _resources
from hfsr.checkpoints import write_model_folder

_START_SECONDS = 120
# The first line lets Gradio download from 127.0.0.1, which it refuses by default, so that tests can detect
# downloads; the second limits zero-shot training.
_SITECUSTOMIZE = """
import safehttpx; safehttpx.is_public_ip = lambda address: True
from hfsr.priors.zeroshot import ZeroShotConfig; ZeroShotConfig.__init__.__kwdefaults__["iterations"] = 1000
"""


CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
TIMEOUT_MS = 90_000


@pytest.fixture(scope="module")  # its event loop must end before tests that run one of their own
def chromium():
    """The browser of a module's tests; each test opens pages in its own context."""
    if not CHROMIUM.exists():
        pytest.skip("no Chromium: apt-get install chromium")
    reason = "playwright is not installed: pip install 'hfsr[test]'"
    api = pytest.importorskip("playwright.sync_api", reason=reason)
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield browser
        browser.close()


@dataclass(frozen=True)
class Served:
    """A running Space whose catalog has three tasks; the third one offers the bundled models by kind.

    Attributes:
        url: URL of the page.
        pid: process id of the server.
        temporary: temporary folder of the server: uploads, results and files of running jobs.
        quick: model selected at the start, a tiny EDSR.
        slow: second model of the same task; a tile takes about a second.
        strong, mild: model of the other task, and its milder training.
    """

    url: str
    pid: int
    temporary: Path
    quick: str
    slow: str
    strong: str
    mild: str

    def jobs(self) -> list[Path]:
        """Returns the folders of running jobs, and those that jobs left behind."""
        return list(self.temporary.glob("hfsr-*"))

    def is_idle(self, seconds: float = 20) -> bool:
        """Waits for canceled jobs to end; returns True if none is left."""
        return eventually(lambda: not self.jobs(), seconds)


def eventually(condition: Callable[[], bool], seconds: float = 20) -> bool:
    """Waits until a condition is true; returns False after a timeout."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_server(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"the Space did not start:\n{log.read_text()}")


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    pytest.importorskip("gradio", reason="gradio is not installed: pip install 'hfsr[demo]'")
    folder = tmp_path_factory.mktemp("space")
    names = {"quick": "edsr_tiny", "slow": "edsr_baseline_x2", "strong": "edsr_tiny", "mild": "edsr_tiny"}
    for seed, (name, preset) in enumerate(names.items()):
        torch.manual_seed(seed)
        write_model_folder(hfsr.create_model(preset), folder / name)
    models = {name: str(folder / name) for name in names}
    space = shutil.copytree(_resources.path("spaces", "upscaler"), folder / "space")
    catalog = {
        "Enlarge": {"quickly": models["quick"], "slowly": models["slow"]},
        "Clean": {"of grain": {"model": models["strong"], "mild": models["mild"]}},
        "By kind": {"Automatic": "auto", "Photo from the web": "photo", "Clean image": "clean"},
    }
    (space / "models.yml").write_text(yaml.safe_dump(catalog, sort_keys=False))
    (folder / "tmp").mkdir()
    (folder / "path").mkdir()
    (folder / "path/sitecustomize.py").write_text(_SITECUSTOMIZE)
    port = free_port()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(folder / "path"), os.environ.get("PYTHONPATH")])),
        "GRADIO_SERVER_PORT": str(port),
        "TMPDIR": str(folder / "tmp"),
        "OMP_NUM_THREADS": str(torch.get_num_threads()),  # same order of summation as in this process
    }
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "app.py"], cwd=space, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for_server(url, server, folder / "log")
        yield Served(url, server.pid, folder / "tmp", **models)
    finally:
        server.terminate()
        server.wait(timeout=30)


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small image, 300x200 px, with gradients and noise."""
    noise = np.random.default_rng(0).integers(0, 60, (200, 300, 3))
    slope = np.linspace(0, 190, 300)[None, :, None]
    path = tmp_path_factory.mktemp("images") / "photo.png"
    Image.fromarray((noise + slope).astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="session")
def large_photo(photo: Path) -> Path:
    """An image of 1500x1000 px: 24 tiles of 256 px."""
    path = photo.with_name("large.png")
    with Image.open(photo) as image:
        image.resize((1500, 1000)).save(path)
    return path


@pytest.fixture(scope="session")
def text_file(photo: Path) -> Path:
    path = photo.with_name("letter.png")
    path.write_text("Dear reader, this is no image.")
    return path
