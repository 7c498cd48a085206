"""The documentation builds without a warning, and its generated tables hold what the code has."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from hfsr.cli import COMMANDS
from hfsr.registry import ARCHS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def generated() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generated", ROOT / "docs" / "generated.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("sphinx", reason="needs the extra [docs]")
    out = tmp_path_factory.mktemp("html")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", str(ROOT / "docs"), str(out)],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.slow
def test_every_page_is_built(built):
    pages = {path.relative_to(ROOT / "docs").with_suffix("") for path in (ROOT / "docs").rglob("*.md")}
    assert pages == {
        path.relative_to(built).with_suffix("")
        for path in built.rglob("*.html")
        if path.stem not in {"genindex", "search", "py-modindex"} and "_modules" not in path.parts
    }


@pytest.mark.slow
def test_local_links_lead_somewhere(built):
    missing = []
    for page in built.rglob("*.html"):
        for target in re.findall(
            r'(?:href|src)="([^"#:]+?)(?:[#?][^"]*)?"', page.read_text(encoding="utf-8")
        ):
            if not (page.parent / target).exists():
                missing.append((page.name, target))
    assert not missing


def test_every_command_stands_in_the_reference(generated):
    text = generated.commands()
    for name in COMMANDS:
        assert f"## hfsr {name}\n" in text
    assert "### hfsr prepare pack" in text
    assert "`--tile` `TILE`" in text


def test_every_restorer_stands_in_the_reference(generated):
    text = generated.networks()
    for name, spec in ARCHS.own().items():
        assert (f"## {name}\n" in text) == (spec.role == "restorer")
        if spec.role == "restorer":
            assert all(f"`{preset}`" in text for preset in spec.presets)
    assert "| `rcan_x4` | x4 | 15,592,355 |" in text


def test_an_unknown_table_is_an_error(generated):
    with pytest.raises(KeyError):
        generated.expand("<!-- generated: nothing -->")
