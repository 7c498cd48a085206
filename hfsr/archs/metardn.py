"""Meta-SR: A Magnification-Arbitrary Network for Super-Resolution, Hu et al., CVPR 2019.

Paper: https://arxiv.org/abs/1903.00875
Reference: https://github.com/XuecaiHu/Meta-SR-Pytorch (no license stated)
State-dict keys are the reference's. Differs from it: takes and returns [0, 1] and works on 0..255 internally;
the filters are computed once for each distinct offset, instead of for every px of a grid that is masked
afterwards. 22,419,096 parameters, the trainable mean layers included.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hfsr.errors import OptionsError
from hfsr.registry import ARCHS

from ._layers import DIV2K_MEAN, shift_layer
from ._positional import EPSILON, PositionalEnlargement
from ._readings import Evidence, Reading, range_argument, range_readings
from ._spec import ArchSpec, Arguments, StateDict, records_arguments
from .rdn import ResidualDenseTrunk, infer_trunk

__all__ = ["SPEC", "MetaRDN"]

COLORS = 3
SMALLEST, LARGEST = 1.1, 4.0
"""Range of the scales that the paper trains."""
_GATHERED = 1 << 24
"""Maximum number of values gathered at once, so that memory does not grow with the image."""


class MetaUpscale(PositionalEnlargement):
    """Filters every output px by 3x3 weights that a small network predicts from its sub-pixel position.

    That network takes (1 / scale, row offset, column offset). The offsets are the distances, in [0, 1) input
    px, of the output px below and to the right of its source. Its 256 hidden units predict the weights of
    num_feat x 3 x 3 inputs for each color.

    Args:
        num_feat: channels of the input.
        scale: output px per input px.
    """

    margin = 1
    out_channels = COLORS

    def __init__(self, num_feat: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.in_channels = num_feat
        self.meta_block = nn.Sequential(
            nn.Linear(3, 256), nn.ReLU(inplace=True), nn.Linear(256, num_feat * 9 * COLORS)
        )

    def filters(self, row_offset: float, column_offsets: Tensor, scale: float) -> Tensor:
        """Weights for one row offset and each of n column offsets: (n, 9 * num_feat, 3)."""
        place = column_offsets.new_full((len(column_offsets), 3), 1 / scale)
        place[:, 1] = row_offset
        place[:, 2] = column_offsets
        filters = self.meta_block(place.to(next(self.parameters())))
        # Predicted channel by channel, each with its 3x3 px; reordered to px by px, each with its channels.
        return filters.view(len(place), -1, 9, COLORS).transpose(1, 2).flatten(1, 2)

    def workspace_bytes(self, rows: int, columns: int) -> int:
        at_once = min(rows, self._rows_at_once(columns))
        windows = 9 * columns * at_once  # each px of a window is an index, which is computed and flattened
        filters = 9 * self.in_channels * columns * COLORS
        size, index_size = torch.float32.itemsize, torch.int64.itemsize
        source = rows * columns / self.scale**2 * self.in_channels  # px by px, and padded
        return int(size * (windows * self.in_channels + filters + 2 * source) + 2 * index_size * windows)

    def _rows_at_once(self, columns: int) -> int:
        """Returns the number of output rows that are gathered at once."""
        return max(1, _GATHERED // (columns * 9 * self.in_channels))

    def part(self, x: Tensor, rows: tuple[int, int], columns: tuple[int, int], scale: float) -> Tensor:
        batch, channels, height, width = x.shape
        row_sources, row_offsets = places(*rows, scale)
        column_sources, column_offsets = places(*columns, scale)
        row_kinds, kind_of_row = row_offsets.unique(return_inverse=True)
        column_kinds, kind_of_column = column_offsets.unique(return_inverse=True)

        pixels = x.permute(0, 2, 3, 1).reshape(-1, channels)  # (B*h*w, C)
        side, images = (torch.arange(n, device=row_sources.device) for n in (3, batch))
        window = side[:, None] * width + side  # (3, 3)
        first_px = images[:, None] * height * width + row_sources * width  # (B, rows)
        at_once = self._rows_at_once(batch * len(column_sources))

        order, parts = [], []
        for kind, row_offset in enumerate(row_kinds.tolist()):
            filters = self.filters(row_offset, column_kinds, scale)
            filters = filters.index_select(0, kind_of_column.to(x.device))  # (columns, 9*C, 3)
            for chosen in (kind_of_row == kind).nonzero().flatten().split(at_once):
                starts = column_sources[:, None] + first_px[:, chosen].flatten()  # (columns, B*n)
                seen = (starts[..., None] + window.flatten()).flatten().to(x.device)
                gathered = pixels.index_select(0, seen).view(*starts.shape, -1)  # (columns, B*n, 9*C)
                colored = torch.bmm(gathered, filters)  # (columns, B*n, 3)
                order.append(chosen)
                parts.append(colored.view(-1, batch, len(chosen), COLORS).permute(1, 3, 2, 0))
        return torch.cat(parts, 2).index_select(2, torch.cat(order).argsort().to(x.device))


def places(start: int, stop: int, scale: float) -> tuple[Tensor, Tensor]:
    """Sources of output px `start` to `stop`, relative to the first one's source, and their offsets.

    Offsets are rounded to 1e-6, so that mathematically equal offsets are equal.
    """
    positions = torch.arange(start, stop, dtype=torch.float64, device="cpu") / scale
    sources = (positions + EPSILON).floor()
    offsets = ((positions - sources).clamp(min=0) / EPSILON).round() * EPSILON
    return (sources - sources[0]).long(), offsets


@records_arguments
class MetaRDN(ResidualDenseTrunk):
    """A residual dense trunk at LR size and filters for any real scale; RGB only.

    Args:
        num_feat: width between blocks.
        num_block: residual dense blocks D.
        num_layer: convolutions in each, C.
        num_grow_ch: channels that each of them adds, G.
        upscale: default scale, a real number from 1.1 to 4; `forward` accepts another.
        img_range: range the trunk works in; released weights use 255.

    Raises:
        OptionsError: If the scale is not supported.
    """

    def __init__(
        self,
        *,
        num_feat: int = 64,
        num_block: int = 16,
        num_layer: int = 8,
        num_grow_ch: int = 64,
        upscale: float = 2.0,
        img_range: float = 255.0,
    ) -> None:
        super().__init__(
            num_in_ch=COLORS,
            num_feat=num_feat,
            num_block=num_block,
            num_layer=num_layer,
            num_grow_ch=num_grow_ch,
        )
        check_scale(upscale)
        self.scale = int(upscale) if upscale == int(upscale) else upscale
        self.img_range = img_range
        # As in the reference, the mean layers are trainable.
        self.sub_mean = shift_layer([-img_range * mean for mean in DIV2K_MEAN])
        self.add_mean = shift_layer([img_range * mean for mean in DIV2K_MEAN])
        self.P2W = MetaUpscale(num_feat, self.scale)

    def deep(self, x: Tensor) -> Tensor:
        """Returns the feature map of the trunk for RGB in [0, 1]."""
        return self.features(self.sub_mean(x * self.img_range))

    def core(self, x: Tensor) -> Tensor:
        return self.add_mean(self.P2W(self.deep(x))) / self.img_range

    def forward(self, x: Tensor, upscale: float | None = None) -> Tensor:
        """Upscales by `upscale`, or by the scale the network was built for.

        Args:
            x: RGB in [0, 1], (B, 3, H, W).
            upscale: a real number from 1.1 to 4.

        Returns:
            RGB, nominally [0, 1], (B, 3, floor(H*scale + 1e-6), floor(W*scale + 1e-6)).
        """
        if upscale is None:
            return self.core(x)
        check_scale(upscale)
        return self.add_mean(self.P2W(self.deep(x), upscale)) / self.img_range


def check_scale(upscale: float) -> None:
    """Raises OptionsError if the scale is outside the supported range."""
    if not SMALLEST <= upscale <= LARGEST:
        raise OptionsError(
            f"scale {upscale} is not supported by MetaRDN: use a number from {SMALLEST} to {LARGEST:g}"
        )


def infer(state_dict: StateDict) -> dict[str, Any] | None:
    trunk = infer_trunk(state_dict)
    if trunk is None or "P2W.meta_block.2.weight" not in state_dict or trunk.pop("num_in_ch") != COLORS:
        return None
    return {**trunk, **range_argument(state_dict)}


def readings(state_dict: StateDict, arguments: Arguments, evidence: Evidence) -> list[Reading]:
    return range_readings(255.0)


_SIZE = {"num_feat": 64, "num_block": 16, "num_layer": 8, "num_grow_ch": 64}

SPEC = ARCHS.register(
    ArchSpec(
        name="MetaRDN",
        cls=MetaRDN,
        title="Meta-SR: A Magnification-Arbitrary Network for Super-Resolution",
        paper="https://arxiv.org/abs/1903.00875",
        reference="https://github.com/XuecaiHu/Meta-SR-Pytorch",
        license="none stated",
        scales=(2, 3, 4),
        multi_scale=True,
        presets={
            **{f"metardn_x{s}": {**_SIZE, "upscale": s} for s in (2, 3, 4)},
            "metardn_tiny": {"num_feat": 8, "num_block": 2, "num_layer": 2, "num_grow_ch": 8, "upscale": 2},
        },
        bf16=False,  # no skip connection around the trunk: fresh weights are 51 dB from float32
        fp16=False,  # the trunk works on 0..255
        tiling="positional",
        radius=lambda args: args["num_block"] * args["num_layer"] + 4,
        infer=infer,
        readings=readings,
        notes=("any real scale from 1.1 to 4; the default is 2",),
    )
)
