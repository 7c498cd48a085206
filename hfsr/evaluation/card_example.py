"""The example on a model card: input and result side by side, and the time it takes on this machine."""

from __future__ import annotations

import io
import os
import platform
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from hfsr.degradations import Bicubic, Seeded, bicubic_up, describe_degradation, modcrop
from hfsr.images import eight_bit, from_rgb_float, read_image

from .benchmark import Restore
from .protocol import network_input, round_lq

__all__ = ["device_name", "make_example_image", "measure_seconds"]

SIDE = 256
"""Px of the result that each crop shows, in width and height."""
MARGIN = 24
"""Px of the result around a crop that are restored but not shown, since the border has less context."""
GAP = 8
"""White px between the crops."""
LONG_RUN = 5
"""Seconds; if the first run takes longer, its set-up time is negligible and it is the only run."""
STEP = 16
"""Px between the positions at which the detail of a crop is measured."""


def make_example_image(
    restore: Restore, image: Path, *, scale: float, degradation: Seeded | None = None, is_lq: bool = False
) -> tuple[bytes, str]:
    """Restores the most detailed part of an image and puts input, result and ground truth side by side.

    Args:
        restore: the model.
        image: GT, from which LQ is made; or LQ, if `is_lq`.
        scale: px of the result per px of LQ.
        degradation: makes LQ from GT; MATLAB bicubic if None.
        is_lq: the image is LQ and has no GT.

    Returns:
        A lossless WebP (LQ upscaled by bicubic, the result and, unless `is_lq`, GT) and its caption.

    Raises:
        ImageError: the image cannot be read.
    """
    pixels = eight_bit(read_image(image).pixels)
    pixels = np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels
    factor = scale if is_lq else 1
    part = modcrop(_most_detailed(pixels, int((SIDE + 2 * MARGIN) / factor)), 1 if is_lq else scale)
    degrade = degradation or Seeded(Bicubic(scale=scale))
    lq = part if is_lq else degrade(part, image.stem)
    with torch.inference_mode():
        result = from_rgb_float(restore(network_input(lq)))
    before = bicubic_up(round_lq(lq), scale) if scale > 1 else round_lq(lq)
    crops = [_without_margin(crop) for crop in (before, result, *([] if is_lq else [part]))]
    strip = np.full((crops[0].shape[0], sum(c.shape[1] + GAP for c in crops) - GAP, 3), 255, np.uint8)
    left = 0
    for crop in crops:
        strip[:, left : left + crop.shape[1]] = crop
        left += crop.shape[1] + GAP
    file = io.BytesIO()
    Image.fromarray(strip).save(file, "WEBP", lossless=True, method=6)
    unchanged = is_lq or degradation is None
    first = "the image as it was given" if unchanged else f"with {describe_degradation(degrade.protocol())}"
    first = f"enlarged {scale:g} times by bicubic" if scale > 1 else first
    parts = ["this model", *([] if is_lq else ["the original"])]
    return file.getvalue(), f"From left to right, px by px: {first}, {', '.join(parts)}"


def measure_seconds(restore: Restore, *, scale: float, width: int = 1280, height: int = 720) -> float:
    """The shortest of three runs after a first one, for a result of this size; long runs are made once."""
    x = torch.rand(1, 3, int(height // scale), int(width // scale))
    taken = []
    for _ in range(4):
        start = time.perf_counter()
        with torch.inference_mode():
            restore(x)
        taken.append(time.perf_counter() - start)
        if taken[0] > LONG_RUN:
            break
    return min(taken[1:] or taken)


def device_name(device: torch.device) -> str:
    """The name of the GPU, or of the CPU with the number of threads that torch uses."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{threads} thread{'s' * (threads > 1)} of {_cpu_name()}"


def _cpu_name() -> str:
    """The model name of the CPU on Linux, else its architecture and the number of cores."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []  # not Linux
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    if names and names[0] not in ("", "unknown"):
        return names[0]
    return f"{platform.processor() or platform.machine()} with {os.cpu_count()} cores"


def _most_detailed(pixels: NDArray, side: int) -> NDArray:
    """The square crop with the largest sum of differences between neighboring px; small images whole."""
    height, width = (min(side, extent) for extent in pixels.shape[:2])
    gray = pixels.astype(np.float32).mean(axis=2)
    detail = np.zeros_like(gray)
    detail[1:] += np.abs(np.diff(gray, axis=0))
    detail[:, 1:] += np.abs(np.diff(gray, axis=1))
    sums = np.pad(detail, ((1, 0), (1, 0))).cumsum(axis=0, dtype=np.float64).cumsum(axis=1)
    corners = [
        (top, left)
        for top in range(0, gray.shape[0] - height + 1, STEP)
        for left in range(0, gray.shape[1] - width + 1, STEP)
    ]

    def total(corner: tuple[int, int]) -> float:
        top, left = corner
        bottom, right = top + height, left + width
        return float(sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left])

    top, left = max(corners, key=total)
    return pixels[top : top + height, left : left + width]


def _without_margin(crop: NDArray) -> NDArray:
    """The shown part of a crop: without its margin if it is large enough to have one."""
    top, left = (MARGIN if extent > 4 * MARGIN else 0 for extent in crop.shape[:2])
    return crop[top : crop.shape[0] - top, left : crop.shape[1] - left]
