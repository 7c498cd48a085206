"""Small ONNX files of the bundled models: size, loss, speed: python tests/benchmarks/phone.py HR CALIBRATION

HR holds ground-truth images (Set5), CALIBRATION other ones (Set14), from which the ranges of int8 come. LQ is
made by MATLAB's bicubic, for photo models with JPEG of quality 75 after it, for the denoiser with noise of
25, for the model against JPEG artifacts with JPEG of quality 30. Loss is that of PSNR-Y to the float32 file.
Seconds are the best of several runs in onnxruntime on one image, the files in turns.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from machine import processor
from torch import Tensor

import hfsr
from hfsr.degradations import Bicubic, Chain, GaussianNoise, Jpeg, Seeded
from hfsr.evaluation import calibration_samples, evaluate, find_pairs
from hfsr.inference.conversion.onnx_export import export_onnx
from hfsr.inference.conversion.onnx_reduced import export_onnx_reduced, onnx_function

DTYPES = ("fp32", "fp16", "int8")


def degradation(name: str, scale: float) -> Seeded:
    if name.endswith("denoise"):
        return Seeded(GaussianNoise(sigma=25))
    if name.endswith("dejpeg"):
        return Seeded(Jpeg(quality=30))
    bicubic = Bicubic(scale=scale)
    return Seeded(Chain([bicubic, Jpeg(quality=75)]) if name.endswith("photo") else bicubic)


def export(name: str, folder: Path, calibration: str) -> dict[str, Path]:
    model = hfsr.from_pretrained(name)
    samples = calibration_samples(find_pairs(calibration, scale=float(model.scale)), float(model.scale))
    paths = {dtype: folder / f"{name}.{dtype}.onnx" for dtype in DTYPES}
    export_onnx(model, paths["fp32"])
    export_onnx_reduced(model, paths["fp16"], "fp16")
    export_onnx_reduced(model, paths["int8"], "int8", samples)
    return paths


def seconds(runs: dict[str, Callable[[Tensor], Tensor]], side: int, rounds: int) -> dict[str, float]:
    x = torch.rand(1, 3, side, side)
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for dtype, run in runs.items():
            started = time.perf_counter()
            run(x)
            best[dtype] = min(best[dtype], time.perf_counter() - started)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("gt", metavar="HR", help="ground-truth images")
    parser.add_argument("calibration", metavar="CALIBRATION", help="images for the ranges of int8")
    parser.add_argument("--models", nargs="+", default=hfsr.list_models(pretrained=True))
    parser.add_argument("--side", type=int, default=128, help="px of the square image for the speed")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=0, help="of onnxruntime; 0 for all cores")
    args = parser.parse_args()
    print(processor())
    print(f"speed: {args.side}x{args.side} px, best of {args.rounds}")
    print(
        f"{'model':<16} {'dtype':<5} {'bytes':>10} {'PSNR-Y':>7} {'loss dB':>8} {'seconds':>8} {'speed':>6}"
    )
    for name in args.models:
        with TemporaryDirectory() as folder:
            paths = export(name, Path(folder), args.calibration)
            runs = {dtype: onnx_function(path, threads=args.threads) for dtype, path in paths.items()}
            scale = float(hfsr.from_pretrained(name).scale)
            pairs = find_pairs(args.gt, scale=scale)
            scores = {
                dtype: evaluate(run, pairs, scale=scale, degradation=degradation(name, scale)).psnr_y
                for dtype, run in runs.items()
            }
            took = seconds(runs, args.side, args.rounds)
            for dtype in DTYPES:
                loss, gain = scores["fp32"] - scores[dtype], took["fp32"] / took[dtype]
                size = paths[dtype].stat().st_size
                print(
                    f"{name:<16} {dtype:<5} {size:>10,} {scores[dtype]:7.3f} {loss:8.3f} {took[dtype]:8.3f} "
                    f"{gain:5.2f}x",
                    flush=True,
                )


if __name__ == "__main__":
    main()
