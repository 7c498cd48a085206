"""The cure for torchvision beside a CPU torch, against a torchvision of the test's own."""

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
    """Imports, by our cure and twice, a package `torchvision` with this code; prints what happened to it."""
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


@pytest.mark.parametrize(("operators", "declared"), [(["nms"], 1), (["qnms"], 1), (["nms", "qnms"], 2)])
def test_missing_operators_are_declared_and_the_import_repeated(tmp_path, operators, declared):
    done = import_with(tmp_path, LACKS_OPERATORS.format(operators=operators))
    assert done.returncode == 0, done.stderr
    # every attempt starts from clean modules, so the submodule runs once more than there were failures
    assert done.stdout.splitlines() == ["True True", f"declared {declared} imported {declared + 1}"]


def test_a_working_torchvision_is_not_touched(tmp_path):
    done = import_with(tmp_path, "from . import extension")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["True True", "declared 0 imported 1"]


@pytest.mark.parametrize(
    "init",
    [
        "raise RuntimeError('operator torchvision::roi_align does not exist')",
        "import a_module_that_is_nowhere",
    ],
)
def test_any_other_failure_is_left_as_it_is(tmp_path, init):
    done = import_with(tmp_path, init)
    assert done.returncode == 1
    assert "roi_align" in done.stderr or "a_module_that_is_nowhere" in done.stderr
    assert "hfsr.errors" not in done.stderr


def test_a_cure_that_does_not_help_ends(tmp_path):
    done = import_with(tmp_path, "raise RuntimeError('operator torchvision::nms does not exist')")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "RuntimeError: operator torchvision::nms does not exist"


def test_without_torchvision_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(MissingDependencyError, match=r"needs torchvision.*'.\[train\]'"):
        _compat.import_torchvision()
