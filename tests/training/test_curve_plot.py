"""The image of the training curve."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from hfsr.training.logging.curve_plot import _limits, draw_curve

ROWS = [
    {"iter": "0", "a/psnr_y": "30", "b/psnr_y": "28"},
    {"iter": "100", "l_pix": "0.1", "lr": "1e-4", "it_per_s": "3"},
    {"iter": "200", "l_pix": "0.01", "lr": "1e-4", "a/psnr_y": "inf", "b/psnr_y": "29", "a/ssim_y": "0.9"},
]
FIRST, SECOND, THIRD = (31, 119, 180), (255, 127, 14), (44, 160, 44)
"""matplotlib's first line colors."""


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def colors(path):
    return {tuple(color) for color in pixels(path).reshape(-1, 3).tolist()}


def test_a_panel_for_losses_and_one_for_each_metric(tmp_path):
    draw_curve(ROWS, tmp_path / "curve.png", title="run")
    assert pixels(tmp_path / "curve.png").shape == (3 * 420, 1200, 3)
    assert {FIRST, SECOND} <= colors(tmp_path / "curve.png")
    assert THIRD not in colors(tmp_path / "curve.png")


def test_numbers_of_a_narrow_range_of_losses_fit_beside_the_axis(tmp_path):
    rows = [{"iter": str(n), "l_pix": str(0.0145 + n / 1e5)} for n in range(100)]
    draw_curve(rows, tmp_path / "curve.png", title="run")
    shown = pixels(tmp_path / "curve.png")
    assert (shown[:, :3] == 255).all()
    assert not (shown[:, 3:80] == 255).all()


def test_nothing_to_draw_leaves_nothing(tmp_path):
    draw_curve([{"iter": "0"}, {"iter": "1", "lr": "1"}], tmp_path / "curve.png", title="run")
    assert not list(tmp_path.iterdir())


def line_of(path):
    """Places (y, x) of the first line, without the legend."""
    found = np.abs(pixels(path) - FIRST).sum(axis=2) == 0
    found[:90, 1000:] = False
    found[320:, 1000:] = False
    return np.nonzero(found)


def test_higher_is_higher(tmp_path):
    draw_curve([{"iter": "0", "x": "-1"}, {"iter": "10", "x": "2"}], tmp_path / "c.png", title="run")
    y, x = line_of(tmp_path / "c.png")
    assert y[x < 300].min() > y[x > 900].max()


def test_the_start_of_a_run_does_not_flatten_the_rest(tmp_path):
    rows = [{"iter": "0", "a/psnr": "10"}]
    rows += [{"iter": str(100 * n), "a/psnr": str(30 + n / 10)} for n in range(1, 11)]
    draw_curve(rows, tmp_path / "c.png", title="run")
    y, x = line_of(tmp_path / "c.png")
    assert y[x > 300].max() - y[x > 300].min() > 150  # of 330: the axis holds 30.1 to 31 dB, not 10


@pytest.mark.parametrize("values", [[1.0, 1.0], [-3.0, 8.0], [28.1, 28.2], [0.0, 0.0]])
def test_the_limits_of_an_axis_enclose_its_values(values):
    low, high = _limits(values)
    assert low < min(values) <= max(values) < high
