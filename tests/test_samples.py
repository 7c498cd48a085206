"""The sample picture is what its script draws, and large enough that its double is 2K."""

from __future__ import annotations

import numpy as np
from PIL import Image

from hfsr.samples import SAMPLE
from hfsr.samples.draw import HEIGHT, WIDTH, draw


def test_the_sample_is_drawn_by_its_script():
    with Image.open(SAMPLE) as image:
        shipped = np.asarray(image.convert("RGB"), np.int16)
    assert shipped.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(shipped - np.asarray(draw(), np.int16)).mean() < 0.5  # another Pillow may round otherwise
    assert 2 * WIDTH >= 2048
