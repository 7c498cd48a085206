"""PSNR-Y of models on compressed images, beside bicubic.

    python tests/benchmarks/compressed.py MODEL [MODEL ...] --gt DIR [DIR ...] [--quality clean 90 75 ...]

LQ is made from GT by MATLAB bicubic reduction (nothing at scale 1), then by JPEG at each quality (Pillow,
4:2:0). All models see an image before the next one is read. Results are rounded to 8 bit, and `scale` px are
cropped on each side. `--dtype bf16` is faster where the processor has it; it differs by hundredths of a dB.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import hfsr
from hfsr.degradations import Bicubic, Chain, Jpeg, Seeded, Step, bicubic_up
from hfsr.evaluation import find_pairs
from hfsr.evaluation.protocol import default_crop
from hfsr.inference import Upscaler
from hfsr.metrics import psnr

BASELINES = {True: "bicubic", False: "input"}


def degradation(scale: int, quality: int | None) -> Seeded:
    """Reduction by `scale`, then JPEG; no JPEG where quality is None."""
    steps: list[Step] = [Bicubic(scale=scale)] if scale > 1 else []
    return Seeded(Chain([*steps, *([Jpeg(quality=quality)] if quality else [])]))


def measure(
    models: dict[str, Upscaler], scale: int, folder: str, qualities: list[int | None]
) -> Iterator[str]:
    """One line per model and one for the baseline, with the mean over the folder at each quality."""
    scores: dict[str, list[list[float]]] = {name: [] for name in [BASELINES[scale > 1], *models]}
    for pair in find_pairs(folder, scale=scale):
        rows: dict[str, list[float]] = {name: [] for name in scores}
        for quality in qualities:
            lq, gt = pair.load(degradation(scale, quality), scale)
            results = {name: up(lq) for name, up in models.items()}
            results[BASELINES[scale > 1]] = bicubic_up(lq, scale) if scale > 1 else lq
            for name, result in results.items():
                rows[name].append(psnr(result, gt, crop=default_crop(scale)))
        for name, row in rows.items():
            scores[name].append(row)
    for name, table in scores.items():
        yield f"{name:<24}" + "".join(f"{mean:8.2f}" for mean in np.mean(table, axis=0))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", help="models of one scale, as from_pretrained reads them")
    parser.add_argument("--gt", nargs="+", required=True, metavar="DIR", help="folders of GT images")
    parser.add_argument(
        "--quality", nargs="+", default=["clean", "90", "75", "50", "30", "10"], metavar="N|clean"
    )
    parser.add_argument("--dtype", default="fp32")
    args = parser.parse_args()
    models = {
        Path(name).name: Upscaler(hfsr.from_pretrained(name), tile=0, dtype=args.dtype)
        for name in args.models
    }
    scales = {int(up.scale) for up in models.values()}
    if len(scales) > 1:
        parser.error(f"models of scales {sorted(scales)}; measure one scale at a time")
    qualities = [None if quality == "clean" else int(quality) for quality in args.quality]
    for folder in args.gt:
        print(f"\n{folder}, PSNR-Y in dB, {args.dtype}")
        print(f"{'JPEG quality':<24}" + "".join(f"{quality:>8}" for quality in args.quality))
        for line in measure(models, scales.copy().pop(), folder, qualities):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
