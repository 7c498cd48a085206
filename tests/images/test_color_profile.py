"""MATLAB's luma, and profiles for other channels than those of the pixels."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from hfsr.images import LoadedImage, fitted, read_image, write_image
from hfsr.images.color import rgb_to_y

from .profiles import linear_gray, red_cyan

NOTE = "its color profile was left out: it is one of {}, and the pixels are {}"


def _png(image: Image.Image, icc: bytes) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", icc_profile=icc)
    return buffer.getvalue()


def _colors() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8))


@pytest.mark.parametrize("mode", ["RGB", "P", "RGBA"])
@pytest.mark.parametrize(("icc", "kind"), [(linear_gray(), "GRAY"), (red_cyan(), "CMYK")])
def test_a_profile_of_other_channels_is_left_out(mode, icc, kind):
    image = read_image(_png(_colors().convert(mode), icc))
    assert (image.icc, image.notes) == (None, (NOTE.format(kind, "RGB"),))


def test_a_profile_that_suits_stays():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for mode, icc in (("RGB", srgb), ("L", srgb), ("L", linear_gray()), ("RGB", b"damaged")):
        image = read_image(_png(_colors().convert(mode), icc))
        assert (image.icc, image.notes) == (icc, ())


@pytest.mark.parametrize("mode", ["RGB", "P"])
def test_gray_pixels_in_colors_become_gray_by_their_profile(mode):
    gray = _colors().convert("L")
    image = read_image(_png(gray.convert(mode), linear_gray()))
    assert (image.icc, image.notes) == (linear_gray(), ())
    np.testing.assert_array_equal(image.pixels, np.asarray(gray))


@pytest.mark.parametrize("suffix", [".webp", ".avif", ".png", ".tif", ".jpg"])
def test_an_image_of_a_caller_is_written_without_it(tmp_path, suffix):
    image = LoadedImage(np.asarray(_colors()), icc=linear_gray())
    path = tmp_path / f"a{suffix}"
    write_image(image, path)
    assert fitted(image, "PNG").notes == (NOTE.format("GRAY", "RGB"),)
    with Image.open(path) as written:
        assert "icc_profile" not in written.info


def test_luma_is_matlabs():
    corners = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]])
    np.testing.assert_allclose(rgb_to_y(corners), [16, 235, 81.481, 144.553, 40.966], atol=1e-9)
    assert rgb_to_y(corners.astype(np.uint8)).dtype == np.float64
    assert rgb_to_y(np.zeros((4, 5, 3), np.uint8)).shape == (4, 5)
