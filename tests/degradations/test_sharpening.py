"""Sharpened ground truth is that of Real-ESRGAN."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hfsr import bridge
from hfsr.degradations import SHARPENING_REACH, sharpened


def image(height=150, width=170):
    y, x = np.mgrid[:height, :width]
    rng = np.random.default_rng(0)
    waves = np.stack([120 + 90 * np.sin(x / (5 + k)) * np.cos(y / (7 + k)) for k in range(3)], -1)
    return (waves + rng.normal(0, 5, waves.shape)).clip(0, 255).astype(np.uint8)


def test_it_is_basicsrs_usm():
    bridge.import_basicsr()
    from basicsr.utils.img_process_util import USMSharp

    pixels = image()
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    theirs = USMSharp()(tensor)[0].permute(1, 2, 0).numpy()
    ours = sharpened(pixels)
    assert np.abs(theirs - pixels / 255).max() > 0.1
    # The mask is a threshold: a px at it may fall on either side.
    assert np.abs(ours - theirs).mean() < 1e-5
    assert np.abs(ours - theirs).max() < 2e-3


def test_nothing_beyond_the_reach_matters():
    pixels = image()
    inside = slice(SHARPENING_REACH, -SHARPENING_REACH)
    whole, part = sharpened(pixels), sharpened(pixels[5:, 7:])
    assert np.allclose(whole[5:, 7:][inside, inside], part[inside, inside], atol=1e-5)
    changed = pixels.copy()
    changed[0, 0] = 255 - changed[0, 0]
    moved = np.abs(sharpened(changed) - whole).max(axis=2)
    assert moved[:, SHARPENING_REACH + 1 :].max() == 0
    assert moved[0, SHARPENING_REACH // 2] > 0


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 60, 3), (40, 30)])
def test_small_and_gray_images(shape):
    flat = np.full(shape, 77, np.uint8)
    assert np.allclose(sharpened(flat), 77 / 255, atol=1e-6)
    assert sharpened(flat).shape == shape
