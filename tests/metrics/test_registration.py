"""Tests of the metrics of option files: BGR input, and a test for each registered metric."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hfsr.metrics import ms_ssim, psnr, ssim, zncc
from hfsr.registry import METRICS

OWN = sorted(name for name, item in METRICS.own().items() if item.__module__.startswith("hfsr."))
FUNCTIONS = {
    "calculate_psnr": psnr,
    "calculate_ssim": ssim,
    "calculate_msssim": ms_ssim,
    "calculate_zncc": zncc,
}


@pytest.mark.parametrize("name", OWN)
def test_every_metric_has_a_test(name):
    """LPIPS and DISTS are tested by their functions, of which `calculate_*` is a thin wrapper."""
    function = name.removeprefix("calculate_")
    texts = [path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py")]
    tested = any(f'"{name}"' in text or f"{function}(" in text or f"({function}," in text for text in texts)
    assert tested, f"add a test of {name} to tests/metrics/, in a file named after its module"


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("luma", [False, True])
def test_option_metric_converts_bgr_to_rgb(name, luma):
    rng = np.random.default_rng(0)
    gt = rng.integers(0, 256, (184, 186, 3), np.uint8)
    sr = (gt * 0.9 + 10).astype(np.uint8)
    found = METRICS[name](sr[..., ::-1], gt[..., ::-1], crop_border=2, test_y_channel=luma)
    assert found == FUNCTIONS[name](sr, gt, crop=2, channel="y" if luma else "rgb")
