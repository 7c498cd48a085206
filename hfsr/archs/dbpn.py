"""Deep Back-Projection Networks for Super-Resolution, Haris, Shakhnarovich, Ukita, CVPR 2018.

Paper: https://arxiv.org/abs/1803.02735; recurrent and residual forms: https://arxiv.org/abs/1904.05677
Reference: https://github.com/alterzero/DBPN-Pytorch (MIT)
State-dict keys are the reference's. Differs from it: the bicubic image that the residual form needs is
added inside the network, in floating point. DBPN (T = 7) x4: 10,426,358 parameters; DBPN-LL (T = 10) x4:
15,348,302.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hfsr.errors import OptionsError
from hfsr.registry import ARCHS

from ._layers import has_convolutions
from ._luma import supports_one_channel
from ._readings import Evidence, Reading
from ._resize import Bicubic
from ._spec import ArchSpec, Arguments, StateDict, records_arguments

__all__ = ["DBPN", "SPEC"]


class Projection(NamedTuple):
    """Kernel, stride and padding of the convolutions between LR and HR size."""

    kernel: int
    stride: int
    padding: int


PROJECTIONS = {2: Projection(6, 2, 2), 4: Projection(8, 4, 2), 8: Projection(12, 8, 2)}


class Conv(nn.Module):
    """A convolution and a PReLU with one slope."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding)
        self.act = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.conv(x))


