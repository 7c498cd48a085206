"""Comparison of tilings: independent tiles as in other tools, and the tiles of hfsr, against the whole image.

The reference is the result for the whole image. Measured are the PSNR (RGB, 8 bit) to it, the largest
difference in gray levels and before rounding, and the share of pixels that changed.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from hfsr.images import from_rgb_float, to_rgb_float
from hfsr.metrics import psnr

from .benchmark import Restore

__all__ = ["OTHER_TILINGS", "TilingReport", "TilingResult", "compare_tiling"]

OTHER_TILINGS = ((256, 10), (128, 10))
"""Tile and padding in LQ px, the defaults of other tools."""

_PANEL, _GAP, _CAPTION = 640, 8, 24  # px: width of a panel, space between panels, height of the caption
_GAIN = 16


@dataclass(frozen=True)
class TilingResult:
    """One tiling, compared with the whole image."""

    method: str
    psnr: float
    """dB, RGB; infinite if no pixel differs."""
    largest: int
    """Gray levels."""
    changed: float
    """Share of the pixels that differ, 0 to 1."""
    of_range: float
    """The largest difference before rounding, of a range of 1."""


@dataclass(frozen=True)
class TilingReport:
    """All tilings of one image."""

    name: str
    results: tuple[TilingResult, ...]
    image: Image.Image
    """The result for the whole image, and the brightened difference of every tiling to it."""

    def to_json(self) -> dict[str, Any]:
        """Plain values; an infinite PSNR becomes None."""
        rows = [
            {
                **vars(result),
                "psnr": result.psnr if math.isfinite(result.psnr) else None,
                "changed": round(result.changed, 6),
            }
            for result in self.results
        ]
        return {"input": self.name, "cuts": rows}


def compare_tiling(
    name: str,
    pixels: NDArray,
    *,
    scale: int,
    whole: Restore,
    ours: Restore,
    ours_label: str = "hfsr in pieces",
    others: tuple[tuple[int, int], ...] = OTHER_TILINGS,
    progress: Callable[[str], None] = lambda method: None,
) -> TilingReport:
    """Runs one image whole, in independent tiles, and in the tiles of hfsr.

    Args:
        name: name of the image, for the report.
        pixels: LQ image, uint8, RGB (H, W, 3) or gray (H, W).
        scale: scale of the network.
        whole: the network on a whole image; it also runs the independent tiles.
        ours: the same network in the tiles of hfsr.
        ours_label: name of that method.
        others: tile and padding in LQ px of the independent tiles.
        progress: called with the name of each method before it runs.
    """
    image = to_rgb_float(pixels)
    methods: dict[str, Callable[[], Tensor]] = {}
    for tile, padding in others:
        label = f"independent tiles of {tile} px, {padding} px of padding"
        methods[label] = functools.partial(
            independent_tiles, whole, image, scale=scale, tile=tile, padding=padding
        )
    methods[ours_label] = lambda: ours(image)
    results, differences = [], []
    with torch.inference_mode():
        progress("whole image")
        reference = whole(image)
        for label, run in methods.items():
            progress(label)
            result, difference = _compare(label, run(), reference)
            results.append(result)
            differences.append(difference)
        panels = _draw_panels(from_rgb_float(reference), results, differences)
    return TilingReport(name=name, results=tuple(results), image=panels)


def independent_tiles(restore: Restore, image: Tensor, *, scale: int, tile: int, padding: int) -> Tensor:
    """Runs independent tiles, as other tools do: each tile sees `padding` px around it and nothing else.

    Args:
        restore: run on each tile.
        image: RGB float (1, 3, H, W).
        scale: scale of the network.
        tile: side of a tile in LQ px, without padding.
        padding: LQ px beyond that on each side, cut at the border of the image.

    Returns:
        (1, 3, H*scale, W*scale).
    """
    height, width = image.shape[-2:]
    result = image.new_empty((1, 3, height * scale, width * scale))
    for top, bottom in _tile_bounds(height, tile):
        for left, right in _tile_bounds(width, tile):
            above, before = max(0, top - padding), max(0, left - padding)
            part = restore(image[..., above : bottom + padding, before : right + padding])
            rows = slice((top - above) * scale, (bottom - above) * scale)
            columns = slice((left - before) * scale, (right - before) * scale)
            result[..., top * scale : bottom * scale, left * scale : right * scale] = part[..., rows, columns]
    return result


def _tile_bounds(length: int, step: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + step, length)) for start in range(0, length, step))


def _compare(method: str, result: Tensor, reference: Tensor) -> tuple[TilingResult, NDArray[np.uint8]]:
    """Compares a result with the reference; the difference is (H, W), the largest of a pixel's channels."""
    a, b = from_rgb_float(result), from_rgb_float(reference)
    difference = (np.maximum(a, b) - np.minimum(a, b)).max(axis=2)
    compared = TilingResult(
        method=method,
        psnr=psnr(a, b, channel="rgb"),
        largest=int(difference.max()),
        changed=float(np.mean(difference > 0)),
        of_range=float((result - reference).abs().max()),
    )
    return compared, difference


def _draw_panels(whole: NDArray, results: list[TilingResult], differences: list[NDArray]) -> Image.Image:
    """Panels side by side: the result for the whole image, and the brightened difference of each tiling."""
    size = (_PANEL, max(1, round(whole.shape[0] * _PANEL / whole.shape[1])))
    font = ImageFont.load_default(14)
    panels = [
        (
            Image.fromarray(whole).resize(size),
            f"whole image; at its right the differences to it, times {_GAIN}",
        )
    ]
    for result, difference in zip(results, differences, strict=True):
        level = (
            f"{result.psnr:.1f} dB, up to {result.largest} of 255" if result.largest else "no pixel differs"
        )
        bright = Image.fromarray(
            np.minimum(_block_maxima(difference) * np.uint16(_GAIN), 255).astype(np.uint8)
        )
        panels.append((bright.resize(size, Image.Resampling.NEAREST), f"{result.method}: {level}"))
    sheet = Image.new("RGB", (len(panels) * (_PANEL + _GAP) - _GAP, size[1] + _CAPTION), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (panel, label) in enumerate(panels):
        left = index * (_PANEL + _GAP)
        sheet.paste(panel.convert("RGB"), (left, _CAPTION))
        draw.text((left, 4), label, fill="black", font=font)
    return sheet


def _block_maxima(difference: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The largest difference of each block, so that thin seams stay visible in a small panel."""
    block = max(1, difference.shape[1] // _PANEL)
    for axis in (0, 1):
        difference = np.maximum.reduceat(difference, np.arange(0, difference.shape[axis], block), axis=axis)
    return difference
