"""Test of the sample image against its script, and of its size."""

from __future__ import annotations

import numpy as np
from PIL import Image

from hfsr.samples import SAMPLE
from hfsr.samples.draw import HEIGHT, WIDTH, draw


def test_sample_matches_its_script():
    with Image.open(SAMPLE) as image:
        shipped = np.asarray(image.convert("RGB"), np.int16)
    assert shipped.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(shipped - np.asarray(draw(), np.int16)).mean() < 0.5  # Pillow versions round differently
    assert 2 * WIDTH >= 2048
