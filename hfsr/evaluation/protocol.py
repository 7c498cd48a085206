"""The measurement protocol: crop, rounding, input conversion, and the record beside every number."""

from __future__ import annotations

import functools
import math
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import hfsr
from hfsr.images import quantize, to_rgb_float

__all__ = ["LQ_GIVEN", "default_crop", "make_protocol", "network_input", "round_lq", "source_commit"]

LQ_GIVEN = "LQ pictures as given"
"""Value of `resize` in the protocol of given LQ images; on published cards, so it does not change."""


def default_crop(scale: float) -> int:
    """Pixels left out on each side, as in the published tables: the scale, and none at scale 1."""
    return math.ceil(scale) if scale > 1 else 0


def make_protocol(
    *, scale: float, crop: int, dtype: str, tile: int | str, degradation: Mapping[str, Any]
) -> dict[str, Any]:
    """The record of how a number was measured.

    Args:
        scale: GT px per LQ px.
        crop: px left out on each side.
        dtype: dtype of the computation.
        tile: side of the tiles; 0 for whole images.
        degradation: `Seeded.protocol()`, or another statement of where the LQ images come from.
    """
    return {
        "channel": "Y: MATLAB BT.601 luma; RGB: all three",
        "crop": crop,
        **degradation,
        "baseline": "MATLAB bicubic" if scale > 1 else "the LQ picture",
        "rounding": "clamped and rounded to 8 bit",
        "ssim": "11x11 Gaussian, sigma 1.5",
        "dtype": dtype,
        "tile": tile,
        "hfsr": hfsr.__version__,
        "commit": source_commit(),
    }


@functools.cache
def source_commit() -> str | None:
    """The commit of this code, with "-dirty" if files are changed; None outside a checkout."""
    root = Path(hfsr.__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude", "*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None  # git is not installed or does not accept this folder; the version is recorded anyway
    return done.stdout.strip() or None


def network_input(lq: NDArray) -> Tensor:
    """Converts an LQ image, integers or float32 (H, W, 3) in [0, 1], to a network's input (1, 3, H, W)."""
    if lq.dtype != np.float32:
        return to_rgb_float(lq)
    return torch.from_numpy(lq).permute(2, 0, 1)[None].contiguous()


def round_lq(lq: NDArray) -> NDArray:
    """Rounds an LQ image of float32 to 8 bit, as results are rounded; the baseline is made from it."""
    return quantize(torch.from_numpy(lq)) if lq.dtype == np.float32 else lq
