"""A contact sheet at 1:1: what models make of compressed images, beside bicubic and the original.

    python tests/benchmarks/contact_sheet.py MODEL [MODEL ...] --crop astronaut.png:150,0,160,160 [...] -o OUT

A crop is FILE:LEFT,TOP,WIDTH,HEIGHT in px of GT; a FILE that is not there is taken from scikit-image. One row
per crop and quality: the LQ image enlarged by bicubic (at scale 1 as it is), each model, GT. The whole image
is reduced, compressed and restored before it is cropped.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import skimage
from compressed import degradation
from numpy.typing import NDArray
from PIL import Image

import hfsr
from hfsr.degradations import bicubic_up, modcrop
from hfsr.inference import Upscaler

_GAP = 4  # px between images


def load(name: str, scale: int) -> NDArray[np.uint8]:
    path = Path(name)
    if not path.is_file():
        path = Path(skimage.__file__).parent / "data" / name
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    return modcrop(pixels, scale)


def row(gt: NDArray, box: list[int], quality: int | None, models: list[Upscaler], scale: int) -> NDArray:
    """The crop in every version, side by side."""
    lq = degradation(scale, quality)(gt, "image")
    versions = [bicubic_up(lq, scale) if scale > 1 else lq, *(up(lq) for up in models), gt]
    left, top, width, height = box
    crops = [version[top : top + height, left : left + width] for version in versions]
    gap = np.full((crops[0].shape[0], _GAP, 3), 255, np.uint8)
    return np.concatenate([part for crop in crops for part in (crop, gap)][:-1], axis=1)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", help="models of one scale, as from_pretrained reads them")
    parser.add_argument("--crop", nargs="+", required=True, metavar="FILE:LEFT,TOP,WIDTH,HEIGHT")
    parser.add_argument("--quality", nargs="+", default=["75", "30"], metavar="N|clean")
    parser.add_argument("--dtype", default="fp32")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the sheet: .webp or .png")
    args = parser.parse_args()
    models = [Upscaler(hfsr.from_pretrained(name), tile=0, dtype=args.dtype) for name in args.models]
    scale = int(models[0].scale)
    rows: list[NDArray] = []
    for crop in args.crop:
        name, _, numbers = crop.rpartition(":")
        gt, box = load(name, scale), [int(number) for number in numbers.split(",")]
        for quality in args.quality:
            rows.append(row(gt, box, None if quality == "clean" else int(quality), models, scale))
            rows.append(np.full((_GAP, rows[-1].shape[1], 3), 255, np.uint8))
    width = max(part.shape[1] for part in rows)
    padded = [
        np.pad(part, [(0, 0), (0, width - part.shape[1]), (0, 0)], constant_values=255) for part in rows
    ]
    options = {"quality": 92, "method": 6} if args.output.suffix == ".webp" else {}
    Image.fromarray(np.concatenate(padded[:-1])).save(args.output, **options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
