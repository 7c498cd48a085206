"""What a card shows: before and after at full size, and how long it takes on this machine."""

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

from hfsr.degradations import Bicubic, Seeded, bicubic_up, in_words, modcrop
from hfsr.evaluation.report import Restore, network_input, rounded
from hfsr.images import eight_bit, from_rgb_float, read_picture

__all__ = ["before_after", "machine", "seconds_for"]

SIDE = 256
"""Px of the result that each crop shows, in width and height."""
MARGIN = 24
"""Px of the result around a crop that are restored too and not shown, as a border sees less."""
GAP = 8
"""White px between the crops."""
SLOW = 5
"""Seconds from which on the first run, with what it sets up, is as good as the next."""
STEP = 16
"""Px between the places that are looked at for the crop with the most detail."""


def before_after(
    restore: Restore, picture: Path, *, scale: float, degradation: Seeded | None = None, given: bool = False
) -> tuple[bytes, str]:
    """Restores the most detailed part of a picture and lays what came out beside what went in.

    Args:
        restore: the model.
        picture: GT, from which LQ is made; or LQ, where `given`.
        scale: px of the result per px of LQ.
        degradation: makes LQ from GT; MATLAB bicubic when None.
        given: the picture is LQ and has no GT.

    Returns:
        A lossless WebP - LQ enlarged by bicubic, the result and, unless `given`, GT - and what its parts are.

    Raises:
        ImageError: the picture cannot be read.
    """
    pixels = eight_bit(read_picture(picture).pixels)
    pixels = np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels
    factor = scale if given else 1
    part = modcrop(_detailed(pixels, int((SIDE + 2 * MARGIN) / factor)), 1 if given else scale)
    degrade = degradation or Seeded(Bicubic(scale=scale))
    lq = part if given else degrade(part, picture.stem)
    with torch.inference_mode():
        result = from_rgb_float(restore(network_input(lq)))
    before = bicubic_up(rounded(lq), scale) if scale > 1 else rounded(lq)
    crops = [_middle(crop) for crop in (before, result, *([] if given else [part]))]
    strip = np.full((crops[0].shape[0], sum(c.shape[1] + GAP for c in crops) - GAP, 3), 255, np.uint8)
    left = 0
    for crop in crops:
        strip[:, left : left + crop.shape[1]] = crop
        left += crop.shape[1] + GAP
    file = io.BytesIO()
    Image.fromarray(strip).save(file, "WEBP", lossless=True, method=6)
    untouched = given or degradation is None
    first = "the picture as it was given" if untouched else f"with {in_words(degrade.protocol())}"
    first = f"enlarged {scale:g} times by bicubic" if scale > 1 else first
    parts = ["this model", *([] if given else ["the original"])]
    return file.getvalue(), f"From left to right, px by px: {first}, {', '.join(parts)}"


def seconds_for(restore: Restore, *, scale: float, width: int = 1280, height: int = 720) -> float:
    """The shortest of three runs after a first one, for a result of that many px; slow ones run once."""
    x = torch.rand(1, 3, int(height // scale), int(width // scale))
    taken = []
    for _ in range(4):
        start = time.perf_counter()
        with torch.inference_mode():
            restore(x)
        taken.append(time.perf_counter() - start)
        if taken[0] > SLOW:
            break
    return min(taken[1:] or taken)


def machine(device: torch.device) -> str:
    """What computes: the GPU, or the CPU with the number of its threads that torch uses."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{threads} thread{'s' * (threads > 1)} of {_processor()}"


def _processor() -> str:
    """The CPU's own name where the system tells it, else its architecture and the number of cores."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []  # not Linux
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    if names and names[0] not in ("", "unknown"):
        return names[0]
    return f"{platform.processor() or platform.machine()} with {os.cpu_count()} cores"


def _detailed(pixels: NDArray, side: int) -> NDArray:
    """The square of this side with the largest sum of differences between neighbors; small ones whole."""
    height, width = (min(side, extent) for extent in pixels.shape[:2])
    gray = pixels.astype(np.float32).mean(axis=2)
    detail = np.zeros_like(gray)
    detail[1:] += np.abs(np.diff(gray, axis=0))
    detail[:, 1:] += np.abs(np.diff(gray, axis=1))
    sums = np.pad(detail, ((1, 0), (1, 0))).cumsum(axis=0, dtype=np.float64).cumsum(axis=1)
    places = [
        (top, left)
        for top in range(0, gray.shape[0] - height + 1, STEP)
        for left in range(0, gray.shape[1] - width + 1, STEP)
    ]

    def total(place: tuple[int, int]) -> float:
        top, left = place
        bottom, right = top + height, left + width
        return float(sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left])

    top, left = max(places, key=total)
    return pixels[top : top + height, left : left + width]


def _middle(crop: NDArray) -> NDArray:
    """What is shown of a crop: without its margin, where it is large enough to have one."""
    top, left = (MARGIN if extent > 4 * MARGIN else 0 for extent in crop.shape[:2])
    return crop[top : crop.shape[0] - top, left : crop.shape[1] - left]
