"""Pixels to tensors and back, and what a Image may be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hfsr.errors import ImageError
from hfsr.images import LoadedImage, eight_bit, from_rgb_float, loaded_image, quantize, to_rgb_float


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("gray", [False, True])
def test_there_and_back_is_exact_in_any_bands(rng, dtype, gray, monkeypatch):
    values = np.arange(np.iinfo(dtype).max + 1, dtype=dtype)
    pixels = rng.permutation(np.resize(values, 270 if dtype == np.uint8 else 65_550))
    pixels = pixels.reshape(-1, 15) if gray else pixels.reshape(-1, 5, 3)
    whole = to_rgb_float(pixels)
    assert whole.shape == (1, 3, *pixels.shape[:2])
    assert whole.dtype == torch.float32
    assert 0 <= float(whole.min()) <= float(whole.max()) <= 1
    monkeypatch.setattr(loaded_image, "_BAND", 100)
    torch.testing.assert_close(to_rgb_float(pixels), whole, rtol=0, atol=0)
    np.testing.assert_array_equal(from_rgb_float(whole, dtype, gray=gray), pixels)


def test_channels_are_rgb_and_gray_is_their_mean():
    tensor = torch.zeros(1, 3, 1, 1)
    tensor[0, 0] = 1.0
    assert from_rgb_float(tensor).tolist() == [[[255, 0, 0]]]
    assert from_rgb_float(tensor, gray=True).tolist() == [[85]]
    assert to_rgb_float(np.array([[[255, 0, 51]]], np.uint8))[0, :, 0, 0].tolist() == pytest.approx(
        [1, 0, 0.2]
    )


def test_rounding_is_half_up_after_the_clamp():
    values = torch.tensor(
        [-1.0, 0.0, 0.4999 / 255, 0.5 / 255, 1.5 / 255, 2.5 / 255, 1.0, 7.0, float("nan"), float("inf")]
    )
    kept = values.clone()
    assert quantize(values).tolist() == [0, 0, 0, 1, 2, 3, 255, 255, 0, 255]
    torch.testing.assert_close(values, kept, equal_nan=True)
    assert quantize(torch.tensor([1.0, 0.5]), np.uint16).tolist() == [65535, 32768]
    assert quantize(torch.tensor([0.5], dtype=torch.bfloat16)).tolist() == [128]


def test_eight_bit_is_the_nearest():
    deep = np.array([0, 128, 129, 257, 65535 - 128, 65535 - 129, 65535], np.uint16)
    assert eight_bit(deep).tolist() == [0, 0, 1, 1, 255, 254, 255]
    shallow = np.zeros(3, np.uint8)
    assert eight_bit(shallow) is shallow


@pytest.mark.parametrize(
    ("pixels", "alpha", "message"),
    [
        (np.zeros((2, 2, 3), np.float64), None, "float64"),
        (np.zeros((2, 2, 4), np.uint8), None, r"\(2, 2, 4\)"),
        (np.zeros((0, 2), np.uint8), None, "is empty"),
        (np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.uint16), "alpha is uint16"),
        (np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), r"need uint8 of \(2, 2\)"),
    ],
)
def test_a_image_is_checked(pixels, alpha, message):
    with pytest.raises(ImageError, match=message):
        LoadedImage(pixels, alpha)
