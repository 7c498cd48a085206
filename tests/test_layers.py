"""The layers of the package: the import contracts in pyproject.toml, and imports that they do not see."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted((ROOT / "hfsr").rglob("*.py"))

IMPORTED_IN = {"accelerate": "training", "basicsr": "bridge", "gradio": None, "huggingface_hub": "hub"}
"""Third-party package -> the only subpackage that imports it; gradio belongs to the Space."""


def imports(module: Path) -> Iterator[str]:
    """Every absolute import of a file, those inside functions and by `import_module("...")` too."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or ""
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            yield from (a.value for a in node.args[:1] if isinstance(a, ast.Constant))


def test_the_contracts_hold():
    """Run `lint-imports` for the report."""
    code = "import importlinter.cli as c; raise SystemExit(c.lint_imports(no_cache=True, no_logo=True))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("package", IMPORTED_IN)
def test_a_package_is_not_imported_dynamically_elsewhere(package):
    """The contracts see import statements alone."""
    allowed = IMPORTED_IN[package]
    found = {m for m in MODULES if any(name.split(".")[0] == package for name in imports(m))}
    elsewhere = [m for m in found if allowed is None or m.relative_to(ROOT / "hfsr").parts[0] != allowed]
    assert not elsewhere


def test_networks_need_torch_alone():
    for module in (ROOT / "hfsr" / "archs").glob("*.py"):
        outside = {name.split(".")[0] for name in imports(module)} - {
            "hfsr",
            "torch",
            *sys.stdlib_module_names,
        }
        assert not outside, module


def test_the_scan_sees_what_there_is():
    bridge = {name for module in (ROOT / "hfsr" / "bridge").glob("*.py") for name in imports(module)}
    assert "basicsr" in bridge
    compat = set(imports(ROOT / "hfsr" / "_compat.py"))
    assert {"torch", "torchvision"} <= compat  # inside a function, and by import_module
