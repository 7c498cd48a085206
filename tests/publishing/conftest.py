"""The Hub server and its two clients, as in tests/hub."""

from ..hub.conftest import (
    _no_unknown_calls,
    hub,
    publisher,
    pytest_runtest_makereport,
    stranger,
    stranger_home,
)

__all__ = [
    "_no_unknown_calls",
    "hub",
    "publisher",
    "pytest_runtest_makereport",
    "stranger",
    "stranger_home",
]
