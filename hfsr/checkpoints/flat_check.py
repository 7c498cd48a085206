"""A check of weights with images of one color, which super-resolution and denoising return unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from hfsr import model_zoo

__all__ = ["CLEARLY_BETTER", "FITS", "PLAUSIBLE", "UNFIT", "can_be_checked", "flat_error"]

FITS = 0.0002
"""Error up to which no other reading is tried. Released A2N and LapSRN reach 0.0013 when read rightly."""
UNFIT = 0.008
"""Error above which a warning is given. Bundled and released models stay below a quarter of it."""
PLAUSIBLE = 0.03
"""Error up to which a reading may be preferred to the first: untrained weights, whose errors say nothing, are
above it."""
CLEARLY_BETTER = 0.85
"""A reading is preferred to the first if its error is less than this share of the first one's. Of the bundled
models the nearest wrong reading errs 1.2 times as much as the right one."""
_KEEPING = ("super-resolution", "denoising", "jpeg-artifact-removal", "restoration")
"""Tasks that return an image of one color unchanged."""
_COLORS = (
    (0.05, 0.05, 0.05),
    (0.25, 0.25, 0.25),
    (0.5, 0.5, 0.5),
    (0.75, 0.75, 0.75),
    (0.95, 0.95, 0.95),
    (0.7, 0.4, 0.2),
    (0.2, 0.6, 0.7),
)
_SIDE = 12
_SIDE_TRANSPOSED = 24
"""Side of the images in px, without and with transposed convolutions, whose borders cannot be repeated."""


def can_be_checked(model: nn.Module, task: str | None) -> bool:
    """Returns True for a restorer whose task returns images of one color unchanged.

    Args:
        model: the network.
        task: what its weights are known to be for, or None.
    """
    spec = model_zoo.spec_of(model)
    if spec is None or spec.role != "restorer":
        return False
    return spec.keeps_flat_images if task is None else task in _KEEPING


@torch.no_grad()
def flat_error(model: nn.Module) -> float:
    """Average error of images of one color, relative to the range; infinite where the result is not finite.

    Convolutions repeat their borders meanwhile, as a flat image without end would, so that small images do
    whatever the network's receptive field is.

    Args:
        model: a restorer on the CPU, in evaluation mode.
    """
    spec = model_zoo.spec_of(model)
    multiple = 1 if spec is None else spec.size_multiple(vars(model)["model_args"])
    transposed = any(isinstance(module, nn.ConvTranspose2d) for module in model.modules())
    side = _SIDE_TRANSPOSED if transposed else _SIDE
    side += -side % multiple
    colors = torch.tensor(_COLORS)
    with _repeated_borders(model):
        result: Tensor = model(colors[:, :, None, None].expand(-1, -1, side, side).contiguous())
    border = result.shape[-1] // 3
    center = result[..., border:-border, border:-border].mean((2, 3))
    error = (center - colors).abs().mean()
    return error.item() if error.isfinite() else float("inf")


@contextmanager
def _repeated_borders(model: nn.Module) -> Iterator[None]:
    padded = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.padding_mode == "zeros"]
    try:
        for module in padded:
            module.padding_mode = "replicate"
        yield
    finally:
        for module in padded:
            module.padding_mode = "zeros"
