"""Everything that is measured on a GPU, in one run of less than 10 minutes and one results file.

    python tests/benchmarks/gpu.py --out tests/benchmarks/results/gpu.json

1. `pytest -m gpu`.
2. Training: iterations per second of RCAN x4 and A2N x2 beside BasicSR's own loop (fp32; ours also in bf16),
   with the peak memory of ours. The goals are 1.3 times BasicSR in fp32 and twice in bf16.
3. Inference: EDSR and A2N x2 and RCAN x4 on an image of 2048x1080, beside independent tiles of 256 px with
   10 px of padding, in fp32 and bf16: seconds and peak memory.

Weights are fresh and images are drawn; time depends on neither. `--device cpu --tiny` runs all of it with
tiny networks and images, which shows that it works; these numbers mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

import hfsr
from hfsr.inference import Upscaler
from hfsr.inference.runtime.memory import peak_memory
from hfsr.samples.draw import draw
from hfsr.training import check_training, load_options

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TRAINED = {"rcan_x4": ("rcan_tiny", 16, 192), "a2n_x2": ("a2n_tiny", 16, 96)}
"""Preset -> the tiny one, patches per iteration, side of a GT patch in px."""
UPSCALED = {"edsr_baseline_x2": "edsr_tiny", "a2n_x2": "a2n_tiny", "rcan_x4": "rcan_tiny"}
GOALS = {"hfsr, channels last": 1.3, "hfsr, channels last, bf16": 2.0}
TILE, PAD = 256, 10


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--out", type=Path, help="the results as JSON")
    args = parser.parse_args()
    device = torch.device(args.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        sys.exit("there is no CUDA device here; --device cpu --tiny tries the program")
    begin = time.perf_counter()
    results: dict[str, Any] = {
        "command": f"python tests/benchmarks/gpu.py --device {args.device}{' --tiny' if args.tiny else ''}",
        "machine": f"{torch.cuda.get_device_name(device) if device.type == 'cuda' else platform.machine()}, "
        f"{os.cpu_count()} cores, torch {torch.__version__}",
        "tests": gpu_tests(tiny=args.tiny),
        "training": training_table(device, tiny=args.tiny),
        "inference": inference_table(device, tiny=args.tiny),
    }
    results["seconds"] = round(time.perf_counter() - begin)
    print(f"{results['seconds']} s in all")
    if args.out:
        args.out.write_text(json.dumps(results, indent=1) + "\n")
    return 0 if results["tests"]["exit_code"] in (0, 5) else 1


def gpu_tests(*, tiny: bool) -> dict[str, Any]:
    """Runs the tests that need a GPU; returns the exit code and pytest's last line."""
    where = ["tests/inference/test_gpu.py"] if tiny else []
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-n0", "-q", *where]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    last = (done.stdout.strip().splitlines() or ["no output"])[-1]
    print(f"pytest -m gpu: {last}", flush=True)
    return {"exit_code": done.returncode, "summary": last}


def training_table(device: torch.device, *, tiny: bool) -> dict[str, Any]:
    """Iterations per second and their ratio to BasicSR's loop, by preset and loop; peak memory of ours."""
    found = {}
    with TemporaryDirectory() as temporary:
        images = Path(temporary) / "images"
        write_images(images, side=64 if tiny else 480, count=2 if tiny else 8)
        for preset, (small, batch, gt_size) in TRAINED.items():
            out = Path(temporary) / f"{preset}.json"
            chosen, batch, gt_size = (small, 2, 32) if tiny else (preset, batch, gt_size)
            command = [sys.executable, str(HERE / "training.py"), str(images), "--preset", chosen]
            command += ["--batch", str(batch), "--gt_size", str(gt_size), "--out", str(out)]
            command += ["--iterations", "8" if tiny else "60", *(["--gpu"] if device.type == "cuda" else [])]
            command += ["--loops", "basicsr", *GOALS]
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(f"{chosen}: {done.stderr[-2000:]}")
            loops = json.loads(out.read_text())["loops"]
            memory = peak_of_training(chosen, images, batch, gt_size, cpu=device.type == "cpu")
            found[chosen] = {"batch": batch, "gt_size": gt_size, "loops": loops, "peak_bytes_hfsr": memory}
            for loop, numbers in loops.items():
                goal = f", goal {GOALS[loop]}" if loop in GOALS else ""
                print(
                    f"{chosen:<18} {loop:<28} {numbers['it_per_s']:8.2f} it/s "
                    f"{numbers['times_basicsr']:6.2f} x{goal}"
                )
            print(f"{chosen:<18} peak memory of ours in bf16: {memory / 2**20:,.0f} MiB", flush=True)
    return found


