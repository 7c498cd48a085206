"""Pieces equal the whole image, for random networks made of every operator the planner knows."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from hfsr.archs import BlurPool
from hfsr.archs._resize import Bicubic
from hfsr.archs.metardn import MetaUpscale
from hfsr.inference import Upscaler
from hfsr.inference.program.tracing import trace

from .conftest import assert_equal, in_rows, independent_tiles, limit, patchwork_image


class Gate(nn.Module):
    """Channel attention that matters, also where its sigmoid is nought or one."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.scale = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        mean = self.pool(x)
        return x * torch.sigmoid(self.scale(mean) * 20) + mean


class MeanShiftByStatistics(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - 0.5 * x.mean((2, 3), keepdim=True)


class Residual(nn.Module):
    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.a = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation)
        self.b = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.b(F.leaky_relu(self.a(x), 0.1))


class DownAndUp(nn.Module):
    """Half size and back, joined with what came in; sizes are made even by the network's own first layer."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(channels, channels, 4, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(channels, channels, 4, stride=2, padding=1)
        self.fuse = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.fuse(torch.cat([x, self.up(F.relu(self.down(x)))], 1))


class BlurAndUp(nn.Module):
    """Half size by a blur that is reflected at the border, pooled there, and back."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down = nn.Sequential(
            nn.PReLU(), BlurPool(), nn.Conv2d(channels, channels, 3, padding=1), Gate(channels)
        )
        self.up = nn.ConvTranspose2d(channels, channels, 3, stride=2, padding=1, output_padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(x, x, self.up(self.down(x)))


class Spatial(nn.Module):
    """Gates every px by the largest and the mean of the channels around it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 5, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        largest, mean = x.amax(1, keepdim=True), torch.mean(x, 1, keepdim=True)
        return x * torch.sigmoid(4 * self.conv(torch.cat([largest, mean], 1)))


class Trimmed(nn.Module):
    """A transposed convolution that overhangs on one side, where it is cut off."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)[..., :-1, :-1]


class Enlarge(nn.Module):
    def __init__(self, mode: str, factor: int) -> None:
        super().__init__()
        self.mode, self.factor = mode, factor

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=self.factor, mode=self.mode)


def layer(kind: str, channels: int) -> nn.Module:
    return {
        "conv5": lambda: nn.Conv2d(channels, channels, 5, padding=2),
        "grouped": lambda: nn.Conv2d(channels, channels, (3, 1), padding=(1, 0), groups=2),
        "valid-free": lambda: nn.Sequential(nn.PReLU(), nn.Conv2d(channels, channels, 1), nn.Tanh()),
        "dilated": lambda: Residual(channels, 2),
        "residual": lambda: Residual(channels, 1),
        "gate": lambda: Gate(channels),
        "statistics": MeanShiftByStatistics,
        "down-up": lambda: DownAndUp(channels),
        "blur-up": lambda: BlurAndUp(channels),
        "spatial": Spatial,
        "folded": lambda: nn.Sequential(
            nn.PixelUnshuffle(2), nn.Conv2d(4 * channels, 4 * channels, 3, padding=1), nn.PixelShuffle(2)
        ),
    }[kind]()


ENLARGERS = {
    "shuffle2": (2, lambda c: nn.Sequential(nn.Conv2d(c, 4 * c, 3, padding=1), nn.PixelShuffle(2))),
    "shuffle3": (3, lambda c: nn.Sequential(nn.Conv2d(c, 9 * c, 1), nn.PixelShuffle(3))),
    "nearest": (2, lambda _: Enlarge("nearest", 2)),
    "bilinear": (2, lambda _: Enlarge("bilinear", 2)),
    "bicubic": (4, lambda _: Enlarge("bicubic", 4)),
    "matlab": (3, lambda _: Bicubic(3)),
    "reduced": (3, lambda c: nn.Sequential(nn.Conv2d(c, 16 * c, 1), nn.PixelShuffle(4), Bicubic(3, 4))),
    "trimmed": (2, Trimmed),
    "meta": (2, lambda c: nn.Sequential(MetaUpscale(c, 2), nn.Conv2d(3, c, 1))),
    "deconv9": (3, lambda c: nn.ConvTranspose2d(c, c, 9, stride=3, padding=4, output_padding=2)),
    "deconv8": (4, lambda c: nn.ConvTranspose2d(c, c, 8, stride=4, padding=2)),
}


class RandomNetwork(nn.Module):
    def __init__(self, layers: list[str], enlarger: str, tail: list[str]) -> None:
        super().__init__()
        self.scale, make = ENLARGERS[enlarger]
        self.head = nn.Conv2d(3, 6, 3, padding=1)
        self.trunk = nn.Sequential(*(layer(kind, 6) for kind in layers))
        self.enlarge = make(6)
        self.tail = nn.Sequential(*(layer(kind, 6) for kind in tail), nn.Conv2d(6, 3, 3, padding=1))

    def core(self, x: Tensor) -> Tensor:
        shallow = self.head(x)
        return self.tail(self.enlarge(self.trunk(shallow) + shallow)) + F.interpolate(
            x, scale_factor=self.scale
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.core(x)


KINDS = [
    "blur-up",
    "conv5",
    "dilated",
    "down-up",
    "folded",
    "gate",
    "grouped",
    "residual",
    "spatial",
    "statistics",
    "valid-free",
]


GAINS = (1.7, 2.5, 4.0, 6.0)
"""By which all weights are multiplied, one after the other, until what lies beyond a tile matters."""
CUT: list[bool] = []
"""For each random network that was cut, whether it pools."""


def louder(model: nn.Module, gain: float) -> nn.Module:
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            module.weight.mul_(gain)
    return model


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    layers=st.lists(st.sampled_from(KINDS), min_size=1, max_size=4),
    enlarger=st.sampled_from(sorted(ENLARGERS)),
    tail=st.lists(st.sampled_from(KINDS), max_size=1),
    height=st.integers(1, 20).map(lambda n: 2 * n),
    width=st.integers(1, 20).map(lambda n: 2 * n),
    tile=st.integers(8, 45),
    rows=st.integers(1, 45),
)
def test_random_networks_are_exact(layers, enlarger, tail, height, width, tile, rows):
    """At any size and tile, also where a tile is larger than the image, or a halo."""
    image = patchwork_image(height, width)
    for gain in GAINS:
        torch.manual_seed(len(layers) * 100 + height)
        model = louder(RandomNetwork(layers, enlarger, tail).eval(), gain)
        whole, program = model(image), trace(model)
        is_pooled = program.kind == "pooled"
        # Tiles by themselves: with all the halo there is, where only pools are to differ, else without one.
        # They are even, as networks that halve a map want them.
        side, halo = tile - tile % 2, program.radius() + program.radius() % 2 if is_pooled else 0
        is_cut = side + halo < max(height, width)
        apart = float((independent_tiles(model, image, side, halo) - whole).abs().max() / limit(whole))
        if not is_cut or apart >= 1e-2:
            break
    assert_equal(Upscaler(model, tile=tile, dtype="fp32", device="cpu").tensor(image), whole)
    assert_equal(in_rows(model, image, rows), whole)
    if is_cut:
        assert apart >= 1e-2
        CUT.append(is_pooled)


def test_many_random_networks_were_cut_in_tiles_that_differ():
    """Without it, the test above would prove nothing where all tiles are as large as their images."""
    if not CUT:
        pytest.skip("the random networks ran in another process")
    assert min(CUT.count(True), CUT.count(False)) >= 8
