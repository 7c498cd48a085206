"""PNGs whose cICP states narrow range, as in video."""

from __future__ import annotations

import numpy as np
import pytest

from hfsr.images import read_image, write_image

from .conftest import chunk, encode_png

PQ = bytes([9, 16, 0])


def _png(samples: np.ndarray, color: bytes) -> bytes:
    kind = {1: 0, 3: 2, 4: 6}[samples.shape[2]]
    return encode_png(samples, kind, extra=chunk(b"cICP", color + b"\0"))


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(("dtype", "step"), [("u1", 1), ("u2", 256)])
def test_samples_are_stretched(channels, dtype, step):
    full = np.random.default_rng(0).random((9, 8, channels))
    full[0, 0], full[0, 1] = 0, 1
    samples = np.round((16 + full * 219) * step).astype(dtype)
    peak = np.iinfo(dtype).max
    samples[..., 3:] = np.linspace(0, peak, 72).reshape(9, 8, 1)
    image = read_image(_png(samples, bytes([1, 13, 0])))
    expected = (samples.astype(float) / step - 16) / 219 * peak
    assert (image.pixels.min(), image.pixels.max()) == (0, peak)
    colors = expected[..., : min(channels, 3)].squeeze()
    np.testing.assert_allclose(image.pixels, colors, rtol=0, atol=0.5)
    if channels == 4:
        np.testing.assert_array_equal(image.alpha, samples[..., 3])
    assert (image.color, image.notes) == ((), ("its samples of narrow range became full range",))


def test_few_samples_outside_are_clipped():
    samples = np.full((10, 10, 1), 235, np.uint8)
    samples[0, 0] = 240
    image = read_image(_png(samples, bytes([1, 13, 0])))
    assert (image.pixels == 255).all()
    assert image.notes == ("its samples of narrow range became full range; 1.0% of them were clipped",)


def test_samples_of_the_full_range_are_not_stretched():
    samples = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    image = read_image(_png(samples, bytes([1, 13, 0])))
    np.testing.assert_array_equal(image.pixels, samples[..., 0])
    assert image.notes == ("the narrow range of its cICP was ignored: 14% of its samples exceed it",)


def test_the_color_that_is_kept_states_the_full_range(tmp_path):
    image = read_image(_png(np.full((4, 4, 3), 100, np.uint8), PQ))
    assert image.color == ((b"cICP", PQ + b"\1"),)
    write_image(image, tmp_path / "a.png")
    again = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(again.pixels, image.pixels)
    assert again.notes == ()
