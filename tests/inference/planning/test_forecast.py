"""Forecasts of memory and time, made without the image."""

from __future__ import annotations

import pytest

import hfsr
from hfsr.inference import Upscaler
from hfsr.inference.runtime import memory


@pytest.mark.parametrize("preset", ["edsr_tiny", "rcan_tiny", "a2n_tiny", "metardn_tiny"])
def test_a_forecast_is_made_without_the_image(preset):
    forecast = Upscaler(hfsr.create_model(preset).eval(), device="cpu").forecast(200, 150)
    assert forecast.peak_bytes > memory.resident_memory() // 2
    assert forecast.seconds > 0


def test_a_forecast_of_a_deep_network_ends():
    """200 sums on the way to the last pooled feature map: more paths than can be walked, if each were."""
    forecast = Upscaler(hfsr.create_model("rcan_x4").eval(), device="cpu").forecast(48, 16)
    assert forecast.seconds > 0


def test_more_work_is_forecast_to_take_longer():
    up = Upscaler(hfsr.create_model("edsr_tiny").eval(), device="cpu")
    small, large = up.forecast(256, 200), up.forecast(256, 20_000)
    assert large.seconds > 10 * small.seconds
