"""Tests of the workaround for torchvision next to a CPU build of torch, with a fake torchvision."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from hfsr import _compat
from hfsr.errors import MissingDependencyError

LACKS_OPERATORS = """
import torch
from . import extension
for name in {operators!r}:
    if not hasattr(torch.ops.torchvision, name):
        raise RuntimeError(f"operator torchvision::{{name}} does not exist")
"""


def import_with(folder, init: str) -> subprocess.CompletedProcess[str]:
    """Imports a package `torchvision` with this code twice through the workaround; prints what happened."""
    package = folder / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(textwrap.dedent(init))
    (package / "extension.py").write_text(
        "import builtins\nbuiltins.seen = getattr(builtins, 'seen', 0) + 1\n"
    )
    code = """
    import builtins, sys
    sys.path.insert(0, ".")
    from hfsr import _compat
    module = _compat.import_torchvision()
    print(module is _compat.import_torchvision(), module is sys.modules["torchvision"])
    print("declared", len(_compat._libraries), "imported", getattr(builtins, "seen", 0))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(("operators", "declared"), [(["nms"], 1), (["nms", "qnms"], 2)])
def test_missing_operators_are_declared(tmp_path, operators, declared):
    done = import_with(tmp_path, LACKS_OPERATORS.format(operators=operators))
    assert done.returncode == 0, done.stderr
    # Each attempt starts without partially imported modules, so the submodule runs once per attempt.
    assert done.stdout.splitlines() == ["True True", f"declared {declared} imported {declared + 1}"]


def test_working_torchvision_is_not_changed(tmp_path):
    done = import_with(tmp_path, "from . import extension")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["True True", "declared 0 imported 1"]


@pytest.mark.parametrize(
    "init",
    [
        "raise RuntimeError('operator torchvision::roi_align does not exist')",
        "import a_missing_module",
    ],
)
def test_other_errors_are_not_caught(tmp_path, init):
    done = import_with(tmp_path, init)
    assert done.returncode == 1
    assert "roi_align" in done.stderr or "a_missing_module" in done.stderr
    assert "hfsr.errors" not in done.stderr


def test_workaround_is_tried_once_per_operator(tmp_path):
    done = import_with(tmp_path, "raise RuntimeError('operator torchvision::nms does not exist')")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "RuntimeError: operator torchvision::nms does not exist"


def test_missing_torchvision(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(MissingDependencyError, match=r"needs torchvision.*'.\[train\]'"):
        _compat.import_torchvision()