class Deconv(nn.Module):
    """A transposed convolution and a PReLU with one slope."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, padding: int) -> None:
        super().__init__()
        self.deconv = nn.ConvTranspose2d(inputs, outputs, kernel, stride, padding)
        self.act = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.deconv(x))


class UpProjection(nn.Module):
    """LR to HR: upsamples, reduces the result again, and adds the upsampled error of that round trip.

    Args:
        num_feat: width.
        num_map: LR feature maps concatenated at the input; more than one are first reduced to the width.
        projection: the geometry of the scale.
    """

    def __init__(self, num_feat: int, num_map: int, projection: Projection) -> None:
        super().__init__()
        self.conv = Conv(num_map * num_feat, num_feat, 1) if num_map > 1 else nn.Identity()
        self.up_conv1 = Deconv(num_feat, num_feat, *projection)
        self.up_conv2 = Conv(num_feat, num_feat, *projection)
        self.up_conv3 = Deconv(num_feat, num_feat, *projection)

    def forward(self, x: Tensor) -> Tensor:
        low = self.conv(x)
        high = self.up_conv1(low)
        return self.up_conv3(self.up_conv2(high) - low) + high


class DownProjection(nn.Module):
    """HR to LR: reduces, upsamples the result again, and adds the reduced error of that round trip."""

    def __init__(self, num_feat: int, num_map: int, projection: Projection) -> None:
        super().__init__()
        self.conv = Conv(num_map * num_feat, num_feat, 1) if num_map > 1 else nn.Identity()
        self.down_conv1 = Conv(num_feat, num_feat, *projection)
        self.down_conv2 = Deconv(num_feat, num_feat, *projection)
        self.down_conv3 = Conv(num_feat, num_feat, *projection)

    def forward(self, x: Tensor) -> Tensor:
        high = self.conv(x)
        low = self.down_conv1(high)
        return self.down_conv3(self.down_conv2(low) - high) + low


class Reconstruction(nn.Module):
    """The last convolution, without activation; a module of its own so that its key matches the reference."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Affine(nn.Module):
    """`(x - offset) / factor` for each channel of RGB; both are non-persistent buffers."""

    offset: Tensor
    factor: Tensor

    def __init__(self, offset: Sequence[float], factor: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("offset", torch.tensor(tuple(offset)).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("factor", torch.tensor(tuple(factor)).view(1, -1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.offset) / self.factor


_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_IMAGENET_INVERSE = ((-2.118, -2.036, -1.804), (4.367, 4.464, 4.444))
"""Inverse of ImageNet's normalization, with the rounding of the challenge's code."""


@supports_one_channel
@records_arguments
class DBPN(nn.Module):
    """Alternates between LR and HR size `num_stage` times; every unit sees all earlier maps of its size.

    Args:
        num_in_ch: channels of the input.
        num_out_ch: channels of the output.
        num_feat: channels of the first feature map.
        num_base: width of the projection units.
        num_stage: up-projections T (7 in DBPN, 10 in DBPN-LL, 2 in DBPN-S).
        num_pass: number of passes through the stages with the same weights; from 2 on it is the recurrent
            form, which reconstructs from the last HR feature map of each pass instead of all of one pass.
        upscale: 2, 4 or 8.
        residual: True if the network predicts the difference to the bicubically upscaled input.
        normalized: True if the network takes and returns images normalized by ImageNet's mean and deviation,
            as the weights of the PIRM 2018 challenge do.

    Raises:
        OptionsError: If the scale is not supported, or there are fewer than two stages or no pass.
    """

    def __init__(
        self,
        *,
        num_in_ch: int = 3,
        num_out_ch: int = 3,
        num_feat: int = 256,
        num_base: int = 64,
        num_stage: int = 7,
        num_pass: int = 1,
        upscale: int = 4,
        residual: bool = False,
        normalized: bool = False,
    ) -> None:
        super().__init__()
        if upscale not in PROJECTIONS:
            raise OptionsError(f"scale {upscale} is not supported by DBPN: use 2, 4 or 8")
        if num_stage < 2 or num_pass < 1:
            raise OptionsError(
                f"num_stage {num_stage} and num_pass {num_pass}: use at least 2 stages and 1 pass"
            )
        self.scale = upscale
        self.num_stage = num_stage
        self.num_pass = num_pass
        self.residual = residual
        projection = PROJECTIONS[upscale]
        self.feat0 = Conv(num_in_ch, num_feat, 3, padding=1)
        self.feat1 = Conv(num_feat, num_base, 1)
        for n in range(1, num_stage):
            self.add_module(f"up{n}", UpProjection(num_base, max(1, n - 1), projection))
            self.add_module(f"down{n}", DownProjection(num_base, n, projection))
        self.add_module(f"up{num_stage}", UpProjection(num_base, num_stage - 1, projection))
        num_map = num_stage if num_pass == 1 else num_pass
        self.output_conv = Reconstruction(num_map * num_base, num_out_ch)
        self.enlarge = Bicubic(upscale)
        self.normalize = Affine(*_IMAGENET) if normalized else nn.Identity()
        self.denormalize = Affine(*_IMAGENET_INVERSE) if normalized else nn.Identity()
        self.initialize()

    @torch.no_grad()
    def initialize(self) -> None:
        """Kaiming-normal weights, zero biases."""
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.kaiming_normal_(module.weight)
                if module.bias is not None:
                    module.bias.zero_()

    def project(self, low: Tensor) -> tuple[list[Tensor], Tensor]:
        """Runs one pass through all stages; returns all HR maps, newest first, and the newest LR map."""
        high = [self.get_submodule("up1")(low)]
        lows: list[Tensor] = []
        for n in range(1, self.num_stage):
            lows = [self.get_submodule(f"down{n}")(joined(high)), *lows]
            high = [self.get_submodule(f"up{n + 1}")(joined(lows)), *high]
        return high, lows[0]

    def core(self, x: Tensor) -> Tensor:
        x = self.normalize(x)
        low = self.feat1(self.feat0(x))
        high, low = self.project(low)
        if self.num_pass > 1:
            newest = high[:1]
            for _ in range(self.num_pass - 1):
                high, low = self.project(low)
                newest.append(high[0])
            high = newest
        result = self.output_conv(joined(high))
        return self.denormalize(result + self.enlarge(x) if self.residual else result)

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: RGB in [0, 1], (B, 3, H, W). Returns: RGB, nominally [0, 1], (B, 3, H*scale, W*scale)."""
        return self.core(x)


def joined(maps: list[Tensor]) -> Tensor:
    """Concatenates feature maps of one size along the channels."""
    return maps[0] if len(maps) == 1 else torch.cat(maps, 1)


def infer(state_dict: StateDict) -> dict[str, Any] | None:
    needed = (
        "feat0.conv.weight",
        "feat1.conv.weight",
        "up1.up_conv1.deconv.weight",
        "output_conv.conv.weight",
    )
    if not has_convolutions(state_dict, needed):
        return None
    num_feat, num_in_ch = state_dict["feat0.conv.weight"].shape[:2]
    num_base = state_dict["feat1.conv.weight"].shape[0]
    num_out_ch, joined_ch = state_dict["output_conv.conv.weight"].shape[:2]
    num_stage = sum(key.endswith(".up_conv1.deconv.weight") for key in state_dict)
    num_map = joined_ch // num_base
    kernel = state_dict["up1.up_conv1.deconv.weight"].shape[-1]
    scales = {projection.kernel: scale for scale, projection in PROJECTIONS.items()}
    if kernel not in scales:
        return None
    recurrent = num_map != num_stage
    return {
        "num_in_ch": num_in_ch,
        "num_out_ch": num_out_ch,
        "num_feat": num_feat,
        "num_base": num_base,
        "num_stage": num_stage,
        "num_pass": num_map if recurrent else 1,
        "upscale": scales[kernel],
    }


def readings(state_dict: StateDict, arguments: Arguments, evidence: Evidence) -> list[Reading]:
    challenge = next((name for name in evidence.names if "pirm2018" in name.lower()), None)
    if challenge is not None:
        told = {"residual": False, "normalized": True}
        return [Reading(arguments=told, reason=f"'{challenge}' is the name of a PIRM 2018 file")]
    # The recurrent weights that were released, DBPN-RES-MR64-3, are residual; the others are not.
    recurrent = arguments["num_pass"] > 1
    first = {"residual": recurrent, "normalized": False}
    others = [{"residual": not recurrent, "normalized": False}]
    if arguments["num_in_ch"] == 3:  # ImageNet's mean is that of RGB
        others.append({"residual": False, "normalized": True})
    return [
        Reading(arguments=first, reason="as in the released weights"),
        *(Reading(arguments=other) for other in others),
    ]


def _dense(num_stage: int, upscale: int) -> dict[str, Any]:
    return {"num_feat": 256, "num_base": 64, "num_stage": num_stage, "upscale": upscale}


def _small(upscale: int) -> dict[str, Any]:
    return {"num_feat": 128, "num_base": 32, "num_stage": 2, "upscale": upscale}


def _radius(arguments: Mapping[str, Any]) -> int:
    """Receptive field: a pair of units reaches 6 px at x2, and 3 at x4 and x8 (larger stride)."""
    stages = arguments["num_stage"] + (arguments["num_pass"] - 1) * (arguments["num_stage"] - 1)
    return 6 * stages - 1 if arguments["upscale"] == 2 else 3 * stages


SPEC = ARCHS.register(
    ArchSpec(
        name="DBPN",
        cls=DBPN,
        title="Deep Back-Projection Networks for Super-Resolution",
        paper="https://arxiv.org/abs/1803.02735",
        reference="https://github.com/alterzero/DBPN-Pytorch",
        license="MIT",
        scales=(2, 4, 8),
        presets={
            **{f"dbpn_x{s}": _dense(7, s) for s in PROJECTIONS},
            **{f"dbpn_ll_x{s}": _dense(10, s) for s in PROJECTIONS},
            **{f"dbpn_mr_x{s}": {**_dense(7, s), "num_pass": 3} for s in PROJECTIONS},
            **{f"dbpn_res_mr_x{s}": {**_dense(7, s), "num_pass": 3, "residual": True} for s in PROJECTIONS},
            **{f"dbpn_s_x{s}": _small(s) for s in PROJECTIONS},
            "dbpn_tiny": {"num_feat": 8, "num_base": 4, "num_stage": 3, "upscale": 2},
        },
        # Differences of large activations: fresh weights are 47 dB from float32; trained ones were not
        # measured.
        bf16=False,
        tiling="local",
        radius=_radius,
        infer=infer,
        readings=readings,
    )
)
