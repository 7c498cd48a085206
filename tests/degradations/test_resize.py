"""The bicubic of the tables, held against its definition in exact fractions; noise and JPEG."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hfsr.degradations.resize
from hfsr.degradations import (
    bicubic_down,
    bicubic_up,
    gaussian_noise,
    jpeg,
    kernel_down,
    modcrop,
    seed_of,
)
from hfsr.errors import ImageError


def _image(height: int, width: int, *channels: int, dtype: type = np.uint8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(
        0, np.iinfo(dtype).max, (height, width, *channels), dtype, endpoint=True
    )


def _kernel(x: Fraction) -> Fraction:
    x = abs(x)
    if x <= 1:
        return Fraction(3, 2) * x**3 - Fraction(5, 2) * x**2 + 1
    return -Fraction(1, 2) * x**3 + Fraction(5, 2) * x**2 - 4 * x + 2 if x <= 2 else Fraction(0)


def _by_definition(line: list, length: int, factor: Fraction) -> list[Fraction]:
    """One line resized from the definition: every input of the mirrored line weighs by its distance."""
    size, shrink, result = len(line), min(factor, Fraction(1)), []
    for k in range(length):
        center = (k + Fraction(1, 2)) / factor - Fraction(1, 2)
        total = weights = Fraction(0)
        for position in range(math.floor(center - 2 / shrink), math.ceil(center + 2 / shrink) + 1):
            weight = _kernel((center - position) * shrink)
            folded = position % (2 * size)
            total += weight * Fraction(line[folded if folded < size else 2 * size - 1 - folded])
            weights += weight
        result.append(total / weights)
    return result


def _round(value: Fraction) -> int:
    return min(255, max(0, math.floor(value + Fraction(1, 2))))


def _definition(
    image: np.ndarray, height: int, width: int, factor: Fraction, *, round_between: bool
) -> np.ndarray:
    tall = np.array([_by_definition(column, height, factor) for column in image.T.tolist()], dtype=object).T
    if round_between:
        tall = np.vectorize(_round, otypes=[object])(tall)
    wide = [_by_definition(row, width, factor) for row in tall.tolist()]
    return np.array([[_round(value) for value in row] for row in wide], dtype=np.uint8)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("height", "width"), [(12, 24), (13, 17), (1, 5), (3, 2)])
def test_reduction_is_the_definition_rounded_after_each_axis(scale, height, width):
    image = _image(height, width, seed=height)
    size = (-(-height // scale), -(-width // scale))
    expected = _definition(image, *size, Fraction(1, scale), round_between=True)
    np.testing.assert_array_equal(bicubic_down(image, scale), expected)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_enlargement_is_the_definition_rounded_once(scale):
    image = _image(7, 5, seed=scale)
    expected = _definition(image, 7 * scale, 5 * scale, Fraction(scale), round_between=False)
    np.testing.assert_array_equal(bicubic_up(image, scale), expected)


def test_rounding_between_the_axes_is_visible_and_heights_come_first():
    image = _image(40, 40)
    lr = bicubic_down(image, 2)
    once = _definition(image, 20, 20, Fraction(1, 2), round_between=False)
    widths_first = bicubic_down(image.T, 2).T
    assert 0.03 < np.mean(lr != once) < 0.3
    assert np.abs(lr.astype(int) - once.astype(int)).max() == 1
    assert np.any(lr != widths_first)


def test_golden_reduction_of_a_small_array():
    image = (np.arange(64).reshape(8, 8) * 37 % 251).astype(np.uint8)
    golden = [[37, 118, 185, 78], [135, 188, 103, 95], [148, 61, 114, 190], [63, 133, 206, 102]]
    assert _definition(image, 4, 4, Fraction(1, 2), round_between=True).tolist() == golden
    assert bicubic_down(image, 2).tolist() == golden


@pytest.mark.parametrize("resize", [bicubic_down, bicubic_up])
@pytest.mark.parametrize("scale", [1, 1.5, 2, 3, 3.7, 4, 8])
@pytest.mark.parametrize("value", [0, 1, 128, 255])
def test_a_flat_image_stays_flat(resize, scale, value):
    result = resize(np.full((9, 11, 3), value, np.uint8), scale)
    assert np.all(result == value)


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    scale=st.sampled_from([2, 3, 4, 8]),
    block=st.integers(1, 999),
)
@settings(max_examples=25, deadline=None)
def test_channels_are_independent_and_blocks_do_not_show(height, width, scale, block):
    image = _image(height, width, 3, seed=height * width)
    whole = bicubic_down(image, scale)
    assert whole.shape == (math.ceil(height / scale), math.ceil(width / scale), 3)
    assert bicubic_up(image, scale).shape == (height * scale, width * scale, 3)
    before = hfsr.degradations.resize._BLOCK
    hfsr.degradations.resize._BLOCK = block
    try:
        np.testing.assert_array_equal(bicubic_down(image, scale), whole)
    finally:
        hfsr.degradations.resize._BLOCK = before
    for k in range(3):
        np.testing.assert_array_equal(bicubic_down(image[..., k], scale), whole[..., k])


@pytest.mark.parametrize("resize", [bicubic_down, bicubic_up])
def test_mirroring_commutes_with_resizing(resize):
    image = _image(24, 36, 3)
    np.testing.assert_array_equal(resize(image[:, ::-1], 2), resize(image, 2)[:, ::-1])
    np.testing.assert_array_equal(resize(image[::-1], 4), resize(image, 4)[::-1])


def test_scale_one_changes_nothing_and_the_input_is_left_alone():
    image = _image(9, 7, 3)
    kept = image.copy()
    for resize in (bicubic_down, bicubic_up):
        np.testing.assert_array_equal(resize(image, 1), image)
        resize(image, 3)
    np.testing.assert_array_equal(image, kept)


def test_sixteen_bit_images_keep_their_depth():
    image = _image(16, 16, dtype=np.uint16)
    fine = bicubic_down(image, 2)
    assert fine.dtype == np.uint16
    assert len(np.unique(fine % 257)) > 1
    eight = _image(16, 16)
    coarse = bicubic_up(eight, 2).astype(int)
    assert np.abs(bicubic_up(eight.astype(np.uint16) * 257, 2) / 257 - coarse).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("scale", [1.1, 1.5, 2, 2.3, 3, 3.7, 4])
@pytest.mark.parametrize("size", [(40, 61), (37, 53), (64, 64)])
def test_modcrop_leaves_what_a_reduction_and_an_enlargement_give_back(scale, size):
    image = _image(*size)
    cropped = modcrop(image, scale)
    assert cropped.base is image
    assert all(before - scale < after <= before for before, after in zip(size, cropped.shape, strict=True))
    lr = bicubic_down(cropped, scale)
    assert tuple(math.floor(side * scale + 1e-6) for side in lr.shape) == cropped.shape
    assert bicubic_up(lr, scale).shape == cropped.shape


def test_noise_depends_on_the_seed_alone_and_has_its_sigma():
    image = np.full((64, 64, 3), 128, np.uint8)
    noisy = gaussian_noise(image, 25, seed=7)
    np.testing.assert_array_equal(noisy, gaussian_noise(image, 25, seed=7))
    assert np.any(noisy != gaussian_noise(image, 25, seed=8))
    assert np.std(noisy.astype(float)) == pytest.approx(25, rel=0.03)
    deep = gaussian_noise(np.full((64, 64), 30000, np.uint16), 25, seed=7)
    assert np.std(deep.astype(float)) == pytest.approx(25 * 257, rel=0.05)
    np.testing.assert_array_equal(gaussian_noise(image, 0, seed=1), image)


def test_seeds_differ_by_name_and_by_the_seed_of_the_set():
    seeds = {seed_of(name, seed) for name in ("baby", "bird", "Baby") for seed in (0, 1)}
    assert len(seeds) == 6
    assert seed_of("baby", 0) == seed_of("baby", 0)


@pytest.mark.parametrize("shape", [(32, 48), (32, 48, 3)])
def test_jpeg_gets_worse_with_lower_quality(shape):
    image = bicubic_up(_image(8, 12, *shape[2:]), 4)
    errors = [np.mean((jpeg(image, quality).astype(float) - image) ** 2) for quality in (95, 50, 10)]
    assert errors == sorted(errors)
    assert 0 < errors[0] < errors[2]
    assert jpeg(image, 50).shape == shape


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bicubic_down(np.zeros((4, 4), np.float32), 2), "float32"),
        (lambda: bicubic_up(np.zeros((4,), np.uint8), 2), r"\(4,\)"),
        (lambda: bicubic_down(np.zeros((0, 4), np.uint8), 2), "no pixels"),
        (lambda: bicubic_down(np.zeros((4, 4), np.uint8), 0.5), "scale 0.5"),
        (lambda: bicubic_up(np.zeros((4, 4), np.uint8), math.inf), "scale inf"),
        (lambda: modcrop(np.zeros((4, 2, 3), np.uint8), 3), "2x4 px is smaller"),
        (lambda: jpeg(np.zeros((4, 4), np.uint16), 50), "uint16"),
        (lambda: jpeg(np.zeros((4, 4, 4), np.uint8), 50), "gray or RGB"),
        (lambda: jpeg(np.zeros((4, 4), np.uint8), 0), "1 to 100"),
    ],
)
def test_bad_input_is_one_line(call, message):
    with pytest.raises(ImageError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


# Reduction by a given kernel


def _lopsided(height: int = 5, width: int = 4) -> np.ndarray:
    kernel = np.random.default_rng(1).random((height, width)) ** 3
    return kernel / kernel.sum()


@pytest.mark.parametrize("shape", [(11, 14), (11, 14, 3)])
def test_without_shift_a_kernel_blurs_and_every_second_px_is_taken(shape):
    image, kernel = _image(*shape), _lopsided()
    padded = np.pad(image.astype(float), [(2, 2), (2, 1), (0, 0)][: image.ndim], mode="symmetric")
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape, axis=(0, 1))
    expected = np.floor((windows * kernel).sum((-2, -1))[::2, ::2] + 0.5)
    np.testing.assert_array_equal(kernel_down(image, kernel, 2, shift=False), expected)


@pytest.mark.parametrize("scale", [2, 3, (1.5, 2.0), (1.0, 2.5)])
def test_with_shift_the_image_stays_in_place_whatever_the_kernel(scale):
    y, x = np.mgrid[:60, :90]
    ramp = (100 * (y + 2 * x + 20)).astype(np.uint16)
    across, down = scale if isinstance(scale, tuple) else (scale, scale)
    found = kernel_down(ramp, _lopsided(), scale)
    assert found.shape == (math.ceil(60 / down), math.ceil(90 / across))
    rows, columns = ((np.arange(n) + 0.5) * f - 0.5 for n, f in zip(found.shape, (down, across), strict=True))
    expected = 100 * (rows[:, None] + 2 * columns + 20)
    inner = (slice(4, -4), slice(4, -4))
    np.testing.assert_allclose(found[inner].astype(float), expected[inner], atol=0.51)


def test_a_flat_image_stays_flat_under_a_kernel():
    image = np.full((7, 1, 3), 201, np.uint8)
    assert (kernel_down(image, _lopsided(9, 9), 3) == 201).all()
