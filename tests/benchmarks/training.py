"""Iterations per second beside BasicSR's own loop: same network, images, batch, machine and precision.

    python tests/benchmarks/training.py IMAGES --out tests/benchmarks/results/training.json

IMAGES is a folder of large images. They are written as PNG once, with their MATLAB bicubic reductions,
and both programs train from these folders; BasicSR's is its unmodified `train_pipeline`. What counts is the
time of an iteration after the first few, as each program's own log has it.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import yaml
from PIL import Image

from hfsr import model_zoo
from hfsr.data import read_rgb
from hfsr.degradations import bicubic_down, modcrop
from hfsr.registry import ARCHS

BASICSR = """
import sys
import hfsr.bridge
hfsr.bridge.install()
from basicsr.train import train_pipeline
train_pipeline(sys.argv.pop(1))
"""
HFSR = "import sys; from hfsr.cli.basicsr import main; sys.exit(main())"
WARM_UP = 4
"""Iterations that are not counted."""
LOOPS = {
    "basicsr": {},
    "hfsr": {},
    "hfsr, channels last": {"use_channels_last": True},
    "hfsr, channels last, bf16": {"use_channels_last": True, "use_amp": True, "amp_bf16": True},
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", type=Path)
    parser.add_argument("--preset", default="a2n_x2")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--gt_size", type=int, default=96)
    parser.add_argument("--iterations", type=int, default=24)
    parser.add_argument("--workers", type=int, default=2, help="processes that read for BasicSR")
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--loops", nargs="+", choices=LOOPS, default=list(LOOPS))
    parser.add_argument("--out", type=Path, help="the result as JSON")
    args = parser.parse_args()
    measured = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        sizes = write_pairs(args.images, folder, scale=model_zoo.create_model(args.preset).scale)
        for loop in args.loops:
            measured[loop] = run(loop, args, folder)
            shown = measured[loop]
            print(f"{loop:<28} {shown['it_per_s']:7.3f} it/s   data {shown['data_share']:6.1%}", flush=True)
    base = measured.get("basicsr")
    for loop, numbers in measured.items():
        if base:
            numbers["times_basicsr"] = round(numbers["it_per_s"] / base["it_per_s"], 2)
            print(f"{loop:<28} {numbers['times_basicsr']:.2f} x")
    if args.out:
        args.out.write_text(json.dumps(result(args, sizes, measured), indent=1) + "\n")
    return 0


def write_pairs(images: Path, folder: Path, *, scale: int) -> list[str]:
    """Writes `gt` and `lq`; returns the sizes of the GT images."""
    sizes = []
    for kind in ("gt", "lq"):
        (folder / kind).mkdir()
    for path in sorted(p for p in images.iterdir() if p.suffix.lower() in {".png", ".jpg", ".webp"}):
        gt = modcrop(read_rgb(path), scale)
        for kind, pixels in (("gt", gt), ("lq", bicubic_down(gt, scale))):
            Image.fromarray(pixels).save(folder / kind / f"{path.stem}.png")
        sizes.append(f"{gt.shape[1]}x{gt.shape[0]}")
    return sizes


def run(loop: str, args: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Trains in a process of its own and reads its log."""
    name = re.sub(r"\W+", "_", loop)
    option_file = folder / f"{name}.yml"
    option_file.write_text(yaml.safe_dump(options(name, loop, args, folder)))
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    code = [BASICSR, str(folder)] if loop == "basicsr" else [HFSR, "train"]
    command = [sys.executable, "-c", *code, "-opt", str(option_file)]
    begin = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    lines = (done.stdout + done.stderr).splitlines()
    if loop == "basicsr":
        seconds, data = timings_of_basicsr(lines)
    else:
        seconds, data = timings_of_hfsr(lines, folder / "experiments" / name / "training_curve.csv")
    return {
        "it_per_s": round(1 / statistics.median(seconds), 4),
        "data_share": round(sum(data) / sum(seconds), 4),
        "seconds_in_all": round(time.perf_counter() - begin, 1),
    }


def options(name: str, loop: str, args: argparse.Namespace, folder: Path) -> dict[str, object]:
    spec = model_zoo.presets()[args.preset]
    scale = model_zoo.create_model(args.preset).scale
    theirs = loop == "basicsr"
    kind = {"EDSR": "EDSR_hfsr", "RCAN": "RCAN_hfsr"}.get(spec.name, spec.name)
    train = {
        "name": "images",
        "type": "PairedImageDataset",
        "dataroot_gt": str(folder / "gt"),
        "dataroot_lq": str(folder / "lq"),
        "io_backend": {"type": "disk"},
        "gt_size": args.gt_size,
        "use_hflip": True,
        "use_rot": True,
        "batch_size_per_gpu": args.batch,
        "dataset_enlarge_ratio": 1000,
        **({"num_worker_per_gpu": args.workers, "prefetch_mode": None} if theirs else {}),
    }
    return {
        "name": name,
        "model_type": "SRModel",
        "scale": scale,
        "num_gpu": 1 if args.gpu else 0,
        "manual_seed": 0,
        **LOOPS[loop],
        "datasets": {"train": train},
        "network_g": {"type": kind, **ARCHS[spec.name].presets[args.preset]},
        "path": {"pretrain_network_g": None, "strict_load_g": True, "resume_state": None},
        "train": {
            "ema_decay": 0.999,
            "optim_g": {"type": "Adam", "lr": 2e-4},
            "scheduler": {"type": "MultiStepLR", "milestones": [100000], "gamma": 0.5},
            "total_iter": args.iterations,
            "warmup_iter": -1,
            "pixel_opt": {"type": "L1Loss", "loss_weight": 1.0, "reduction": "mean"},
        },
        "logger": {"print_freq": 1, "save_checkpoint_freq": 100000, "use_tb_logger": False},
        **({"dist_params": {"backend": "gloo", "port": 29500}} if theirs else {}),
    }


def timings_of_basicsr(lines: list[str]) -> tuple[list[float], list[float]]:
    """Seconds of each iteration and of those on data, from `time (data): 1.234 (0.012)`."""
    found = [re.search(r"time \(data\): ([\d.]+) \(([\d.]+)\)", line) for line in lines]
    pairs = [(float(match[1]), float(match[2])) for match in found if match][WARM_UP:]
    return [seconds for seconds, _ in pairs], [data for _, data in pairs]


def timings_of_hfsr(lines: list[str], curve: Path) -> tuple[list[float], list[float]]:
    """The same, from `it_per_s` of the curve and the shares `data 1.5%` of the log."""
    with curve.open(newline="") as stream:
        speeds = [float(row["it_per_s"]) for row in csv.DictReader(stream) if row["it_per_s"]]
    shares = [float(found[1]) / 100 for line in lines if (found := re.search(r", data ([\d.]+)%,", line))]
    seconds = [1 / speed for speed in speeds][WARM_UP:]
    return seconds, [each * share for each, share in zip(seconds, shares[WARM_UP:], strict=True)]


def result(args: argparse.Namespace, sizes: list[str], measured: dict[str, dict[str, float]]) -> dict:
    return {
        "command": f"python tests/benchmarks/training.py IMAGES --preset {args.preset} "
        f"--batch {args.batch} --gt_size {args.gt_size} --iterations {args.iterations} "
        f"--workers {args.workers}",
        "images": sizes,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, "
        f"{torch.cuda.get_device_name() if args.gpu else 'CPU'}",
        "loops": measured,
    }


if __name__ == "__main__":
    sys.exit(main())
