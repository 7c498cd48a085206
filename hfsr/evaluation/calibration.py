"""Calibration samples for quantization: crops of LQ images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hfsr.degradations import Bicubic, Seeded
from hfsr.errors import DataError

from .pairs import Pair

__all__ = ["calibration_samples"]

SIDE = 96
"""Side of a sample in LQ px: it bounds the arithmetic of the calibration and covers the receptive field."""
MAX_SAMPLES = 64


def calibration_samples(pairs: Sequence[Pair], scale: float) -> list[Tensor]:
    """Crops square samples from the LQ images: the center, and four places around it if there are few images.

    Args:
        pairs: the images; LQ is made by MATLAB bicubic.
        scale: scale of the model.

    Returns:
        At most 64 tensors, RGB float (1, 3, 96, 96) in [0, 1].

    Raises:
        DataError: no color image is large enough.
    """
    per_image = min(4, -(-MAX_SAMPLES // len(pairs)))
    degradation, samples = Seeded(Bicubic(scale=scale)), []
    for pair in pairs[:MAX_SAMPLES]:
        lq, _ = pair.load(degradation, scale)
        height, width = lq.shape[:2]
        if lq.ndim != 3 or min(height, width) < SIDE:
            continue
        for index in range(per_image):
            top, left = (
                (side - SIDE) * (2 * place + 1) // 4 if per_image > 1 else (side - SIDE) // 2
                for side, place in ((height, index // 2), (width, index % 2))
            )
            crop = lq[top : top + SIDE, left : left + SIDE].transpose(2, 0, 1)
            samples.append(torch.from_numpy(crop.copy())[None].float() / 255)
    if not samples:
        raise DataError(f"no color image of at least {SIDE * scale:g} px to calibrate with; name larger ones")
    return samples[:MAX_SAMPLES]
