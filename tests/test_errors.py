"""Tests of exceptions, and of suggestions for misspelled names."""

from __future__ import annotations

import inspect

import pytest

from hfsr import errors
from hfsr.errors import HfsrError, MissingDependencyError, some_of, suggest

NAMES = ["EDSR", "RCAN", "RRDBNet"]


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("RCA", "; did you mean 'RCAN'?"),
        ("edsr", "; did you mean 'EDSR'?"),
        ("rrdbnet", "; did you mean 'RRDBNet'?"),
        ("xyz", "; allowed: EDSR, RCAN, RRDBNet"),
    ],
)
def test_suggest(name, answer):
    assert suggest(name, NAMES) == answer


def test_suggest_without_allowed_names():
    assert suggest("x", []) == ""


def test_suggest_lists_at_most_twelve():
    assert suggest("?", [f"name{i:02}" for i in range(20)]).endswith("name11, ... (20 in all)")


def test_some_of():
    assert some_of("abcde") == "a, b, c, d, e"
    assert some_of("abcdef") == "a, b, c, d, e, ... (6 in all)"
    assert some_of("abc", 2) == "a, b, ... (3 in all)"


def test_docstring_lists_all_classes():
    classes = [c for _, c in inspect.getmembers(errors, inspect.isclass) if c.__module__ == errors.__name__]
    classes.remove(errors.HfsrWarning)
    assert issubclass(errors.HfsrWarning, Warning)
    assert "HfsrWarning" in errors.__doc__
    assert all(issubclass(c, HfsrError) for c in classes)
    listed = [line.split()[1] for line in errors.__doc__.splitlines() if line.startswith(("├──", "└──"))]
    assert sorted([*listed, "HfsrError"]) == sorted(c.__name__ for c in classes)
    assert {c.__name__ for c in classes} < set(errors.__all__)


def test_builtin_base_classes():
    for name in (
        "UnknownNameError",
        "OptionsError",
        "CheckpointError",
        "ImageError",
        "DataError",
        "PlanError",
    ):
        assert issubclass(getattr(errors, name), ValueError), name
    assert issubclass(errors.HubError, OSError)
    assert issubclass(MissingDependencyError, ImportError)


def test_a_missing_extra_says_what_to_run(tmp_path, monkeypatch):
    checkout = "pip install -c constraints.txt '.[demo]' in the checkout of hfsr"
    needs = "the Space needs gradio, which is not installed; run: "
    assert str(MissingDependencyError("gradio", extra="demo", purpose="the Space")) == needs + checkout
    monkeypatch.setattr(errors, "__file__", str(tmp_path / "site-packages" / "hfsr" / "errors.py"))
    installed = MissingDependencyError("gradio", extra="demo", purpose="the Space")
    assert str(installed) == f"{needs}pip install 'hfsr[demo]'"
