"""What travels with the package is found in an editable install and in a wheel."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

from hfsr import _resources
from hfsr.errors import HfsrError

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def packaged(tmp_path, monkeypatch):
    """A package folder of the test's own, as a wheel lays it out."""
    package = tmp_path / "hfsr"
    for name in ("_packaged/options/edsr_x2.yml", "weights/small/config.json", "weights/.cache/config.json"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).touch()
    monkeypatch.setattr(_resources, "_PACKAGE", package)
    return package


def test_a_wheel_is_read_in_its_own_folder(packaged):
    assert _resources.path("options", "edsr_x2.yml") == packaged / "_packaged" / "options" / "edsr_x2.yml"
    assert _resources.path("weights", "small") == packaged / "weights" / "small"


def test_a_checkout_is_read_in_place(packaged):
    (packaged.parent / "model_cards").mkdir()
    (packaged.parent / "model_cards" / "small.md").touch()
    assert _resources.path("model_cards", "small.md") == packaged.parent / "model_cards" / "small.md"


def test_bundled_models_are_folders_with_a_config(packaged):
    (packaged / "weights" / "half").mkdir()
    assert _resources.bundled_models() == ["small"]


def test_an_unknown_name_names_the_nearest(packaged):
    with pytest.raises(HfsrError, match=r"no packaged options 'edsr_x3\.yml'; did you mean 'edsr_x2\.yml'"):
        _resources.path("options", "edsr_x3.yml")


@pytest.mark.parametrize("name", ["../_packaged", "..", "", ".cache"])
def test_nothing_else_is_reachable(packaged, name):
    with pytest.raises(HfsrError, match="no packaged weights"):
        _resources.path("weights", name)


def test_an_incomplete_installation_is_one_line(packaged):
    with pytest.raises(HfsrError, match="lacks its folder 'spaces'; install hfsr again"):
        _resources.folder("spaces")


def test_no_weights_are_no_error(packaged):
    (packaged / "weights").rename(packaged / "elsewhere")
    assert _resources.bundled_models() == []


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    pytest.importorskip("hatchling", reason="hatchling, of the extra [test], builds the wheel")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def files_of(folder: Path) -> set[str]:
    found = (p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return {p.relative_to(ROOT).as_posix() for p in found}


def test_the_wheel_carries_every_file_of_the_package(wheel):
    inside = set(wheel.namelist())
    assert files_of(ROOT / "hfsr") <= inside
    assert {"hfsr/py.typed", "hfsr/archs/edsr.py"} <= inside
    for kind in ("options", "model_cards", "spaces"):
        assert {f"hfsr/_packaged/{name}" for name in files_of(ROOT / kind)} <= inside
    assert "hfsr/_packaged/spaces/upscaler/app.py" in inside
    assert any(name.startswith("hfsr/_packaged/options/") and name.endswith(".yml") for name in inside)
    assert any(name.startswith("hfsr/hub/cards/") and name.endswith(".jinja") for name in inside)


def test_the_wheel_carries_nothing_else(wheel):
    strangers = [name for name in wheel.namelist() if not name.startswith(("hfsr/", "hfsr-"))]
    assert strangers == []
    assert not [
        name for name in wheel.namelist() if "__pycache__" in name or name.endswith((".pth", ".state"))
    ]


def test_the_wheel_finds_its_own_resources(wheel, tmp_path):
    wheel.extractall(tmp_path)
    code = """
    import hfsr
    from hfsr import _resources
    print(hfsr.__file__)
    print(_resources.folder("options"))
    print(_resources.path("spaces", "upscaler"))
    print(hfsr.list_models())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *places, models = done.stdout.splitlines()
    assert all(place.startswith(str(tmp_path)) for place in places)
    assert models == str(_resources.bundled_models())


def test_the_wheel_names_both_commands(wheel):
    entry_points = next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    text = wheel.read(entry_points).decode()
    assert "hfsr = hfsr.cli:main" in text
    assert "basicsr = hfsr.cli.basicsr:main" in text
