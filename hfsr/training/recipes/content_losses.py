"""Content losses between output and ground truth: pixel, luma, spectral, perceptual, texture, consistency."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from hfsr.archs import Bicubic, luma
from hfsr.errors import OptionsError
from hfsr.options import TrainOptions, Typed
from hfsr.options.sections import TrainingOptions
from hfsr.registry import LOSSES

__all__ = ["CONTENT_OPTIONS", "Content", "build_loss", "check_sharpening", "pixel_loss", "training_of"]

CONTENT_OPTIONS = frozenset(
    f"train.{key}"
    for key in (
        *("pixel_opt", "luma_opt", "fft_opt", "perceptual_opt", "texture_opt", "consistency_opt"),
        "usm",
    )
)
"""Places of the option file that `Content` reads."""


def training_of(options: TrainOptions) -> TrainingOptions:
    """Returns the section `train`.

    Raises:
        OptionsError: if it is missing.
    """
    if options.train is None:
        raise OptionsError("train: is missing; this section configures the training")
    return options.train


def build_loss(section: Typed) -> Any:
    """Builds the loss of a section.

    Raises:
        OptionsError: if the loss would not be a scalar.
    """
    if section.arguments.get("reduction") == "none":
        raise OptionsError(f"{section.type}: reduction none gives no scalar to minimize; use mean or sum")
    return LOSSES[section.type](**section.arguments)


def pixel_loss(train: TrainingOptions, section: Typed) -> nn.Module:
    """Builds the loss of `section` between RGB images, or their lumas with `train.pixel_y_channel`."""
    loss = build_loss(section)
    return _OfLuma(loss) if train.pixel_y_channel else loss


class _OfLuma(nn.Module):
    """Applies a loss to the lumas of two images."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, sr: Tensor, gt: Tensor) -> Tensor:
        return self.loss(luma(sr), luma(gt))


class _OfReductions(nn.Module):
    """Applies a loss to two images that are reduced by the scale with MATLAB's bicubic.

    This is the dual regression of DRN (Guo et al., CVPR 2020, https://arxiv.org/abs/2003.07018) with the
    known reduction instead of a dual network. If the input is degraded further (JPEG, noise), the comparison
    is with the input before that.
    """

    def __init__(self, loss: nn.Module, scale: int) -> None:
        super().__init__()
        self.loss = loss
        self.reduce = Bicubic(1, scale)

    def forward(self, sr: Tensor, gt: Tensor) -> Tensor:
        return self.loss(self.reduce(sr), self.reduce(gt))


class Content(nn.Module):
    """Distances in pixels, luma, spectra, features and texture (`pixel_opt` and so on), and of reductions.

    Args:
        options: the file; each of these losses in its section `train` is optional.
        prefix: prefix of their names in logs: `l_`, or BasicSR's `l_g_` with a discriminator.

    Raises:
        OptionsError: if none but `consistency_opt` is given, or that one with batches of several scales.
    """

    def __init__(self, options: TrainOptions, prefix: str = "l_") -> None:
        super().__init__()
        train = training_of(options)
        sections = (train.pixel_opt, train.luma_opt, train.fft_opt, train.perceptual_opt, train.texture_opt)
        if not any(sections):
            raise OptionsError(
                "train: has no loss against the ground truth; add one, for example pixel_opt: {type: L1Loss}"
            )
        self.prefix, self.usm = prefix, train.usm
        self.pixel = pixel_loss(train, train.pixel_opt) if train.pixel_opt else None
        self.luma = _OfLuma(build_loss(train.luma_opt)) if train.luma_opt else None
        self.spectral = build_loss(train.fft_opt) if train.fft_opt else None
        self.consistency = _consistency_loss(options, train.consistency_opt)
        self.perceptual = build_loss(train.perceptual_opt) if train.perceptual_opt else None
        self.texture = build_loss(train.texture_opt) if train.texture_opt else None

    def forward(self, sr: Tensor, gt: Tensor, gt_usm: Tensor | None = None) -> dict[str, Tensor]:
        """Compares an output with its ground truth.

        Args:
            sr: RGB in [0, 1], (B, 3, H, W).
            gt: same shape.
            gt_usm: the sharpened ground truth, for the losses that `train.usm` selects.

        Returns:
            Scalars by BasicSR's names.
        """
        of_pixels = of_features = gt
        if self.usm is not None and gt_usm is not None:
            of_pixels = gt_usm if self.usm.pixel else gt
            of_features = gt_usm if self.usm.perceptual else gt
        found: dict[str, Tensor | None] = {}
        if self.pixel is not None:
            found["pix"] = self.pixel(sr, of_pixels)
        if self.luma is not None:
            found["luma"] = self.luma(sr, of_pixels)
        if self.spectral is not None:
            found["fft"] = self.spectral(sr, of_pixels)
        if self.consistency is not None:
            found["consistency"] = self.consistency(sr, gt)
        if sr.shape[1] == 1:  # feature extractors take RGB
            sr, of_features = (x.expand(-1, 3, -1, -1) for x in (sr, of_features))
        if self.perceptual is not None:
            distance = self.perceptual(sr, of_features)
            found["percep"], found["style"] = distance if isinstance(distance, tuple) else (distance, None)
        if self.texture is not None:
            found["texture"] = self.texture(sr, of_features)
        return {f"{self.prefix}{name}": value for name, value in found.items() if value is not None}


def _consistency_loss(options: TrainOptions, section: Typed | None) -> nn.Module | None:
    """Builds the loss of `consistency_opt`.

    Raises:
        OptionsError: if batches differ in their scale.
    """
    if section is None:
        return None
    if "train" in options.datasets and options.datasets["train"].arguments.get("scales"):
        raise OptionsError("train.consistency_opt: takes one scale; leave it or datasets.train.scales out")
    return _OfReductions(build_loss(section), options.scale)


def check_sharpening(options: TrainOptions) -> None:
    """Checks that the data set provides the sharpened images that the losses need.

    Raises:
        OptionsError: if it does not.
    """
    train = options.train
    given = "train" in options.datasets and options.datasets["train"].arguments.get("sharpen_gt")
    if train is not None and train.usm is not None and not given:
        raise OptionsError("train.usm: needs sharpened images; set datasets.train.sharpen_gt: true")
