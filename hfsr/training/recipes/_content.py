"""What an output costs beside its ground truth."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from hfsr.errors import OptionsError
from hfsr.options import TrainOptions, Typed
from hfsr.options.models import TrainingOptions
from hfsr.registry import LOSSES

__all__ = ["Content", "build_loss", "training_of"]


def training_of(options: TrainOptions) -> TrainingOptions:
    """The section `train`.

    Raises:
        OptionsError: there is none.
    """
    if options.train is None:
        raise OptionsError("train: is missing; it says how the network learns")
    return options.train


def build_loss(section: Typed) -> Any:
    """The loss of a section."""
    return LOSSES[section.type](**section.arguments)


class Content(nn.Module):
    """Distances in pixels, features and texture: `pixel_opt`, `perceptual_opt`, `texture_opt`.

    Args:
        train: where they stand; each may be absent.
        prefix: of their names in logs, `l_` or BasicSR's `l_g_` beside a discriminator.

    Raises:
        OptionsError: none of them is there.
    """

    def __init__(self, train: TrainingOptions, prefix: str = "l_") -> None:
        super().__init__()
        sections = (train.pixel_opt, train.perceptual_opt, train.texture_opt)
        if not any(sections):
            raise OptionsError(
                "train: has no loss against the ground truth; add one, for example pixel_opt: {type: L1Loss}"
            )
        self.prefix = prefix
        self.pixel, self.perceptual, self.texture = (build_loss(each) if each else None for each in sections)

    def forward(self, sr: Tensor, gt: Tensor) -> dict[str, Tensor]:
        """Args: sr, gt: RGB in [0, 1], (B, 3, H, W). Returns: scalars by BasicSR's names."""
        found: dict[str, Tensor | None] = {}
        if self.pixel is not None:
            found["pix"] = self.pixel(sr, gt)
        if self.perceptual is not None:
            found["percep"], found["style"] = self.perceptual(sr, gt)
        if self.texture is not None:
            found["texture"] = self.texture(sr, gt)
        return {f"{self.prefix}{name}": value for name, value in found.items() if value is not None}
