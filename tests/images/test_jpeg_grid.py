"""An earlier JPEG betrays itself by its blocks; clean images do not look like one."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from skimage import data

from hfsr.images.jpeg_grid import has_jpeg_grid, jpeg_grid_score

# Photos that scikit-image ships as PNG, halved: what compression they had before is gone.
PHOTOS = {
    name: np.asarray(Image.fromarray(getattr(data, name)()).reduce(2))
    for name in ("astronaut", "chelsea", "coffee")
}


def compressed(pixels, quality):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


@pytest.mark.parametrize("name", PHOTOS)
def test_clean_photos_have_no_grid(name):
    assert not has_jpeg_grid(PHOTOS[name])
    assert not has_jpeg_grid(PHOTOS[name][..., 1])


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("quality", [30, 50])
@pytest.mark.parametrize("offset", [(0, 0), (3, 5), (7, 1)])
def test_compressed_photos_have_one_wherever_it_starts(name, quality, offset):
    cropped = compressed(PHOTOS[name], quality)[offset[0] :, offset[1] :]
    assert has_jpeg_grid(cropped)
    assert has_jpeg_grid(cropped.astype(np.uint16) * 257)


def test_noise_flat_and_tiny_images_have_none():
    rng = np.random.default_rng(0)
    assert not has_jpeg_grid(rng.integers(0, 256, (300, 300, 3), np.uint8))
    assert not has_jpeg_grid(np.full((300, 300, 3), 77, np.uint8))
    assert jpeg_grid_score(compressed(PHOTOS["coffee"][:40], 10)) == 0


def test_blocks_of_another_side_are_no_jpeg():
    rows = np.repeat(np.repeat(np.random.default_rng(1).integers(0, 9, (30, 30), np.uint8), 10, 0), 10, 1)
    assert not has_jpeg_grid(rows)
