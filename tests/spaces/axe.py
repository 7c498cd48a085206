"""Accessibility of a page in the browser, checked by axe-core."""

from __future__ import annotations

from typing import Any

import pytest

VIEWS = [
    pytest.param(1280, False, id="1280-light"),
    pytest.param(390, True, id="390-dark"),
    pytest.param(1280, True, id="1280-dark", marks=pytest.mark.slow),
    pytest.param(390, False, id="390-light", marks=pytest.mark.slow),
]
"""Width of the window in px, and True for dark colors."""
_NO_TRANSITION = """
() => !document.getAnimations().some((one) => one instanceof CSSTransition && one.playState === 'running')
"""
_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def serious_violations(page: Any) -> list[str]:
    """Returns one line for each element of a page that breaks a rule seriously."""
    reason = "axe-playwright-python is not installed: pip install 'hfsr[test]'"
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason=reason)
    page.wait_for_function(_NO_TRANSITION)  # else colors are measured between two states
    found = axe.Axe().run(page, options={"runOnly": _RULES}).response
    assert len(found["passes"]) > 10  # the rules ran
    return [
        f"{violation['id']}: {node['html'][:120]} {node['failureSummary']}"
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]
