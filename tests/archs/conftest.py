"""BasicSR's own networks, to compare ours with."""

from __future__ import annotations

from importlib.util import find_spec
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def basicsr_archs() -> ModuleType:
    """`basicsr.archs`, or the reason why it is skipped."""
    if find_spec("basicsr") is None:
        pytest.skip("basicsr is not installed: it comes with hfsr[train], up to Python 3.12")
    from hfsr.bridge import import_basicsr

    return import_basicsr().archs