def peak_of_training(preset: str, images: Path, batch: int, gt_size: int, *, cpu: bool) -> int:
    """Peak bytes of our training in bf16, as `hfsr train --check` measures them."""
    spec = hfsr.model_zoo.presets()[preset]
    content = {
        "name": preset,
        "scale": int(hfsr.create_model(preset).scale),
        "num_gpu": 0 if cpu else 1,
        "use_amp": True,
        "use_channels_last": True,
        "datasets": {
            "train": {
                "type": "PairedImageDataset",
                "dataroot_gt": str(images),
                "gt_size": gt_size,
                "batch_size_per_gpu": batch,
            }
        },
        "network_g": {"type": spec.name, **spec.presets[preset]},
        "train": {
            "optim_g": {"type": "Adam", "lr": 1e-4},
            "total_iter": 1,
            "pixel_opt": {"type": "L1Loss"},
        },
        "logger": {"use_tb_logger": False},
    }
    file = images.parent / f"{preset}.yml"
    file.write_text(json.dumps(content))
    if not cpu:
        torch.cuda.reset_peak_memory_stats()
    return check_training(load_options(file)).peak_memory_bytes


def write_images(folder: Path, *, side: int, count: int) -> None:
    """Writes square crops of the sample image."""
    folder.mkdir()
    scene = draw()
    for number in range(count):
        left = number * (scene.width - side) // max(1, count - 1)
        scene.crop((left, scene.height - side, left + side, scene.height)).save(folder / f"{number}.png")


def inference_table(device: torch.device, *, tiny: bool) -> dict[str, Any]:
    """Median seconds of 3 runs and peak memory on one image, by preset and way."""
    height, width = (120, 160) if tiny else (1080, 2048)
    half = torch.bfloat16
    found: dict[str, Any] = {}
    for preset, small in UPSCALED.items():
        chosen = small if tiny else preset
        torch.manual_seed(0)
        model = hfsr.create_model(chosen).eval().to(device)
        image = torch.rand(1, 3, height, width, device=device)
        ways: dict[str, Callable[[Tensor], Tensor]] = {
            "independent tiles, fp32": lambda x, model=model: independent_tiles(model, x),
            "independent tiles, bf16": lambda x, model=model: independent_tiles(model, x, dtype=half),
            "hfsr, fp32": Upscaler(model, dtype="fp32", device=device).tensor,
            "hfsr, bf16": Upscaler(model, dtype="bf16", device=device).tensor,
        }
        found[chosen] = {"image": f"{width}x{height}"}
        for way, run in ways.items():
            numbers = found[chosen][way] = timed(run, image, device)
            print(
                f"{chosen:<18} {way:<28} {numbers['seconds']:8.3f} s "
                f"{numbers['peak_bytes'] / 2**20:8,.0f} MiB",
                flush=True,
            )
    return found


def timed(run: Callable[[Tensor], Tensor], image: Tensor, device: torch.device) -> dict[str, float]:
    """Median seconds of 3 runs after an uncounted one, and peak bytes (on a CPU of the whole process)."""

    def once() -> float:
        begin = time.perf_counter()
        run(image)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - begin

    once()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    median = statistics.median(once() for _ in range(3))
    return {"seconds": round(median, 4), "peak_bytes": peak_memory(device)}


@torch.inference_mode()
def independent_tiles(model: nn.Module, image: Tensor, *, dtype: torch.dtype | None = None) -> Tensor:
    """Tile by tile the whole network, each tile with `PAD` px around it, as other tools do."""
    scale, (height, width) = int(model.scale), image.shape[-2:]  # type: ignore[arg-type]
    result = image.new_zeros(1, 3, height * scale, width * scale)
    with torch.autocast(image.device.type, dtype=dtype, enabled=dtype is not None):
        for top in range(0, height, TILE):
            for left in range(0, width, TILE):
                y, x = max(top - PAD, 0), max(left - PAD, 0)
                bottom, right = min(top + TILE, height), min(left + TILE, width)
                part = model(image[..., y : min(bottom + PAD, height), x : min(right + PAD, width)])
                result[..., top * scale : bottom * scale, left * scale : right * scale] = part[
                    ..., (top - y) * scale : (bottom - y) * scale, (left - x) * scale : (right - x) * scale
                ]
    return result


if __name__ == "__main__":
    sys.exit(main())
