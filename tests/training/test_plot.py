"""The image of the training curve."""

from __future__ import annotations

import numpy as np
from PIL import Image

from hfsr.training.logging.curve_plot import _COLORS, _linear_axis, _log_axis, draw_curve

ROWS = [
    {"iter": "0", "a/psnr_y": "30", "b/psnr_y": "28"},
    {"iter": "100", "l_pix": "0.1", "lr": "1e-4", "it_per_s": "3"},
    {"iter": "200", "l_pix": "0.01", "lr": "1e-4", "a/psnr_y": "inf", "b/psnr_y": "29", "a/ssim_y": "0.9"},
]


def colors(path):
    with Image.open(path) as image:
        return {tuple(color) for color in np.asarray(image).reshape(-1, 3)}


def rgb(text):
    return tuple(int(text[k : k + 2], 16) for k in (1, 3, 5))


def test_a_panel_for_losses_and_one_for_each_metric(tmp_path):
    draw_curve(ROWS, tmp_path / "curve.png", title="run")
    with Image.open(tmp_path / "curve.png") as image:
        assert image.size == (1200, 3 * 420)
    assert {rgb(_COLORS[0]), rgb(_COLORS[1])} <= colors(tmp_path / "curve.png")
    assert rgb(_COLORS[2]) not in colors(tmp_path / "curve.png")


def test_nothing_to_draw_leaves_nothing(tmp_path):
    draw_curve([{"iter": "0"}, {"iter": "1", "lr": "1"}], tmp_path / "curve.png", title="run")
    assert not list(tmp_path.iterdir())


def test_higher_is_higher(tmp_path):
    draw_curve([{"iter": "0", "x": "-1"}, {"iter": "10", "x": "2"}], tmp_path / "c.png", title="run")
    with Image.open(tmp_path / "c.png") as image:
        pixels = np.asarray(image).astype(int)
    y, x = np.nonzero(np.abs(pixels[60:] - rgb(_COLORS[0])).sum(axis=2) == 0)
    assert y[x < 300].min() > y[x > 900].max()


def test_the_start_of_a_run_does_not_flatten_the_rest(tmp_path):
    rows = [{"iter": "0", "a/psnr": "10"}]
    rows += [{"iter": str(100 * n), "a/psnr": str(30 + n / 10)} for n in range(1, 11)]
    draw_curve(rows, tmp_path / "c.png", title="run")
    with Image.open(tmp_path / "c.png") as image:
        pixels = np.asarray(image).astype(int)
    y, x = np.nonzero(np.abs(pixels[60:] - rgb(_COLORS[0])).sum(axis=2) == 0)
    assert y[x > 300].max() - y[x > 300].min() > 150  # of 324: the axis holds 30.1 to 31 dB, not 10
    assert (y + 60).max() < 420 - 44 + 1  # cut at the axis


def test_axes_hold_their_values_and_have_ticks():
    for values in ([1.0, 1.0], [-3.0, 8.0], [28.1, 28.2]):
        low, high, ticks = _linear_axis(values)
        assert low < min(values) <= max(values) < high
        assert 3 <= len(ticks) <= 8
        assert all(low <= tick <= high for tick in ticks)
    for values in ([1e-5, 1e3], [0.02, 0.03], [0.5, 0.5]):
        low, high, ticks = _log_axis(values)
        assert 10**low < min(values) <= max(values) < 10**high
        assert len(ticks) >= 3
        assert all(10**low <= tick <= 10**high for tick in ticks)
