"""MATLAB's luma."""

from __future__ import annotations

import numpy as np

from hfsr.images.color import rgb_to_y


def test_luma_is_matlabs():
    corners = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]])
    np.testing.assert_allclose(rgb_to_y(corners), [16, 235, 81.481, 144.553, 40.966], atol=1e-9)
    assert rgb_to_y(corners.astype(np.uint8)).dtype == np.float64
    assert rgb_to_y(np.zeros((4, 5, 3), np.uint8)).shape == (4, 5)
