"""The choice between readings by synthetic images, on networks that are trained for a moment."""

from __future__ import annotations

import pytest

import hfsr
from hfsr.registry import ARCHS
from tests.benchmarks.readings import cases, reexpressed


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hfsr-x2-small", "hfsr-denoise"])
def test_a_bundled_model_in_any_range_is_read_rightly(name: str) -> None:
    assert name in hfsr.list_models()
    found = list(reexpressed([name]))
    assert len(found) == 4
    assert all(case.is_right and not case.is_warned for case in found), "\n".join(map(str, found))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["A2N", "MSRResNet"])
def test_a_network_with_a_skip_is_read_rightly_after_a_moment_of_training(name: str) -> None:
    found = list(cases(ARCHS[name], steps=200, seeds=[0]))
    assert all(case.is_right and not case.is_warned for case in found), "\n".join(map(str, found))
