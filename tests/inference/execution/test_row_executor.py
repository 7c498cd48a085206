"""Execution in rows counts its bands."""

from __future__ import annotations

import pytest
import torch

import hfsr
from hfsr.inference import Upscaler, runner
from hfsr.inference.planning import planner


@pytest.mark.parametrize("preset", ["edsr_tiny", "rcan_tiny"])
def test_every_band_is_counted(preset, monkeypatch):
    monkeypatch.setattr(runner, "_SMALL", 0)
    monkeypatch.setitem(planner._BAND_BYTES, "cpu", 20_000)
    steps = []
    Upscaler(hfsr.create_model(preset).eval(), device="cpu").tensor(torch.rand(1, 3, 45, 30), steps.append)
    assert [s.done for s in steps] == list(range(1, steps[0].total + 1))
    assert {s.total for s in steps} == {len(steps)}
