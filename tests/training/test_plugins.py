"""`import:` and `--import`: the user's own networks, losses and metrics, in every process."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from hfsr.errors import OptionsError
from hfsr.options import read_options
from hfsr.training import load_options

from .conftest import tiny_options, write_images

PACKAGE = """
from pathlib import Path

from torch import nn
from torch.nn import functional as F

from hfsr.registry import LOSSES, METRICS

with Path("imports.txt").open("a") as stream:
    stream.write("once\\n")


@LOSSES.register
class OwnLoss(nn.Module):
    def __init__(self, loss_weight=1.0):
        super().__init__()
        self.weight = loss_weight

    def forward(self, sr, gt, weight=None):
        return self.weight * (sr - gt).abs().mean()


@METRICS.register
def calculate_own(img, img2, **_):
    return 42.0
"""
BASICSR = """
from torch import nn
from torch.nn import functional as F
from basicsr.utils.registry import ARCH_REGISTRY


@ARCH_REGISTRY.register()
class OwnNetwork(nn.Module):
    def __init__(self, upscale=2):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.upscale = upscale

    def forward(self, x):
        return F.interpolate(self.conv(x), scale_factor=self.upscale)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a package of one's own and an option file that uses it."""
    content = tiny_options(write_images(tmp_path / "pictures"))
    content["train"] |= {"pixel_opt": {"type": "OwnLoss"}, "total_iter": 2}
    content["val"]["metrics"] = {"own": {"type": "calculate_own"}}
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_package" / "__init__.py").write_text(PACKAGE)
    (tmp_path / "own_network.py").write_text(BASICSR)
    (tmp_path / "tiny.yml").write_text(yaml.safe_dump(content))
    (tmp_path / "named.yml").write_text(yaml.safe_dump({**content, "import": "own_package"}))
    return tmp_path


def hfsr(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hfsr", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_a_package_that_the_file_names_trains_and_tests(folder):
    done = hfsr(folder, "train", "-opt", "named.yml")
    assert done.returncode == 0, done.stderr
    assert "own 42.0000" in done.stderr
    assert (folder / "imports.txt").read_text() == "once\n"
    tested = hfsr(folder, "test", "-opt", "named.yml")
    assert "own 42.0000" in tested.stdout


@pytest.mark.slow
def test_the_argument_does_the_same_in_every_process_and_is_kept_in_the_copy(folder):
    done = hfsr(folder, "train", "-opt", "tiny.yml", "--import", "own_package", "--num_processes", "2")
    assert done.returncode == 0, done.stderr
    assert "own 42.0000" in done.stderr
    assert (folder / "imports.txt").read_text() == "once\n" * 3  # the command and its two processes
    assert read_options_of(folder / "experiments/tiny/tiny.yml") == ["own_package"]


def read_options_of(path: Path) -> list[str]:
    return yaml.safe_load(path.read_text())["import"]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("basicsr") is None, reason="basicsr is not installed")
def test_what_a_module_registers_at_basicsr_is_found(folder):
    words = (
        "--import",
        "own_package",
        "own_network",
        "--force_yml",
        "network_g={type: OwnNetwork, upscale: 2}",
    )
    done = hfsr(folder, "train", "-opt", "tiny.yml", *words)
    assert done.returncode == 0, done.stderr
    assert "OwnNetwork x2, 84 parameters" in done.stderr


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, r"ModuleNotFoundError: No module named 'broken_module'"),
        ("1 / 0", r"ZeroDivisionError: division by zero"),
        ("def", r"SyntaxError: invalid syntax .*"),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_line(folder, monkeypatch, text, reason):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    if text is not None:
        (folder / "broken_module.py").write_text(text)
    with pytest.raises(
        OptionsError, match=rf"import: the module 'broken_module' cannot be imported \({reason}\)"
    ):
        load_options("tiny.yml", modules=["broken_module"])


def test_one_name_none_and_several_are_lists(folder):
    imported: list[list[str]] = []
    for value in ("a", None, ["a", "b"], []):
        content = yaml.safe_load((folder / "tiny.yml").read_text())
        content["train"]["pixel_opt"]["type"] = "L1Loss"
        content["val"].pop("metrics")
        (folder / "x.yml").write_text(yaml.safe_dump({**content, "import": value}))
        read_options(folder / "x.yml", modules=["z"], import_modules=imported.append)
    assert imported == [["a", "z"], ["z"], ["a", "b", "z"], ["z"]]
