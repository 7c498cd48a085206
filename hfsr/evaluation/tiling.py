"""What cutting a picture into independent tiles costs: whole image, tiles as other tools cut them, and ours.

The reference is the network run on the whole picture. The measures are PSNR (RGB, 8 bit) to that, the largest
difference in grey levels, and the share of pixels that changed.
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
_GAIN = 8


@dataclass(frozen=True)
class Cut:
    """One way to cut, against the whole picture."""

    method: str
    psnr: float
    """dB, RGB; infinite where no pixel differs."""
    largest: int
    """Grey levels."""
    changed: float
    """Share of the pixels that differ, 0 to 1."""


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
    progress: Callable[[str], None] | None = None,
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
    ways: dict[str, Callable[[], Tensor]] = {"whole": lambda: whole(image)}
    for tile, padding in others:
        label = f"independent tiles of {tile} px, {padding} px of padding"
        ways[label] = functools.partial(
            independent_tiles, whole, image, scale=scale, tile=tile, padding=padding
        )
    ways[ours_label] = lambda: ours(image)
    results: dict[str, NDArray] = {}
    for label, run in ways.items():
        if progress:
            progress(label)
        with torch.inference_mode():
            results[label] = from_rgb_float(run())
    reference = results.pop("whole")
    differences = {label: _difference(result, reference) for label, result in results.items()}
    cuts = tuple(
        Cut(
            method=label,
            psnr=psnr(results[label], reference, channel="rgb"),
            largest=int(difference.max()),
            changed=float(np.mean(difference > 0)),
        )
        for label, difference in differences.items()
    )
    return TilingReport(name=name, cuts=cuts, picture=_picture(reference, cuts, list(differences.values())))


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


def _difference(a: NDArray, b: NDArray) -> NDArray[np.uint8]:
    """The largest absolute difference of a pixel's channels: (H, W)."""
    return (np.maximum(a, b) - np.minimum(a, b)).max(axis=2)


def _picture(whole: NDArray, cuts: tuple[Cut, ...], differences: list[NDArray]) -> Image.Image:
    """Panels side by side: the whole result, and each cut's difference, brightened."""
    height = max(1, round(whole.shape[0] * _PANEL / whole.shape[1]))
    font = ImageFont.load_default(14)
    panels = [(whole, f"whole picture; at its right the differences to it, times {_GAIN}")]
    for cut, difference in zip(cuts, differences, strict=True):
        level = f"{cut.psnr:.1f} dB, up to {cut.largest} grey levels" if cut.largest else "no pixel differs"
        panels.append(
            (np.minimum(difference * np.uint16(_GAIN), 255).astype(np.uint8), f"{cut.method}: {level}")
        )
    sheet = Image.new("RGB", (len(panels) * (_PANEL + _GAP) - _GAP, height + _CAPTION), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (pixels, label) in enumerate(panels):
        left = index * (_PANEL + _GAP)
        panel = Image.fromarray(pixels).resize((_PANEL, height), Image.Resampling.BOX)
        sheet.paste(panel.convert("RGB"), (left, _CAPTION))
        draw.text((left, 4), label, fill="black", font=font)
    return sheet
