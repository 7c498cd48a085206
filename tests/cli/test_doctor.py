"""`hfsr doctor`: the list of what is installed."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from hfsr.cli.doctor import EXTRAS

PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib is new in Python 3.11")
def test_every_extra_for_users_is_listed() -> None:
    import tomllib

    extras = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert EXTRAS.keys() == extras.keys() - {"all", "docs", "test", "trackers"}
    for extra, packages in EXTRAS.items():
        required = {re.split(r"[<>=;\[ ]", requirement)[0] for requirement in extras[extra]}
        assert set(packages) <= required, extra
