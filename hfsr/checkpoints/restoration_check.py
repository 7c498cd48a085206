"""Check of weights on synthetic images: restoration error, and whether flat images return unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hfsr import model_zoo

__all__ = ["UNFIT", "WORSE", "can_be_checked", "flat_error", "is_better", "restoration_error"]

UNFIT = 0.008
"""Error of flat images above which weights may be unfit. Bundled and released models reach a third of it."""
IMPLAUSIBLE = 3.0
"""Error of restoration, relative to interpolation, above which weights are considered untrained: all their
readings are equally wrong, and are no evidence for the arguments."""
WORSE = 2.5
"""Error of restoration, relative to interpolation, above which weights that change flat images are reported.
Trained models stay below 1.05; networks without a skip connection from the input reach 2.4 after a short
training."""
_KEEPING = ("super-resolution", "denoising", "jpeg-artifact-removal", "restoration")
"""Tasks whose networks return an image of one color unchanged."""
_COLORS = (
    (0.05, 0.05, 0.05),
    (0.25, 0.25, 0.25),
    (0.5, 0.5, 0.5),
    (0.75, 0.75, 0.75),
    (0.95, 0.95, 0.95),
    (0.7, 0.4, 0.2),
    (0.2, 0.6, 0.7),
)
_FLAT_SIDE = 12
_FLAT_SIDE_TRANSPOSED = 24
"""Side of flat images in px, without and with transposed convolutions, whose borders cannot be repeated."""
_SIDE = 24
"""Side of the images to restore, in px."""
_BORDER = 3
"""Rows and columns at their borders that are not compared, because the network reads its padding there."""
_SHAPES = 6
_NOISE = 0.04
"""Standard deviation of the noise that restorers of scale 1 remove, relative to the range."""


def can_be_checked(model: nn.Module, task: str | None) -> bool:
    """Returns True for a restorer that must return images of one color unchanged.

    Args:
        model: the network.
        task: the known task of its weights, or None.
    """
    spec = model_zoo.spec_of(model)
    if spec is None or spec.role != "restorer":
        return False
    return spec.keeps_flat_images if task is None else task in _KEEPING


@torch.no_grad()
def restoration_error(model: nn.Module) -> float:
    """Returns the mean absolute error of restored synthetic images, relative to bicubic interpolation.

    The images hold smooth gradients and rectangles of one color. They are downscaled by the network's scale;
    at scale 1 noise is added, and the noisy image itself is the baseline. A network that is read with a wrong
    range or mean still returns many flat images nearly unchanged, but restores edges worse.

    Args:
        model: a restorer of RGB on the CPU, in evaluation mode.

    Returns:
        A value below 1 if the network is better than interpolation; infinity if its result is not finite.
    """
    scale = float(getattr(model, "scale", 1))
    side = _SIDE + -_SIDE % _multiple(model)
    lq, gt = _restoration_task(side, scale)
    border = round(_BORDER * scale)

    def error(image: Tensor) -> float:
        return (image - gt)[..., border:-border, border:-border].abs().mean().item()

    interpolated = lq if scale == 1 else F.interpolate(lq, gt.shape[-2:], mode="bicubic", align_corners=False)
    result: Tensor = model(lq.clone())
    if result.shape != gt.shape or not result.isfinite().all():
        return float("inf")
    return error(result) / error(interpolated)


@torch.no_grad()
def flat_error(model: nn.Module) -> float:
    """Returns the mean error of images of one color, relative to the range; infinity for non-finite results.

    Convolutions use replicate padding during the check, which emulates an infinite flat image, so that small
    images suffice for any receptive field.

    Args:
        model: a restorer of RGB on the CPU, in evaluation mode.
    """
    transposed = any(isinstance(module, nn.ConvTranspose2d) for module in model.modules())
    side = _FLAT_SIDE_TRANSPOSED if transposed else _FLAT_SIDE
    side += -side % _multiple(model)
    colors = torch.tensor(_COLORS)
    with _repeated_borders(model):
        result: Tensor = model(colors[:, :, None, None].expand(-1, -1, side, side).contiguous())
    border = result.shape[-1] // 3
    center = result[..., border:-border, border:-border].mean((2, 3))
    error = (center - colors).abs().mean()
    return error.item() if error.isfinite() else float("inf")


def is_better(error: float, other: float, margin: float) -> bool:
    """Returns True if weights are trained and restore better as read than in another reading.

    Args:
        error: restoration error of the reading.
        other: restoration error of the other reading.
        margin: share of the other error that it must be below.
    """
    return error < min(IMPLAUSIBLE, margin * other)


def _multiple(model: nn.Module) -> int:
    spec = model_zoo.spec_of(model)
    return 1 if spec is None else spec.size_multiple(vars(model)["model_args"])


@cache
def _restoration_task(side: int, scale: float) -> tuple[Tensor, Tensor]:
    """Returns low-quality images and their ground truth, in [0, 1], the same on every call."""
    generator = torch.Generator().manual_seed(7)
    height = round(side * scale)
    gt = F.interpolate(
        torch.rand(3, 3, 3, 3, generator=generator), height, mode="bicubic", align_corners=True
    )
    for image in gt[1:]:
        for _ in range(_SHAPES):
            top, left = torch.randint(0, height - height // 4, (2,), generator=generator).tolist()
            rows, columns = torch.randint(height // 8, height // 2, (2,), generator=generator).tolist()
            image[:, top : top + rows, left : left + columns] = torch.rand(3, 1, 1, generator=generator)
    gt = gt.clamp(0, 1)
    if scale == 1:
        return gt + _NOISE * torch.randn(gt.shape, generator=generator), gt
    lq = F.interpolate(gt, (side, side), mode="bicubic", antialias=True, align_corners=False)
    return lq.clamp(0, 1), gt


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
