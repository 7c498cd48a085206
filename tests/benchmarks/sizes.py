"""PSNR-Y at scales between those of the bundled models: each model, or chain of models, reduced to the size.

    python tests/benchmarks/sizes.py --gt DIR [DIR ...] [--scales 1.25 1.5 ...] [--quality 75]

LQ is made from GT by MATLAB bicubic reduction, then by JPEG where a quality is given (Pillow, 4:2:0). Each
candidate that reaches the scale enlarges it to the size of GT: the last result is reduced in float, then
rounded to 8 bit. ceil(scale) px are cropped on each side. `hfsr.model_choice` follows the table.
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import cache

import numpy as np
from torch import nn

import hfsr
from hfsr.degradations import Bicubic, Chain, Jpeg, Seeded, Step, bicubic_up
from hfsr.evaluation import find_pairs
from hfsr.evaluation.protocol import default_crop
from hfsr.inference import Upscaler
from hfsr.metrics import psnr

CLEAN = ("x2", "x3", "x4", "x2 x2", "x2 x3", "x3 x2", "x2 x4", "x4 x2", "x3 x3", "x4 x4")
PHOTO = (
    *("x2", "x3", "x4", "x2-photo", "x4-photo", "x2-photo x2", "x2-photo x3", "x2-photo x4", "x4-photo x2"),
    *("x4-photo x2-photo", "x4-photo x4"),
)
"""Candidates: the names of bundled models without their prefix, in the order in which they run."""


@cache
def load(name: str) -> nn.Module:
    return hfsr.from_pretrained(f"hfsr-{name}")


def measure(folder: str, scale: float, quality: int | None, dtype: str) -> list[tuple[str, float, float]]:
    """Candidate, PSNR-Y and seconds per image, bicubic first."""
    steps: list[Step] = [Bicubic(scale=scale), *([Jpeg(quality=quality)] if quality else [])]
    degradation = Seeded(Chain(steps))
    ups = {}
    for name in CLEAN if quality is None else PHOTO:
        up = Upscaler([load(each) for each in name.split()], dtype=dtype)
        # chains are candidates only where no single model reaches the scale
        if scale <= up.scale < 4 * scale and (len(up.models) == 1) == (scale <= 4):
            ups[name] = up
    scores: dict[str, list[float]] = {name: [] for name in ("bicubic", *ups)}
    seconds = dict.fromkeys(scores, 0.0)
    pairs = find_pairs(folder, scale=scale)
    for pair in pairs:
        lq, gt = pair.load(degradation, scale)
        size = (gt.shape[1], gt.shape[0])
        border = default_crop(scale)
        scores["bicubic"].append(psnr(bicubic_up(lq, scale)[: size[1], : size[0]], gt, crop=border))
        for name, up in ups.items():
            started = time.perf_counter()
            result = up(lq, scale=scale)[: size[1], : size[0]]
            seconds[name] += time.perf_counter() - started
            scores[name].append(psnr(result, gt, crop=border))
    return [(name, float(np.mean(row)), seconds[name] / len(pairs)) for name, row in scores.items()]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gt", nargs="+", required=True, metavar="DIR", help="folders of GT images")
    parser.add_argument("--scales", nargs="+", type=float, default=[1.25, 1.5, 2.5, 3.5, 6, 8])
    parser.add_argument("--quality", type=int, help="of a JPEG compression after the reduction")
    parser.add_argument("--dtype", default="fp32")
    args = parser.parse_args()
    for folder in args.gt:
        for scale in args.scales:
            print(f"\n{folder}, x{scale:g}, quality {args.quality}, PSNR-Y in dB, seconds per image")
            for name, value, seconds in measure(folder, scale, args.quality, args.dtype):
                print(f"{name:<20}{value:8.2f}{seconds:8.1f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
