"""Enhanced Deep Residual Networks for Single Image Super-Resolution, Lim et al., CVPRW 2017.

Paper: https://arxiv.org/abs/1707.02921
Reference: https://github.com/sanghyun-son/EDSR-PyTorch (MIT)
Constructor arguments, defaults and state-dict keys are BasicSR's. Differs from the reference: the mean is a
buffer, not a frozen convolution. Baseline x2: 1,369,859 parameters; EDSR x2: 40,729,603.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from hfsr.registry import ARCHS

from ._layers import (
    DIV2K_MEAN,
    NO_MEAN,
    MeanShift,
    ResidualBlock,
    Upsampler,
    absorb_mean_layers,
    count_indices,
    edsr_family_readings,
    ends_of,
    has_convolutions,
    rename_keys,
    res_scale_readings,
    scale_of_upsampler,
)
from ._luma import supports_one_channel
from ._readings import Evidence, Reading, SavedBy
from ._spec import ArchSpec, Arguments, StateDict, records_arguments

__all__ = ["EDSR", "SPEC"]


@supports_one_channel
@records_arguments
class EDSR(nn.Module):
    """A deep residual trunk at LR size, then sub-pixel upsampling.

    Args:
        num_in_ch: channels of the input.
        num_out_ch: channels of the output.
        num_feat: width of the trunk (64 baseline, 256 in the paper's large model).
        num_block: residual blocks (16 baseline, 32 large).
        upscale: 1, 2, 3, 4 or 8.
        res_scale: residual scaling (1 baseline, 0.1 large).
        img_range: range the trunk works in; released weights use 255.
        rgb_mean: mean subtracted before and added after, in [0, 1], one value per channel.

    Raises:
        OptionsError: If the scale or the number of mean values is not supported.
    """

    def __init__(
        self,
        *,
        num_in_ch: int = 3,
        num_out_ch: int = 3,
        num_feat: int = 64,
        num_block: int = 16,
        upscale: int = 4,
        res_scale: float = 1.0,
        img_range: float = 255.0,
        rgb_mean: Sequence[float] = DIV2K_MEAN,
    ) -> None:
        super().__init__()
        self.scale = upscale
        self.shift = MeanShift(rgb_mean, img_range, (num_in_ch, num_out_ch))
        self.conv_first = nn.Conv2d(num_in_ch, num_feat, 3, padding=1)
        self.body = nn.Sequential(*(ResidualBlock(num_feat, res_scale) for _ in range(num_block)))
        self.conv_after_body = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.upsample = Upsampler(upscale, num_feat)
        self.conv_last = nn.Conv2d(num_feat, num_out_ch, 3, padding=1)

    def core(self, x: Tensor) -> Tensor:
        shallow = self.conv_first(self.shift(x))
        deep = self.conv_after_body(self.body(shallow)) + shallow
        return self.shift.inverse(self.conv_last(self.upsample(deep)))

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: RGB in [0, 1], (B, 3, H, W). Returns: RGB, nominally [0, 1], (B, 3, H*scale, W*scale)."""
        return self.core(x)


def infer(state_dict: StateDict) -> dict[str, Any] | None:
    needed = ("conv_first.weight", "body.0.conv1.weight", "conv_after_body.weight", "conv_last.weight")
    if not has_convolutions(state_dict, needed) or count_indices(state_dict, "pre_process"):
        return None  # MDSR has the same keys and more
    ends = ends_of(state_dict)
    return {
        **ends,
        "num_block": count_indices(state_dict, "body"),
        "upscale": scale_of_upsampler(state_dict, ends["num_feat"]),
    }


_MMAGIC = "upsample.0.upsample_conv.weight"


def readings(state_dict: StateDict, arguments: Arguments, evidence: Evidence) -> list[Reading]:
    channels = arguments["num_in_ch"]
    is_large = arguments["num_feat"] == 256  # released with 0.1; each further reading of it takes seconds
    likely, other = (0.1, 1.0) if is_large else (1.0, 0.1)
    if _MMAGIC in state_dict:
        mean = list(DIV2K_MEAN) if channels == 3 else [0.0] * channels
        written = Reading(
            arguments={"img_range": 1.0, "rgb_mean": mean}, reason="the file has mmagic's layout"
        )
        return [*res_scale_readings([written], likely), *res_scale_readings([written], other)]
    family = edsr_family_readings(state_dict, official="head.0.weight", channels=channels)
    alternatives = family[:1] if is_large else family
    return [*res_scale_readings(family, likely), *res_scale_readings(alternatives, other, reason="")]


def _saved_by_super_image(config: Arguments) -> dict[str, Any]:
    """Arguments of super-image's files: it works on [0, 1] and never calls the mean layers that it saves."""
    res_scale = {"res_scale": config["res_scale"]} if "res_scale" in config else {}
    return {"img_range": 1.0, "rgb_mean": list(NO_MEAN), **res_scale}


def rename(state_dict: StateDict) -> StateDict:
    """Renames the official layout (head.0, body.i.body.0|2, body.N, tail.0|1) and mmagic's.

    The mean layers of the official layout are absorbed. mmagic's keys of the upsampler differ from BasicSR's.
    """
    if _MMAGIC in state_dict:
        stages = (
            (r"^upsample\.0\.upsample_conv\.", "upsample.0."),
            (r"^upsample\.1\.upsample_conv\.", "upsample.2."),
        )
        return rename_keys(state_dict, (*stages, (r"^upsample\.2\.upsample_conv\.", "upsample.4.")))
    if any(key not in state_dict for key in ("head.0.weight", "body.0.body.0.weight", "tail.1.weight")):
        return state_dict
    if any(".conv_assembly." in key for key in state_dict):
        return state_dict  # PA-EDSR has the same keys and an attention
    rules = (
        (r"^head\.0\.", "conv_first."),
        (r"^body\.(\d+)\.body\.0\.", r"body.\1.conv1."),
        (r"^body\.(\d+)\.body\.2\.", r"body.\1.conv2."),
        (r"^body\.\d+\.(weight|bias)$", r"conv_after_body.\1"),
        (r"^tail\.0\.", "upsample."),
        (r"^tail\.1\.", "conv_last."),
    )
    return absorb_mean_layers(rename_keys(state_dict, rules))


def _baseline(upscale: int) -> dict[str, Any]:
    return {"num_feat": 64, "num_block": 16, "upscale": upscale, "res_scale": 1.0}


def _large(upscale: int) -> dict[str, Any]:
    return {"num_feat": 256, "num_block": 32, "upscale": upscale, "res_scale": 0.1}


SPEC = ARCHS.register(
    ArchSpec(
        name="EDSR",
        cls=EDSR,
        title="Enhanced Deep Residual Networks for Single Image Super-Resolution",
        paper="https://arxiv.org/abs/1707.02921",
        reference="https://github.com/sanghyun-son/EDSR-PyTorch",
        license="MIT",
        scales=(1, 2, 3, 4, 8),
        presets={
            **{f"edsr_baseline_x{s}": _baseline(s) for s in (2, 3, 4)},
            **{f"edsr_x{s}": _large(s) for s in (2, 3, 4)},
            "edsr_tiny": {"num_feat": 8, "num_block": 2, "upscale": 2},
        },
        fp16=False,  # the trunk works on 0..255; the large model overflows
        tiling="local",
        # Every upsampling adds one LR px, whatever its stages: the reach of each stage is half the last.
        radius=lambda args: 2 * args["num_block"] + (3 if args["upscale"] == 1 else 4),
        infer=infer,
        rename=rename,
        readings=readings,
        saved_by={
            "EDSR": SavedBy(
                library="super-image", arguments=_saved_by_super_image, unused=("sub_mean.", "add_mean.")
            )
        },
        notes=("res_scale is 0.1 for width 256 and 1 otherwise, as released",),
    )
)
