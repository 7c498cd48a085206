"""Two models side by side without their names, with metrics: python tests/benchmarks/blind_sheets.py A B ...

    python tests/benchmarks/blind_sheets.py MODEL MODEL --gt Set5/HR Set14/HR --quality clean 85 -o FOLDER

For each ground-truth image one sheet at 1:1, FOLDER/01.png and so on: the most detailed crop of both results,
in an order drawn by `--seed`. The judge writes FOLDER/choices.txt, one line "01 left", "01 right" or
"01 same" for each sheet. `--count` then reads these, and counts. The images take turns in their quality.

The table holds, over all images, PSNR-Y, NIQE (BasicSR's; lower is better), and for images without JPEG the
PSNR in dB between the result, reduced again, and the input.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

import numpy as np
from compressed import degradation
from contact_sheet import load
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import uniform_filter

import hfsr
from hfsr.bridge import import_basicsr
from hfsr.degradations import bicubic_down
from hfsr.inference import Upscaler
from hfsr.metrics import psnr

_GAP = 8  # px between the two results
_SIDES = ("left", "right")


def detailed_crop(gt: NDArray, side: int) -> tuple[slice, slice]:
    """The square of `side` px with the largest gradients."""
    height, width = (min(side, length) for length in gt.shape[:2])
    gray = gt.mean(2)
    energy = uniform_filter(np.hypot(*np.gradient(gray)), (height, width))
    rows, columns = energy.shape[0] - height, energy.shape[1] - width
    inner = energy[height // 2 : height // 2 + rows + 1, width // 2 : width // 2 + columns + 1]
    top, left = np.unravel_index(int(inner.argmax()), inner.shape)
    return slice(int(top), int(top) + height), slice(int(left), int(left) + width)


def is_swapped(seed: int, number: int) -> bool:
    """True if the second model is on the left of a sheet."""
    return bool(np.random.default_rng([seed, number]).integers(2))


def write_sheets(names: list[str], paths: list[Path], args: argparse.Namespace) -> None:
    import_basicsr()
    niqe = importlib.import_module("basicsr.metrics").calculate_niqe
    models = [Upscaler(hfsr.from_pretrained(name), dtype="fp32", device="cpu") for name in names]
    scale = int(models[0].scale)
    args.output.mkdir(parents=True, exist_ok=True)
    found: list[list[tuple[float, float, float | None]]] = [[], []]
    for number, path in enumerate(paths, 1):
        quality = args.quality[(number - 1) % len(args.quality)]
        is_clean = quality == "clean"
        gt = load(str(path), scale)
        lq = degradation(scale, None if is_clean else int(quality))(gt, "image")
        results = [np.asarray(up(lq)) for up in models]
        for scores, result in zip(found, results, strict=True):
            again = psnr(bicubic_down(result, scale), lq, channel="rgb") if is_clean else None
            naturalness = float(niqe(np.ascontiguousarray(result[..., ::-1]), crop_border=scale))
            scores.append((psnr(result, gt, crop=scale), naturalness, again))
        crops = [result[detailed_crop(gt, args.side)] for result in results]
        shown = crops[::-1] if is_swapped(args.seed, number) else crops
        gap = np.full((crops[0].shape[0], _GAP, 3), 255, np.uint8)
        Image.fromarray(np.concatenate([shown[0], gap, shown[1]], 1)).save(args.output / f"{number:02}.png")
        print(f"{number:02}: {path.name}, {'clean' if is_clean else f'JPEG of quality {quality}'}")
    print(f"\n{'':24}  PSNR-Y    NIQE  reduced again, dB: mean, lowest")
    for name, scores in zip(names, found, strict=True):
        again = [each[2] for each in scores if each[2] is not None]
        means = [float(np.mean([each[i] for each in scores])) for i in (0, 1)]
        print(f"{name:24}  {means[0]:6.2f}  {means[1]:6.2f}  {np.mean(again):6.2f}  {min(again):6.2f}")


def count(names: list[str], args: argparse.Namespace) -> None:
    """Prints which model the choices in FOLDER/choices.txt prefer."""
    votes = {names[0]: 0, names[1]: 0, "same": 0}
    for line in (args.output / "choices.txt").read_text().splitlines():
        number, choice = line.split()[:2]
        if choice not in (*_SIDES, "same"):
            sys.exit(f"choices.txt: '{line}' names neither left, right nor same")
        index = _SIDES.index(choice) if choice in _SIDES else 2
        if index < 2 and is_swapped(args.seed, int(number)):
            index = 1 - index
        chosen = [*names, "same"][index]
        votes[chosen] += 1
        print(f"{number}: {chosen}")
    print(", ".join(f"{name} {number}" for name, number in votes.items()))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs=2, help="two models of one scale, as from_pretrained reads them")
    parser.add_argument("--gt", nargs="+", type=Path, default=[], help="folders or files of ground truth")
    parser.add_argument("--quality", nargs="+", default=["clean"], metavar="N|clean")
    parser.add_argument("--side", type=int, default=384, help="largest side of a crop in px")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", action="store_true", help="count the choices instead")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the sheets")
    args = parser.parse_args()
    if args.count:
        count(args.models, args)
        return 0
    paths = [path for each in args.gt for path in (sorted(each.iterdir()) if each.is_dir() else [each])]
    write_sheets(args.models, paths, args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
