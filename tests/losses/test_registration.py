"""Tests of the registration of losses: each has a test, and no list has to be edited."""

from __future__ import annotations

import pkgutil
import sys
from pathlib import Path

import pytest

import hfsr.losses
from hfsr.registry import LOSSES

OWN = sorted(name for name, item in LOSSES.own().items() if item.__module__.startswith("hfsr."))


@pytest.mark.parametrize("name", OWN)
def test_every_loss_has_a_test(name):
    others = (path for path in Path(__file__).parent.glob("test_*.py") if path != Path(__file__))
    tested = any(name in path.read_text(encoding="utf-8") for path in others)
    assert tested, f"add a test of {name} to tests/losses/, in a file named after its module"


def test_every_module_of_the_package_is_imported():
    """A new module registers its loss by its presence in the folder."""
    modules = {f"hfsr.losses.{module.name}" for module in pkgutil.iter_modules(hfsr.losses.__path__)}
    assert modules <= set(sys.modules)
