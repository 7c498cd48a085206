"""What cutting a picture into independent tiles costs: whole image, tiles as other tools cut them, and ours.

The reference is the network run on the whole picture. The measures are PSNR (RGB, 8 bit) to that, the largest
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

__all__ = ["OTHERS", "Cut", "TilingReport", "compare_tiling"]

Restore = Callable[[Tensor], Tensor]

OTHERS = ((256, 10), (128, 10))
"""Tile and padding, LR px, that other tools ship with."""

_PANEL, _GAP, _CAPTION = 640, 8, 24  # px: width of a panel of the difference picture, between, above
_GAIN = 16


@dataclass(frozen=True)
class Cut:
    """One way to cut, against the whole picture."""

    method: str
    psnr: float
    """dB, RGB; infinite where no pixel differs."""
    largest: int
    """Gray levels."""
    changed: float
    """Share of the pixels that differ, 0 to 1."""
    of_range: float
    """The largest difference before rounding, of a range of 1."""


@dataclass(frozen=True)
class TilingReport:
    """All ways to cut one picture."""

    name: str
    cuts: tuple[Cut, ...]
    picture: Image.Image
    """The whole result beside the differences of every cut, made brighter."""

    def to_json(self) -> dict[str, Any]:
        """Plain values; an infinite PSNR becomes None."""
        rows = [
            {
                **vars(cut),
                "psnr": cut.psnr if math.isfinite(cut.psnr) else None,
                "changed": round(cut.changed, 6),
            }
            for cut in self.cuts
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
    others: tuple[tuple[int, int], ...] = OTHERS,
    progress: Callable[[str], None] = lambda way: None,
) -> TilingReport:
    """Runs one picture whole, in independent tiles, and in our pieces.

    Args:
        name: of the picture, for the report.
        pixels: LR picture, uint8, RGB (H, W, 3) or gray (H, W).
        scale: of the network.
        whole: the network on a whole picture; independent tiles are run by it too.
        ours: the same network in pieces.
        ours_label: what to call that.
        others: tile and padding in LR px of the independent tiles.
        progress: called with the name of each way before it runs.
    """
    image = to_rgb_float(pixels)
    ways: dict[str, Callable[[], Tensor]] = {}
    for tile, padding in others:
        label = f"independent tiles of {tile} px, {padding} px of padding"
        ways[label] = functools.partial(
            independent_tiles, whole, image, scale=scale, tile=tile, padding=padding
        )
    ways[ours_label] = lambda: ours(image)
    cuts, differences = [], []
    with torch.inference_mode():
        progress("whole picture")
        reference = whole(image)
        for label, run in ways.items():
            progress(label)
            cut, difference = _compare(label, run(), reference)
            cuts.append(cut)
            differences.append(difference)
        picture = _picture(from_rgb_float(reference), cuts, differences)
    return TilingReport(name=name, cuts=tuple(cuts), picture=picture)


def independent_tiles(restore: Restore, image: Tensor, *, scale: int, tile: int, padding: int) -> Tensor:
    """Cuts as other tools do: every tile knows nothing but `padding` px around it.

    Args:
        restore: run on each tile.
        image: RGB float (1, 3, H, W).
        scale: of the network.
        tile: side of what a tile contributes, LR px.
        padding: LR px beyond that on each side, where the picture has them.

    Returns:
        (1, 3, H*scale, W*scale).
    """
    height, width = image.shape[-2:]
    result = image.new_empty((1, 3, height * scale, width * scale))
    for top, bottom in _spans(height, tile):
        for left, right in _spans(width, tile):
            above, before = max(0, top - padding), max(0, left - padding)
            part = restore(image[..., above : bottom + padding, before : right + padding])
            rows = slice((top - above) * scale, (bottom - above) * scale)
            columns = slice((left - before) * scale, (right - before) * scale)
            result[..., top * scale : bottom * scale, left * scale : right * scale] = part[..., rows, columns]
    return result


def _spans(length: int, step: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + step, length)) for start in range(0, length, step))


def _compare(method: str, result: Tensor, reference: Tensor) -> tuple[Cut, NDArray[np.uint8]]:
    """One way against the reference, and where they differ: (H, W), the largest of a pixel's channels."""
    a, b = from_rgb_float(result), from_rgb_float(reference)
    difference = (np.maximum(a, b) - np.minimum(a, b)).max(axis=2)
    cut = Cut(
        method=method,
        psnr=psnr(a, b, channel="rgb"),
        largest=int(difference.max()),
        changed=float(np.mean(difference > 0)),
        of_range=float((result - reference).abs().max()),
    )
    return cut, difference


def _picture(whole: NDArray, cuts: list[Cut], differences: list[NDArray]) -> Image.Image:
    """Panels side by side: the whole result, and each cut's difference, brightened."""
    size = (_PANEL, max(1, round(whole.shape[0] * _PANEL / whole.shape[1])))
    font = ImageFont.load_default(14)
    panels = [
        (
            Image.fromarray(whole).resize(size),
            f"whole picture; at its right the differences to it, times {_GAIN}",
        )
    ]
    for cut, difference in zip(cuts, differences, strict=True):
        level = f"{cut.psnr:.1f} dB, up to {cut.largest} of 255" if cut.largest else "no pixel differs"
        bright = Image.fromarray(np.minimum(_shrunk(difference) * np.uint16(_GAIN), 255).astype(np.uint8))
        panels.append((bright.resize(size, Image.Resampling.NEAREST), f"{cut.method}: {level}"))
    sheet = Image.new("RGB", (len(panels) * (_PANEL + _GAP) - _GAP, size[1] + _CAPTION), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (panel, label) in enumerate(panels):
        left = index * (_PANEL + _GAP)
        sheet.paste(panel.convert("RGB"), (left, _CAPTION))
        draw.text((left, 4), label, fill="black", font=font)
    return sheet


def _shrunk(difference: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The largest difference of every block, so that thin seams survive in a small panel."""
    block = max(1, difference.shape[1] // _PANEL)
    for axis in (0, 1):
        difference = np.maximum.reduceat(difference, np.arange(0, difference.shape[axis], block), axis=axis)
    return difference
