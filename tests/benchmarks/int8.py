"""Bundled models in 8-bit integers beside ncnn's fp32: python tests/benchmarks/int8.py HR

HR holds ground-truth images (Set5, Set14). LQ is made by MATLAB's bicubic, for photo models with JPEG of
quality 75 after it, for the others as their task says. Loss is that of PSNR-Y from fp32 to NAME-int8, both by
hfsr. Seconds are the median of several rounds on one image, the programs in turns: hfsr in fp32, NAME-int8
by OpenVINO, and ncnn in fp32 with Winograd convolutions. ncnn chooses its kernels by the CPU itself and does
not heed ONEDNN_MAX_CPU_ISA: with that variable the ratio is a lower bound.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from inference import image_of, interleaved, ours
from machine import matrix_rate, processor
from peers import by_ncnn
from phone import degradation

import hfsr
from hfsr.evaluation import evaluate, find_pairs
from hfsr.inference import Upscaler
from hfsr.inference.program.geometry import Size


def scores(name: str, folder: str) -> list[float]:
    """PSNR-Y in fp32 and in int8."""
    found = []
    for model, backend in ((name, "torch"), (f"{name}-int8", "openvino")):
        up = Upscaler(hfsr.from_pretrained(model), dtype="fp32", backend=backend, device="cpu")
        pairs = find_pairs(folder, scale=float(up.scale))
        report = evaluate(up.tensor, pairs, scale=up.scale, degradation=degradation(name, up.scale))
        found.append(report.psnr_y)
    return found


def seconds(name: str, size: Size, rounds: int) -> dict[str, float]:
    with TemporaryDirectory() as folder:
        model = hfsr.from_pretrained(name)
        runs = {
            "fp32": ours(model, dtype="fp32"),
            "int8": ours(hfsr.from_pretrained(f"{name}-int8"), dtype="fp32", backend="openvino"),
            "ncnn": by_ncnn(model, Path(folder)),
        }
        image = image_of(size)
        for run in runs.values():
            run(image)  # also prepares what is prepared once
        return interleaved(runs, image, rounds)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("gt", metavar="HR", nargs="+", help="folders of ground-truth images")
    parser.add_argument("--models", nargs="+", default=hfsr.list_models(pretrained=True))
    parser.add_argument("--size", default="1024x540", help="width x height of the image for the speed")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    print(f"{processor()}; matrix product {matrix_rate():.0f} GFLOP/s")
    print(f"speed: {width}x{height} px, median of {args.rounds}; ratio: seconds of ncnn to those of int8")
    print(
        f"{'model':<14} {'set':<6} {'fp32 dB':>8} {'loss':>6} {'fp32 s':>7} {'int8 s':>7} {'ncnn s':>7} ratio"
    )
    for name in args.models:
        took = seconds(name, Size(height, width), args.rounds)
        times = (
            f"{took['fp32']:7.2f} {took['int8']:7.2f} {took['ncnn']:7.2f} {took['ncnn'] / took['int8']:4.2f}"
        )
        for folder in args.gt:
            before, after = scores(name, folder)
            print(
                f"{name:<14} {Path(folder).parent.name:<6} {before:8.3f} {before - after:6.3f} {times}",
                flush=True,
            )
            times = ""
    print(f"matrix product {matrix_rate():.0f} GFLOP/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
