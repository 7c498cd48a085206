"""How often synthetic images choose the right reading of a checkpoint: python tests/benchmarks/readings.py

Trains the tiny preset of every registered restorer for a moment on synthetic images, once for each reading
that its tensors leave open, saves the bare state dict, and loads it again without a word about its arguments.
Right is a network whose result differs from the trained one's by less than 0.002 of the range on average; a
warning about weights that were read rightly is a false one.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import hfsr
from hfsr.archs import ArchSpec, Evidence
from hfsr.archs._layers import DIV2K_MEAN
from hfsr.checkpoints import load_checkpoint
from hfsr.checkpoints.identification import claim
from hfsr.checkpoints.restoration_check import flat_error, restoration_error
from hfsr.errors import HfsrWarning
from hfsr.model_zoo import create_model
from hfsr.registry import ARCHS

SAME = 0.002
"""Mean difference, relative to the range, up to which two readings give the same images."""


@dataclass(frozen=True)
class Case:
    """One trained network, and what became of its file."""

    network: str
    reading: Mapping[str, Any]
    flat: float
    """Error of flat images, as trained."""
    restoration: float
    """Error of restoration as trained, relative to interpolation."""
    is_right: bool
    is_warned: bool

    def __str__(self) -> str:
        told = ", ".join(f"{name}={value}" for name, value in self.reading.items()) or "one reading"
        outcome = ("right" if self.is_right else "WRONG") + (", warned" if self.is_warned else "")
        return f"{self.network:<20} {told:<52} {self.flat:7.4f} {self.restoration:6.3f}  {outcome}"


def images(number: int, side: int) -> Tensor:
    """Synthetic images of gradients, rectangles of one color and a little texture; a quarter is flat."""
    grid = F.interpolate(torch.rand(number, 3, 3, 3), side, mode="bicubic", align_corners=True)
    for image in grid:
        for _ in range(3):
            top, left = torch.randint(0, side - 4, (2,)).tolist()
            height, width = torch.randint(4, side, (2,)).tolist()
            image[:, top : top + height, left : left + width] = torch.rand(3, 1, 1)
    texture = 0.1 * torch.rand(number, 1, 1, 1) * torch.randn(number, 1, side, side)
    flat = torch.rand(number, 3, 1, 1).expand(-1, -1, side, side)
    chosen = torch.rand(number, 1, 1, 1) < 0.25
    return torch.where(chosen, flat, grid + texture).clamp(0, 1)


def train(model: nn.Module, steps: int, *, side: int = 12, batch: int = 4) -> None:
    """Minimizes the L1 loss on fresh images, in place."""
    scale = int(getattr(model, "scale", 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    model.train()
    for _ in range(steps):
        gt = images(batch, side * scale)
        lq = gt if scale == 1 else F.interpolate(gt, side, mode="bicubic", antialias=True).clamp(0, 1)
        loss = (model(lq) - gt).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    model.eval()


def cases(spec: ArchSpec, steps: int, seeds: Sequence[int]) -> Iterator[Case]:
    """Trains a network for each of its readings, and reads its file again."""
    (preset,) = (name for name in spec.presets if name.endswith("_tiny"))
    found = claim(create_model(preset).state_dict(), spec.name)
    readings = spec.readings(found.original, found.arguments, Evidence())
    for seed in seeds:
        for reading in readings:
            told = {k: v for k, v in reading.arguments.items() if k not in found.arguments or "mean" in k}
            torch.manual_seed(seed)
            model = create_model(preset, **told)
            train(model, steps)
            yield examine(spec.name, model, told)


@torch.no_grad()
def examine(name: str, model: nn.Module, reading: Mapping[str, Any]) -> Case:
    """Saves a trained network as bare tensors and compares what is read again."""
    x = images(8, 16)
    scale = getattr(model, "scale", 1)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", HfsrWarning)
        file = Path(folder, "net.pth")
        torch.save({"params": model.state_dict()}, file)
        read = load_checkpoint(file, arch=name, scale=scale)
    difference = (read(x) - model(x)).abs().mean().item()
    return Case(name, reading, flat_error(model), restoration_error(model), difference < SAME, bool(caught))


def reexpressed(names: Sequence[str]) -> Iterator[Case]:
    """Bundled models, which are EDSRs, expressed with each range and mean: the same images.

    What follows the mean shift is homogeneous but for its biases, which are multiplied by the ratio of the
    ranges; a mean is a bias of the first and of the last convolution.
    """
    for name in names:
        source = hfsr.from_pretrained(name)
        arguments = vars(source)["model_args"]
        mean = torch.tensor(arguments["rgb_mean"])
        pairs = itertools.product((255.0, 1.0), (DIV2K_MEAN, (0.0, 0.0, 0.0)))
        for img_range, rgb_mean in pairs:
            reading = {"img_range": img_range, "rgb_mean": list(rgb_mean)}
            model = type(source)(**{**arguments, **reading}).eval()
            model.load_state_dict(source.state_dict())
            with torch.no_grad():
                for key, parameter in model.named_parameters():
                    if key.endswith("bias"):
                        parameter.mul_(img_range / arguments["img_range"])
                shift = img_range * (mean - torch.tensor(rgb_mean))
                model.conv_first.bias -= model.conv_first.weight.sum((2, 3)) @ shift
                model.conv_last.bias += shift
            yield examine(type(source).__name__, model, {"of": name, **reading})


def summary(found: Sequence[Case]) -> str:
    """Share of right choices and of false warnings."""
    right = [case for case in found if case.is_right]
    false = sum(case.is_warned for case in right)
    return (
        f"right: {len(right)} of {len(found)} ({len(right) / len(found):.1%}); "
        f"false warnings: {false} of {len(right)} ({false / max(1, len(right)):.1%})"
    )


def restorers() -> list[ArchSpec]:
    """The registered networks that synthetic images can check."""
    return [spec for spec in ARCHS.own().values() if spec.role == "restorer" and spec.keeps_flat_images]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=800, help="of training, for each network")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--arch", nargs="+", help="these networks alone")
    parser.add_argument("--bundled", nargs="+", metavar="NAME", help="these bundled models, without training")
    args = parser.parse_args()
    found = []
    started = time.perf_counter()
    for case in reexpressed(args.bundled or ()):
        found.append(case)
        print(case, flush=True)
    for spec in () if args.bundled else restorers():
        if args.arch and spec.name not in args.arch:
            continue
        for case in cases(spec, args.steps, args.seeds):
            found.append(case)
            print(case, flush=True)
    source = "bundled models" if args.bundled else f"{args.steps} steps"
    print(f"{source}, {time.perf_counter() - started:.0f} s; {summary(found)}")


if __name__ == "__main__":
    main()
