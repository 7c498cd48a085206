"""Speed and memory of upscaling beside Real-ESRGAN's way of tiling: python tests/benchmarks/inference.py

Four tables, each on request (--tables speed arithmetic prediction memory):

- speed: seconds of each peer on one image, interleaved, and ratios to the first. That first one is plain
  torch as `realesrgan.RealESRGANer(tile=256, tile_pad=10, half=False)` runs it, from uint8 to uint8 (written
  again here from its documented behavior, since that package does not install beside a current torch).
- arithmetic: our seconds by those of the network's own multiply-adds at the throughput of its best tile, the
  plain network in channels-last and the same dtype on a tile as fast as any.
- prediction: what `--dry-run` would print beside what happens, in processes of their own.
- memory: peak resident memory of each peer in a process of its own.

Weights are fresh: time does not depend on them.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

import hfsr
from hfsr.inference import Upscaler
from hfsr.inference.conversion.quantization import quantize_model
from hfsr.inference.program.geometry import Size
from hfsr.inference.program.tracing import trace
from hfsr.inference.runtime.memory import peak_memory

Peer = Callable[[NDArray], NDArray]
"""Upscales an RGB uint8 image (H, W, 3)."""

NETWORKS = ("edsr_baseline_x2", "rcan_x4", "rrdbnet_x4", "edsr_x2", "mirnet")
TILES = (64, 96, 128, 192, 256)
"""Sides of the tiles among which the best throughput is looked for, px."""
TABLES = ("speed", "arithmetic", "prediction", "memory")


# --- peers ---


def realesrgan_tiling(model: nn.Module, tile: int = 256, pad: int = 10) -> Peer:
    """Tile by tile the whole network, each tile with `pad` px around it; plain contiguous fp32."""
    scale = int(model.scale)  # type: ignore[arg-type]

    @torch.no_grad()
    def run(image: NDArray) -> NDArray:
        x = torch.from_numpy((image.astype(np.float32) / 255).transpose(2, 0, 1)).unsqueeze(0)
        height, width = image.shape[:2]
        result = x.new_zeros(1, 3, height * scale, width * scale)
        for top in range(0, height, tile):
            for left in range(0, width, tile):
                bottom, right = min(top + tile, height), min(left + tile, width)
                y0, x0 = max(top - pad, 0), max(left - pad, 0)
                part = model(x[:, :, y0 : min(bottom + pad, height), x0 : min(right + pad, width)])
                result[:, :, top * scale : bottom * scale, left * scale : right * scale] = part[
                    :,
                    :,
                    (top - y0) * scale : (bottom - y0) * scale,
                    (left - x0) * scale : (right - x0) * scale,
                ]
        values = result.squeeze(0).float().clamp_(0, 1).numpy()
        return (values.transpose(1, 2, 0) * 255.0).round().astype(np.uint8)

    return run


def ours(model: nn.Module, **words: Any) -> Peer:
    up = Upscaler(model, device="cpu", **words)
    return lambda image: np.asarray(up(image))


def in_8_bit(model: nn.Module) -> Peer:
    """The quantized model; calibrated on noise, as the time does not depend on the ranges."""
    side = 96
    samples = [torch.from_numpy(image_of(Size(side, side)).astype(np.float32).transpose(2, 0, 1)[None] / 255)]
    return ours(quantize_model(model, samples), backend="openvino")


def peers() -> dict[str, Callable[[nn.Module], Peer]]:
    """The rows of the table; the first is what the others are compared with. A backend adds its rows here."""
    return {
        "realesrgan tiling fp32": realesrgan_tiling,
        "hfsr fp32": lambda model: ours(model, dtype="fp32"),
        "hfsr auto": ours,
        "hfsr openvino fp32": lambda model: ours(model, dtype="fp32", backend="openvino"),
        "hfsr openvino auto": lambda model: ours(model, backend="openvino"),
        "hfsr openvino int8": in_8_bit,
    }


# --- measurements ---


def network(preset: str) -> nn.Module:
    torch.manual_seed(0)
    return hfsr.create_model(preset).eval()


def image_of(size: Size) -> NDArray:
    """Slow changes with grain on them. What is in an image changes no network's time, but the encoder's."""
    generator = np.random.default_rng(0)
    slow = np.linspace(40, 200, size.width, dtype=np.float32)[None, :, None]
    grain = generator.standard_normal((*size, 3), dtype=np.float32) * 3
    return (slow + grain).astype(np.uint8)


def seconds(run: Callable[..., Any], *arguments: Any) -> float:
    started = time.perf_counter()
    run(*arguments)
    return time.perf_counter() - started


def interleaved(runs: dict[str, Peer], image: NDArray, rounds: int) -> dict[str, float]:
    """Median seconds of each on one image, after `rounds` rounds in which they take turns."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for index in range(rounds):
        order = list(runs) if index % 2 == 0 else list(reversed(runs))
        for name in order:
            times[name].append(seconds(runs[name], image))
    return {name: statistics.median(found) for name, found in times.items()}


def giga_operations(model: nn.Module, size: Size) -> float:
    """Floating-point operations of the network on an image, each px of each map computed once, / 1e9."""
    program = trace(model)
    sizes = program.sizes(size)
    return (
        sum(
            op.cost(program.channels[node]) * sizes[node].height * sizes[node].width
            for node, op in program.operators.items()
        )
        / 1e9
    )


