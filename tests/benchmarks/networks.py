"""Our networks beside other implementations, same weights, in interleaved pairs.

    python tests/benchmarks/networks.py [--only TEXT ...] [--pairs 9]

Ratios are the other's seconds by ours, so above 1 we are faster: "same" with both networks in PyTorch's
default memory format, "ours" with ours in channels-last, as Upscaler and training run it. The others are
BasicSR's and spandrel's classes, and where no package has a network, the plain form of its paper's formula.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hfsr._compat import import_torchvision
from hfsr.archs._attention import patch_attention
from hfsr.archs.a2n import AttentionInAttentionBlock
from hfsr.archs.mirnet import SKFF
from hfsr.bridge import import_basicsr
from hfsr.model_zoo import build

SAME_LIMIT, OURS_LIMIT = 0.97, 1.1
"""Ratios below which a network counts as slow, in the same memory format and in ours."""

Pair = tuple[nn.Module, nn.Module]


# Other implementations


def of_basicsr(module: str, name: str, **arguments: Any) -> Callable[[], Pair]:
    """Ours and BasicSR's, with the same weights."""

    def make() -> Pair:
        ours = build(name, **arguments)
        theirs = getattr(getattr(import_basicsr().archs, module), name)(
            num_in_ch=3, num_out_ch=3, **arguments
        )
        theirs.load_state_dict(ours.state_dict())
        return ours, theirs

    return make


def of_spandrel(
    ours: str, arguments: dict[str, Any], family: str, words: dict[str, Any]
) -> Callable[[], Pair]:
    """Ours and spandrel's, each with weights of its own."""

    def make() -> Pair:
        import_torchvision()
        module = importlib.import_module(f"spandrel.architectures.{family}")
        return build(ours, **arguments), getattr(module, family)(**words)

    return make


# Plain formulations


class PlainBlock(nn.Module):
    """A2N's block as its paper writes it: both branches, each times its weight."""

    def __init__(self, block: AttentionInAttentionBlock) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        block, entry = self.block, F.leaky_relu(self.block.conv_first(x), 0.2)
        branches = torch.stack([block.attention(entry), block.non_attention(entry)], 1)
        weights = (block.ADM(entry.mean((2, 3))) / 30).softmax(1)
        mixed = (branches * weights[:, :, None, None, None]).sum(1)
        return block.conv_last(F.leaky_relu(mixed, 0.2)) + x


class Fusion(nn.Module):
    """MIRNet's fusion of three streams, which come one after another along the batch."""

    def __init__(self, skff: SKFF) -> None:
        super().__init__()
        self.skff = skff

    def forward(self, x: Tensor) -> Tensor:
        return self.skff(x.chunk(3))


class PlainFusion(Fusion):
    """The same with the streams in one tensor, as the paper draws it."""

    def forward(self, x: Tensor) -> Tensor:
        streams = torch.stack(x.chunk(3), 1)  # (B, 3, C, H, W)
        squeezed = self.skff.conv_du(streams.sum(1).mean((2, 3), keepdim=True))
        weights = torch.stack([fc(squeezed) for fc in self.skff.fcs], 1).softmax(1)
        return (streams * weights).sum(1)


class Attention(nn.Module):
    """Pyramid attention's matching of patches at one size."""

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(num_feat, num_feat, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return patch_attention(x, [(x, x)], sharpness=10.0)


class PlainAttention(Attention):
    """The same by convolutions with the patches as filters: every score of the image at once."""

    def forward(self, x: Tensor) -> Tensor:
        results = []
        for one in self.conv(x):
            patches = F.unfold(one[None], 3, padding=1)[0].T.unflatten(1, (len(one), 3, 3))
            lengths = patches.flatten(1).norm(dim=1).clamp(min=1e-4)
            scores = F.conv2d(one[None], patches / lengths[:, None, None, None], padding=1)
            weights = (10 * scores).softmax(1)
            results.append(F.conv_transpose2d(weights, patches, padding=1))
        return torch.cat(results)


def plain(ours: Callable[[], nn.Module], theirs: Callable[[nn.Module], nn.Module]) -> Callable[[], Pair]:
    """Ours, and another forward pass over the same layers."""

    def make() -> Pair:
        module = ours()
        return module, theirs(module)

    return make


_RCAN = {"num_group": 2, "num_block": 5, "upscale": 2}
CASES: dict[str, tuple[Callable[[], Pair], int]] = {
    "EDSR baseline x2": (of_basicsr("edsr_arch", "EDSR", num_feat=64, num_block=16, upscale=2), 3),
    "RCAN x2, 2 groups of 5": (of_basicsr("rcan_arch", "RCAN", **_RCAN), 3),
    "RRDBNet x4, 2 blocks": (of_basicsr("rrdbnet_arch", "RRDBNet", num_block=2, scale=4), 3),
    "MSRResNet x4": (of_basicsr("srresnet_arch", "MSRResNet", num_feat=64, num_block=16, upscale=4), 3),
    "RCAN, spandrel's": (
        of_spandrel("RCAN", _RCAN, "RCAN", {"n_resgroups": 2, "n_resblocks": 5, "scale": 2}),
        3,
    ),
    "RRDBNet, spandrel's ESRGAN": (
        of_spandrel("RRDBNet", {"num_block": 2, "scale": 4}, "ESRGAN", {"num_blocks": 2}),
        3,
    ),
    "A2N's block, plain": (plain(lambda: AttentionInAttentionBlock(40, 3), PlainBlock), 40),
    "MIRNet's fusion, plain": (
        plain(lambda: Fusion(SKFF(64)), lambda ours: PlainFusion(ours.get_submodule("skff"))),
        64,
    ),
    "patch attention, plain": (
        plain(lambda: Attention(64), lambda ours: _sharing(PlainAttention(64), ours)),
        64,
    ),
}
"""What makes a pair, and how many channels it takes."""


def _sharing(module: nn.Module, other: nn.Module) -> nn.Module:
    module.load_state_dict(other.state_dict())
    return module


# Time


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


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", default=[""], help="pairs whose title has one of these in it")
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--side", type=int, default=48, help="side of the square input, in px")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    slow = False
    shape = f"batch {args.batch} of {args.side}x{args.side} px"
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {shape} on {args.device}")
    print(f"{'':<27} {'':<17} {'format':<6} {'ours ms':>9} {'theirs ms':>10} {'ratio':>6}")
    for title, (make, channels) in CASES.items():
        if not any(part in title for part in args.only):
            continue
        batch = 3 * args.batch if "fusion" in title else args.batch
        x = torch.rand(batch, channels, args.side, args.side, device=args.device)
        for step in (forward, forward_backward):
            for memory, limit in (("same", SAME_LIMIT), ("ours", OURS_LIMIT)):
                ours, theirs = (module.to(args.device) for module in make())
                if memory == "ours":
                    ours = copy.deepcopy(ours).to(memory_format=torch.channels_last)
                first = x.to(memory_format=torch.channels_last) if memory == "ours" else x
                found = compare(step, ours, theirs, (first, x), args.pairs)
                slow |= found.ratio < limit
                mark = "" if found.ratio >= limit else f"  below {limit}"
                times = f"{1e3 * found.ours:9.1f} {1e3 * found.theirs:10.1f} {found.ratio:6.2f}"
                print(f"{title:<27} {step.__name__:<17} {memory:<6} {times}{mark}", flush=True)
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
