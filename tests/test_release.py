"""The wheel and the sdist, each installed into an environment of its own and used away from the checkout."""

from __future__ import annotations

import os
import site
import socket
import subprocess
import sys
import time
import urllib.request
import venv
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def distributions(tmp_path_factory) -> dict[str, Path]:
    """The wheel, and a wheel built from the sdist, as pip does when it installs an sdist."""
    folder = tmp_path_factory.mktemp("dist")
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)], folder)
    (wheel,) = folder.glob("*.whl")
    (sdist,) = folder.glob("*.tar.gz")
    from_sdist = folder / "from_sdist"
    command = ["pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(from_sdist)]
    run([sys.executable, "-m", *command, str(sdist)], folder)
    return {"wheel": wheel, "sdist": next(from_sdist.glob("*.whl"))}


@pytest.fixture(scope="module", params=["wheel", "sdist"])
def environment(request, distributions, tmp_path_factory) -> Path:
    """The `bin` folder of a new environment with hfsr; other packages are those of this environment.

    A `.pth` file lends them, since a test has no package index. Editable installs are not lent: Python reads
    `.pth` files in its own site folders only.
    """
    folder = tmp_path_factory.mktemp(f"venv_{request.param}")
    venv.create(folder, with_pip=False)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    python = programs / "python"
    purelib = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    pip = [sys.executable, "-m", "pip", f"--python={python}", "install", "--no-deps", "--no-index"]
    run([*pip, str(distributions[request.param])], folder)
    Path(purelib, "lent_packages.pth").write_text("\n".join(site.getsitepackages()))
    return programs


def run(command: list[str], folder: Path) -> str:
    """Runs a command in a folder without PYTHONPATH; fails with its output."""
    variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_is_installed_from_the_distribution(environment, tmp_path):
    code = "import hfsr, importlib.metadata as m; print(hfsr.__file__, hfsr.__version__, m.version('hfsr'))"
    path, version, metadata = run([str(environment / "python"), "-c", code], tmp_path).split()
    assert Path(path).is_relative_to(environment.parent)
    assert version == metadata


def test_the_sample_is_upscaled(environment, tmp_path):
    run([str(environment / "hfsr"), "upscale", "--sample"], tmp_path)
    (result,) = (tmp_path / "results").iterdir()
    with Image.open(result) as image:
        assert image.size == (2112, 1188)


def test_a_packaged_option_file_is_checked(environment, tmp_path):
    if find_spec("basicsr") is None:
        pytest.skip("training needs the extra [train]")
    text = run([str(environment / "hfsr"), "train", "-opt", "options/quickstart_x2.yml", "--check"], tmp_path)
    assert "iteration" in text


def test_the_demo_answers(environment, tmp_path):
    pytest.importorskip("gradio", reason="the demo needs the extra [demo]")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [str(environment / "hfsr"), "demo", "--port", str(port), "--no-browser"]
    with (
        open(tmp_path / "log", "w+") as log,
        subprocess.Popen(command, cwd=tmp_path, env=variables, stdout=log, stderr=log) as process,
    ):
        try:
            page = _page(f"http://127.0.0.1:{port}/", process, tmp_path / "log")
        finally:
            process.terminate()
    assert "gradio" in page


def _page(address: str, process: subprocess.Popen[bytes], log: Path) -> str:
    """The page as soon as the server answers, at most two minutes after its start."""
    for _ in range(240):
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                return answer.read().decode()
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"no answer from {address}: {log.read_text()}")
