"""Check that a program computes what its network computes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hfsr.errors import PlanError

from ..image_io.padding import padded_size
from ..image_io.sources_and_sinks import TensorSink, TensorSource
from ..program.geometry import Size
from ..program.program import Program
from ..program.sized_program import SizedProgram
from ..runtime.precision import disable_tf32
from .tile_executor import TileExecutor

__all__ = ["check_program"]

_SIZES = (Size(40, 48), Size(64, 64), Size(128, 128))
"""Sizes of the images, tried in order: networks that fold or halve their input take only multiples."""
_TILE = 16
_TOLERANCE = 1e-3
"""Maximum error, relative to the peak of the result: far above that of float32, far below a wrong result."""


@torch.inference_mode()
def check_program(model: nn.Module, program: Program, device: torch.device, multiple: int) -> None:
    """Compares the result of a program in tiles with that of its network, on a small image of noise.

    A graph holds what `core` computes once: not what `forward` adds, and no assignment through a second name
    of a tensor.

    Args:
        model: the network, in evaluation mode and float32 on `device`.
        program: its program, lowered to float32.
        device: device of both.
        multiple: the sides of the network's images must be multiples of it.

    Raises:
        PlanError: the results differ.
    """
    with disable_tf32(torch.float32, device):
        x, expected = _example(model, device, multiple)
        sized = SizedProgram(program, Size(*x.shape[-2:]))
        found = torch.empty(1, 3, *sized.sizes[program.output])
        for _ in TileExecutor(sized, _TILE, device).run(TensorSource(x, device), TensorSink(found)):
            pass
    peak = max(1.0, expected.abs().max().item())
    if expected.shape != found.shape or not (found - expected).abs().max() <= _TOLERANCE * peak:
        raise PlanError(
            f"{type(model).__name__} computes another result in tiles than as a whole: `forward` must return "
            "what `core` returns, without changing tensors in place; correct it, or run it whole (tile 0)"
        )


def _example(model: nn.Module, device: torch.device, multiple: int) -> tuple[Tensor, Tensor]:
    """Returns an image of noise and the network's result of it, on the CPU."""
    generator = torch.Generator().manual_seed(0)
    for size in _SIZES:
        x = torch.rand(1, 3, *padded_size(size, multiple), generator=generator).to(device)
        try:
            return x, model(x.clone()).float().cpu()
        except RuntimeError:  # the network does not take this size
            continue
    tried = ", ".join(f"{size.width}x{size.height}" for size in _SIZES)
    raise PlanError(
        f"{type(model).__name__} takes no image of {tried} px, by which its tiles would be checked; run it "
        "whole (tile 0)"
    )