def throughput(model: nn.Module, dtype: torch.dtype, side: int) -> float:
    """GFLOP/s of the plain network on a tile: the median of three, or of fewer where one takes seconds."""
    plain = copy.deepcopy(model).to(dtype=dtype, memory_format=torch.channels_last)
    x = torch.rand(1, 3, side, side).to(dtype=dtype, memory_format=torch.channels_last)
    times: list[float] = []
    with torch.inference_mode():
        plain(x)
        while len(times) < 3 and sum(times) < 3:
            times.append(seconds(plain, x))
    return giga_operations(model, Size(side, side)) / statistics.median(times)


# --- tables ---


def speed_table(presets: list[str], size: Size, rounds: int) -> None:
    print(f"\nspeed, {size.width}x{size.height} px, median of {rounds}")
    for preset in presets:
        model, image = network(preset), image_of(size)
        work = giga_operations(model, size)
        runs = {}
        small = image[: min(64, size.height), : min(128, size.width)]
        for name, make in peers().items():
            runs[name] = make(model)
            runs[name](small)  # whatever is prepared once
        medians = interleaved(runs, image, rounds)
        first = next(iter(medians.values()))
        for name, took in medians.items():
            print(
                f"{preset:<18} {name:<24} {took:8.2f} s {work / took:7.0f} GFLOP/s {first / took:6.2f} x",
                flush=True,
            )


def arithmetic_table(presets: list[str], size: Size) -> None:
    print(f"\narithmetic, {size.width}x{size.height} px: seconds by those of the best tile's throughput")
    for preset in presets:
        model, image = network(preset), image_of(size)
        work = giga_operations(model, size)
        for word in ("fp32", "auto"):
            up = Upscaler(model, dtype=word, device="cpu")
            rates = {side: throughput(model, up.dtype, side) for side in TILES}
            side = max(rates, key=rates.__getitem__)
            took = seconds(up, image)
            rate = max(rates[side], throughput(model, up.dtype, side))
            print(
                f"{preset:<18} {up.dtype_name:<5} {took:8.2f} s, {work / took:6.0f} of {rate:6.0f} GFLOP/s "
                f"(tile {side}), {took * rate / work:5.2f} x its arithmetic, run as {up.used_tile}",
                flush=True,
            )


def prediction_table(presets: list[str], size: Size) -> None:
    print(f"\nprediction, {size.width}x{size.height} px: what --dry-run prints, what happens, their ratio")
    for preset in presets:
        for word in ("fp32", "auto"):
            r = in_process(preset, f"hfsr {word}", size)
            memory, took = r["peak"] / r["predicted_bytes"], r["seconds"] / r["predicted_seconds"]
            print(
                f"{preset:<18} {word:<5} memory {r['predicted_bytes'] / 2**20:6.0f} {r['peak'] / 2**20:6.0f} "
                f"MiB {memory:5.2f}, time {r['predicted_seconds']:7.1f} {r['seconds']:7.1f} s {took:5.2f}, "
                f"run as {r['tile']}",
                flush=True,
            )


def memory_table(presets: list[str], size: Size) -> None:
    print(f"\npeak resident memory, {size.width}x{size.height} px, each in a process of its own")
    for preset in presets:
        for name in peers():
            r = in_process(preset, name, size)
            print(f"{preset:<18} {name:<24} {r['peak'] / 2**20:6.0f} MiB {r['seconds']:8.2f} s", flush=True)


def in_process(preset: str, peer: str, size: Size) -> dict[str, Any]:
    """One run, file to file where it is ours, in a new process; what it says of itself."""
    command = [sys.executable, __file__, "--size", f"{size.width}x{size.height}", "--one", preset, peer]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def run_one(preset: str, peer: str, size: Size) -> None:
    """Runs one peer once and prints a line of JSON."""
    model, image = network(preset), image_of(size)
    report: dict[str, Any] = {}
    words = {"hfsr fp32": {"dtype": "fp32"}, "hfsr auto": {}}
    if peer in words:
        up = Upscaler(model, device="cpu", **words[peer])
        with TemporaryDirectory() as folder:
            source = Path(folder, "in.png")
            Image.fromarray(image).save(source, compress_level=1)
            del image
            forecast = up.forecast(size.width, size.height)
            report["predicted_bytes"] = forecast.peak_bytes
            report["predicted_seconds"] = forecast.seconds
            report["seconds"] = seconds(up.file, source, Path(folder, "out.png"))
        report["tile"] = up.used_tile
    else:
        run = peers()[peer](model)
        report["seconds"] = seconds(run, image)
    report["peak"] = peak_memory(torch.device("cpu"))
    print(json.dumps(report))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="+", default=["edsr_baseline_x2"], help=", ".join(NETWORKS))
    parser.add_argument("--tables", nargs="+", default=["speed"], choices=TABLES)
    parser.add_argument("--size", default="2048x1080", help="width x height of the image, px")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=2, metavar=("NETWORK", "PEER"), help="run this once, print JSON")
    args = parser.parse_args()
    width, height = (int(side) for side in args.size.split("x"))
    size = Size(height, width)
    if args.one:
        run_one(*args.one, size)
        return 0
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    if "speed" in args.tables:
        speed_table(args.networks, size, args.rounds)
    if "arithmetic" in args.tables:
        arithmetic_table(args.networks, size)
    if "prediction" in args.tables:
        prediction_table(args.networks, size)
    if "memory" in args.tables:
        memory_table(args.networks, size)
    return 0


if __name__ == "__main__":
    sys.exit(main())
