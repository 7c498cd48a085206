"""What an output costs beside its ground truth."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from hfsr.archs import luma
from hfsr.errors import OptionsError
from hfsr.options import TrainOptions, Typed
from hfsr.options.models import TrainingOptions
from hfsr.registry import LOSSES

__all__ = ["Content", "build_loss", "pixel_loss", "training_of"]


def training_of(options: TrainOptions) -> TrainingOptions:
    """The section `train`.

    Raises:
        OptionsError: there is none.
    """
    if options.train is None:
        raise OptionsError("train: is missing; it says how the network learns")
    return options.train


def build_loss(section: Typed) -> Any:
    """The loss of a section.

    Raises:
        OptionsError: it would not be one number.
    """
    if section.arguments.get("reduction") == "none":
        raise OptionsError(f"{section.type}: reduction none leaves no number to minimize; use mean or sum")
    return LOSSES[section.type](**section.arguments)


def pixel_loss(train: TrainingOptions, section: Typed) -> nn.Module:
    """The loss of `section`, between RGB images; of their lumas where `train.pixel_y_channel` says so."""
    loss = build_loss(section)
    return _OfLuma(loss) if train.pixel_y_channel else loss


class _OfLuma(nn.Module):
    """What a loss says of the lumas of two images."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, sr: Tensor, gt: Tensor) -> Tensor:
        return self.loss(luma(sr), luma(gt))


class Content(nn.Module):
    """Distances in pixels, luma, features, texture: `pixel_opt`, `luma_opt`, `perceptual_opt`, `texture_opt`.

    Args:
        train: where they stand; each may be absent.
        prefix: of their names in logs, `l_` or BasicSR's `l_g_` beside a discriminator.

    Raises:
        OptionsError: none of them is there.
    """

    def __init__(self, train: TrainingOptions, prefix: str = "l_") -> None:
        super().__init__()
        if not (train.pixel_opt or train.luma_opt or train.perceptual_opt or train.texture_opt):
            raise OptionsError(
                "train: has no loss against the ground truth; add one, for example pixel_opt: {type: L1Loss}"
            )
        self.prefix = prefix
        self.pixel = pixel_loss(train, train.pixel_opt) if train.pixel_opt else None
        self.luma = _OfLuma(build_loss(train.luma_opt)) if train.luma_opt else None
        self.perceptual = build_loss(train.perceptual_opt) if train.perceptual_opt else None
        self.texture = build_loss(train.texture_opt) if train.texture_opt else None

    def forward(self, sr: Tensor, gt: Tensor) -> dict[str, Tensor]:
        """Args: sr, gt: RGB in [0, 1], (B, 3, H, W). Returns: scalars by BasicSR's names."""
        found: dict[str, Tensor | None] = {}
        if self.pixel is not None:
            found["pix"] = self.pixel(sr, gt)
        if self.luma is not None:
            found["luma"] = self.luma(sr, gt)
        if self.perceptual is not None:
            found["percep"], found["style"] = self.perceptual(sr, gt)
        if self.texture is not None:
            found["texture"] = self.texture(sr, gt)
        return {f"{self.prefix}{name}": value for name, value in found.items() if value is not None}
