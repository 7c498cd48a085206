"""Speed beside an older commit: python tests/benchmarks/commits.py CHECKOUT

CHECKOUT is a folder with the files of the other commit (`git worktree add CHECKOUT COMMIT`). Both versions
take turns, each run in a process of its own with the same Python. The table holds the medians and the ratio
of the rates, new to old; a ratio of 1 is the same speed.

- enlarging: an array of random pixels, without the start of the process and after one small image.
- training: iterations per second on images that are made up, after the first few.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import yaml
from machine import processor
from PIL import Image

HERE = Path(__file__).resolve().parents[2]
ENLARGE = """
import sys, time, numpy as np, hfsr
name, dtype, width, height = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
up = hfsr.Upscaler(hfsr.create_model(name), dtype=dtype)
image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
up(image[:64, :64])
started = time.perf_counter()
up(image)
print(time.perf_counter() - started)
"""
TRAIN = "import sys; from hfsr.cli.basicsr import main; sys.exit(main())"
CASES = {
    "edsr_baseline_x2 fp32, 1024x540 px": ("edsr_baseline_x2", "fp32", "1024", "540"),
    "edsr_baseline_x2 auto, 2048x1080 px": ("edsr_baseline_x2", "auto", "2048", "1080"),
    "a2n_x2 auto, 1024x540 px": ("a2n_x2", "auto", "1024", "540"),
}
WARM_UP = 4
"""Iterations that are not counted."""


def run(checkout: Path, code: str, *words: str, cwd: Path | None = None) -> str:
    """Runs Python code on the package of a checkout; returns what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(
        command, cwd=cwd or checkout, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


def training_rate(checkout: Path, iterations: int) -> float:
    """Iterations per second of A2N x2 in a folder of its own."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "images").mkdir()
        rng = np.random.default_rng(0)
        for number in range(4):
            coarse = Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8))
            coarse.resize((960, 640), Image.Resampling.BICUBIC).save(folder / "images" / f"{number}.png")
        (folder / "run.yml").write_text(yaml.safe_dump(options(folder / "images", iterations)))
        run(checkout, TRAIN, "train", "-opt", "run.yml", cwd=folder)
        with (folder / "experiments" / "run" / "training_curve.csv").open(newline="") as stream:
            rates = [float(row["it_per_s"]) for row in csv.DictReader(stream) if row["it_per_s"]]
    return statistics.median(rates[WARM_UP:])


def options(images: Path, iterations: int) -> dict[str, object]:
    """A2N x2 on patches of 96 px, in fp32."""
    return {
        "name": "run",
        "model_type": "SRModel",
        "scale": 2,
        "num_gpu": 0,
        "manual_seed": 0,
        "datasets": {
            "train": {
                "name": "images",
                "type": "PairedImageDataset",
                "dataroot_gt": str(images),
                "gt_size": 96,
                "batch_size_per_gpu": 8,
                "dataset_enlarge_ratio": 1000,
            }
        },
        "network_g": {"type": "A2N", "num_feat": 40, "num_block": 16, "num_feat_up": 24, "upscale": 2},
        "train": {
            "optim_g": {"type": "Adam", "lr": 2e-4},
            "scheduler": {"type": "MultiStepLR", "milestones": [100000], "gamma": 0.5},
            "total_iter": iterations,
            "pixel_opt": {"type": "L1Loss"},
        },
        "logger": {"print_freq": 1, "save_checkpoint_freq": 100000, "use_tb_logger": False},
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", type=Path, metavar="CHECKOUT")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--iterations", type=int, default=14)
    args = parser.parse_args()
    checkouts = {"new": HERE, "old": args.old.resolve()}
    print(processor())
    print(f"{'':<40}{'new':>10}{'old':>10}   new/old, median of {args.rounds} pairs", flush=True)
    for case, words in CASES.items():
        found: dict[str, list[float]] = {"new": [], "old": []}
        for _ in range(args.rounds):
            for side, checkout in checkouts.items():
                found[side].append(1 / float(run(checkout, ENLARGE, *words)))
        show(case, found, unit="images/s")
    found = {"new": [], "old": []}
    for _ in range(args.rounds):
        for side, checkout in checkouts.items():
            found[side].append(training_rate(checkout, args.iterations))
    show("training a2n_x2 fp32, batch 8, 96 px", found, unit="it/s")
    return 0


def show(case: str, rates: dict[str, list[float]], *, unit: str) -> None:
    """Prints the median rate of each side, and the median of the ratios of the pairs."""
    new, old = (statistics.median(rates[side]) for side in ("new", "old"))
    ratio = statistics.median(a / b for a, b in zip(rates["new"], rates["old"], strict=True))
    print(f"{case:<40}{new:10.3f}{old:10.3f}   {ratio:.3f} ({unit})", flush=True)


if __name__ == "__main__":
    sys.exit(main())
