"""Networks for the bundled models, at equal time: python tests/benchmarks/architectures.py PHOTOS SETS

PHOTOS is a folder of photographs to train with, SETS are folders of ground-truth images. Each network trains
from nothing for the same seconds, by the recipe of `options/hfsr_x2.yml`; their sizes are chosen so that
they take about the same time for an image, which the table states. Training is scheduled for the iterations
that fit into the time, which `check_training` measures.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from machine import processor
from torch import nn

from hfsr import training
from hfsr.evaluation import evaluate, find_pairs
from hfsr.training.dry_run import check_training
from hfsr.training.setup import build_network

SCALE = 2
CANDIDATES: dict[str, dict[str, Any]] = {
    "EDSR 16x48": {"type": "EDSR", "num_feat": 48, "num_block": 16},
    "SPAN-like 9x48": {"type": "SpanLike", "num_feat": 48, "num_block": 9},
    "plain reparameterized 32x48": {"type": "PlainReparameterized", "num_feat": 48, "num_conv": 32},
    "A2N 10x32": {"type": "A2N", "num_feat": 32, "num_block": 10, "num_feat_up": 24},
}
SIDE, ROUNDS = 256, 5


def options(network: dict[str, Any], photos: Path, more: list[str]) -> Any:
    return training.load_options(
        "options/hfsr_x2.yml",
        [
            f"network_g={ {**network, 'upscale': SCALE} }",
            f"datasets:train:dataroot_gt={photos}",
            *("path:pretrain_network_g=~", "datasets:val=~", "val=~", "logger:use_tb_logger=false"),
            *("train:optim_g:lr=1e-3", "logger:save_checkpoint_freq=1000000"),
            *more,
        ],
        modules=["candidate_networks"],
    )


def milliseconds_per_megapixel(model: nn.Module, dtype: torch.dtype) -> float:
    """Time for an LR image, per megapixel of it; the fastest of several runs."""
    plain = model.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.rand(1, 3, SIDE, SIDE).to(dtype=dtype, memory_format=torch.channels_last)
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.perf_counter()
        plain(x)
        best = min(best, time.perf_counter() - started)
    model.float()
    return best * 1e9 / SIDE**2


def train(network: dict[str, Any], photos: Path, seconds: float, root: Path) -> tuple[nn.Module, int]:
    """Trains for so many seconds; returns the averaged weights and the iterations."""
    report = check_training(options(network, photos, ["name=candidate"]))
    count = int(seconds / report.seconds_per_iteration)
    length = [f"train:total_iter={count}", f"train:scheduler:T_max={count}", "name=candidate"]
    folder = training.train(options(network, photos, length), root=root)
    weights = torch.load(folder / "models" / "net_g_latest.pth", weights_only=True)
    model = build_network(options(network, photos, length))
    model.load_state_dict(weights["params_ema"])
    return model.eval(), count


@torch.inference_mode()
def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path)
    parser.add_argument("sets", nargs="+", help="folders of ground-truth images")
    parser.add_argument("--seconds", type=float, default=480, help="of training for each network")
    args = parser.parse_args()
    print(processor())
    print(f"x{SCALE}, each trained for {args.seconds:.0f} s from nothing; time per LR megapixel; PSNR-Y, dB")
    for name, network in CANDIDATES.items():
        with tempfile.TemporaryDirectory() as folder, torch.inference_mode(mode=False):
            model, count = train(network, args.photos, args.seconds, Path(folder))
        times = [milliseconds_per_megapixel(model, dtype) for dtype in (torch.float32, torch.bfloat16)]
        scores = []
        for data in args.sets:
            scores.append(evaluate(model, find_pairs(data, scale=SCALE), scale=SCALE).psnr_y)
        parameters = sum(p.numel() for p in model.parameters())
        print(
            f"{name:<28} {parameters:>9,} parameters, {count:>6} iterations, fp32 {times[0]:6.0f} ms, "
            f"bf16 {times[1]:6.0f} ms, " + " ".join(f"{score:.3f}" for score in scores),
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
