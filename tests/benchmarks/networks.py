"""Our networks beside BasicSR's, same weights, in interleaved pairs: python tests/benchmarks/networks.py

Ratios are BasicSR's seconds by ours, so above 1 we are faster: "same" with both networks in PyTorch's default
memory format, "ours" with ours in channels-last, as Upscaler and training run it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hfsr.bridge import import_basicsr
from hfsr.zoo import build

SAME_LIMIT, OURS_LIMIT = 0.97, 1.1
"""Ratios below which a network counts as slow, in the same memory format and in ours."""

CASES = {
    "EDSR baseline x2": ("edsr_arch", "EDSR", {"num_feat": 64, "num_block": 16, "upscale": 2}),
    "RCAN x2, 2 groups of 5": ("rcan_arch", "RCAN", {"num_group": 2, "num_block": 5, "upscale": 2}),
    "RRDBNet x4, 2 blocks": ("rrdbnet_arch", "RRDBNet", {"num_block": 2, "scale": 4}),
    "MSRResNet x4": ("srresnet_arch", "MSRResNet", {"num_feat": 64, "num_block": 16, "upscale": 4}),
}


class Pairs(NamedTuple):
    ours: float
    """Median seconds."""
    theirs: float
    ratio: float
    """Median of the pairs' ratios: what slows the machine for a while slows both of a pair."""


def forward(model: nn.Module, x: Tensor) -> None:
    with torch.no_grad():
        model(x)


def forward_backward(model: nn.Module, x: Tensor) -> None:
    model.zero_grad(set_to_none=True)
    model(x).abs().mean().backward()


def seconds(step: Callable[[nn.Module, Tensor], None], model: nn.Module, x: Tensor) -> float:
    start = time.perf_counter()
    step(model, x)
    if x.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def compare(
    step: Callable[[nn.Module, Tensor], None],
    ours: nn.Module,
    theirs: nn.Module,
    xs: tuple[Tensor, Tensor],
    pairs: int,
) -> Pairs:
    times = []
    for i in range(pairs + 2):
        first = seconds(step, ours, xs[0]) if i % 2 else None  # who begins takes turns
        second = seconds(step, theirs, xs[1])
        times.append((seconds(step, ours, xs[0]) if first is None else first, second))
    kept = times[2:]  # each has begun once before
    return Pairs(
        statistics.median(ours for ours, _ in kept),
        statistics.median(theirs for _, theirs in kept),
        statistics.median(theirs / ours for ours, theirs in kept),
    )


def networks(module: str, name: str, arguments: dict[str, int], device: str) -> tuple[nn.Module, nn.Module]:
    ours = build(name, **arguments).to(device)
    theirs = getattr(getattr(import_basicsr().archs, module), name)(num_in_ch=3, num_out_ch=3, **arguments)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs.to(device)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--side", type=int, default=48, help="side of the square input, in px")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    plain = torch.rand(args.batch, 3, args.side, args.side, device=args.device)
    last = plain.to(memory_format=torch.channels_last)
    slow = False
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, {tuple(plain.shape)} on {args.device}"
    )
    print(f"{'':<24} {'':<17} {'format':<6} {'ours ms':>9} {'theirs ms':>10} {'ratio':>6}")
    for title, case in CASES.items():
        for step in (forward, forward_backward):
            for memory, limit in (("same", SAME_LIMIT), ("ours", OURS_LIMIT)):
                ours, theirs = networks(*case, args.device)
                if memory == "ours":
                    ours.to(memory_format=torch.channels_last)
                xs = (last if memory == "ours" else plain, plain)
                found = compare(step, ours, theirs, xs, args.pairs)
                slow |= found.ratio < limit
                mark = "" if found.ratio >= limit else f"  below {limit}"
                times = f"{1e3 * found.ours:9.1f} {1e3 * found.theirs:10.1f} {found.ratio:6.2f}"
                print(f"{title:<24} {step.__name__:<17} {memory:<6} {times}{mark}", flush=True)
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
