"""Pieces equal the whole image, for our networks and for random ones made of every operator the planner
knows.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

import hfsr
from hfsr.archs import BlurPool
from hfsr.archs._padding import pad_to_multiple
from hfsr.archs._resize import Bicubic
from hfsr.archs.metardn import MetaUpscale
from hfsr.inference import Upscaler
from hfsr.inference.execute import execute
from hfsr.inference.graph import trace
from hfsr.inference.regions import Region, Size
from hfsr.inference.schedule import Bands
from hfsr.registry import ARCHS

from .conftest import independent_tiles, loud, uneven_image

TOLERANCE = 1e-5

PIECEWISE = [
    name
    for name in hfsr.list_archs()
    if ARCHS[name].role == "restorer" and ARCHS[name].tiling in ("local", "pooled", "positional")
]


def tiny(arch: str) -> nn.Module:
    torch.manual_seed(3)
    preset = next(name for name in ARCHS[arch].presets if name.endswith("_tiny"))
    return hfsr.create_model(preset).eval()


def in_rows(model: nn.Module, image: Tensor, rows: int) -> Tensor:
    """Runs a network as a stream of rows; what nobody writes stays not a number."""
    spec, size = ARCHS.get(type(model).__name__), image.shape[-2:]
    if spec is not None:
        image = pad_to_multiple(image, spec.size_multiple(model.model_args))
    height, width = image.shape[-2:]
    program = trace(model)
    program.prepare(torch.device("cpu"), torch.float32)
    result = torch.full((1, 3, height * int(model.scale), width * int(model.scale)), float("nan"))

    def read(r: Region) -> Tensor:
        return image[..., r.top : r.bottom, r.left : r.right]

    def write(r: Region, part: Tensor) -> None:
        result[..., r.top : r.bottom, r.left : r.right] = part

    bands = [Bands(rows, -(-rows // 2))] * len(program.stages)
    for _ in execute(program, Size(height, width), read, write, bands=bands, device=torch.device("cpu")):
        pass
    return result[..., : size[0] * int(model.scale), : size[1] * int(model.scale)]


def assert_equal(parts: Tensor, whole: Tensor) -> None:
    assert parts.shape == whole.shape
    assert (parts - whole).abs().max() <= TOLERANCE * max(1.0, whole.abs().max())


@pytest.mark.parametrize("arch", PIECEWISE)
@pytest.mark.parametrize(("height", "width"), [(45, 61), (17, 90), (1, 1), (1, 40), (33, 2)])
@pytest.mark.parametrize("tile", [8, 13, 32, 500])
def test_pieces_equal_the_whole_image(arch, height, width, tile):
    model = loud(tiny(arch))
    image = uneven_image(height, width)
    whole = model(image)
    assert_equal(Upscaler(model, tile=tile, dtype="fp32", device="cpu").tensor(image), whole)


@pytest.mark.parametrize("arch", PIECEWISE)
@pytest.mark.parametrize(("height", "width"), [(45, 61), (1, 1), (90, 17), (2, 33)])
@pytest.mark.parametrize("rows", [1, 3, 16, 200])
def test_a_stream_of_rows_equals_the_whole_image(arch, height, width, rows):
    model, image = loud(tiny(arch)), uneven_image(height, width)
    assert_equal(in_rows(model, image, rows), model(image))


@pytest.mark.parametrize("arch", [name for name in PIECEWISE if ARCHS[name].tiling == "pooled"])
def test_the_pools_of_these_weights_matter(arch):
    """Without this, the test above would prove nothing about pooling."""
    model = loud(tiny(arch))
    image = uneven_image(45, 61)
    assert (independent_tiles(model, image, 32) - model(image)).abs().max() >= 1e-2


@pytest.mark.parametrize("arch", [name for name in PIECEWISE if ARCHS[name].tiling == "local"])
def test_the_halos_of_these_weights_matter(arch):
    """Nor would it about halos, if tiles without any were as good."""
    model, image = loud(tiny(arch)), uneven_image(45, 61)
    assert (independent_tiles(model, image, 32, pad=0) - model(image)).abs().max() >= 1e-2


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["a2n_x2", "drn_s_x4"])
def test_pooled_networks_of_full_size_are_exact_in_pieces(preset):
    """The presets that people run, with weights that make their pools matter."""
    torch.manual_seed(3)
    model, image = loud(hfsr.create_model(preset).eval(), 1.3), uneven_image(60, 84)
    whole = model(image)
    span = float(whole.max() - whole.min())
    for tile in (48, "auto"):
        parts = Upscaler(model, tile=tile, dtype="fp32", device="cpu").tensor(image)
        assert (parts - whole).abs().max() <= TOLERANCE * span
    assert (independent_tiles(model, image, 48) - whole).abs().max() >= 1e-2 * span


@pytest.mark.parametrize("arch", PIECEWISE)
def test_stated_kind_and_radius_are_those_of_the_graph(arch):
    model, spec = tiny(arch), ARCHS[arch]
    program = trace(model)
    assert (program.kind, program.radius()) == (spec.tiling, spec.radius(model.model_args))


class Gate(nn.Module):
    """Channel attention whose weights are large enough to matter."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.scale = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.scale(self.pool(x)) * 20)


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


@settings(
    max_examples=40,
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
    torch.manual_seed(len(layers) * 100 + height)
    model = RandomNetwork(layers, enlarger, tail).eval()
    image = uneven_image(height, width)
    whole = model(image)
    assert_equal(Upscaler(model, tile=tile, dtype="fp32", device="cpu").tensor(image), whole)
    assert_equal(in_rows(model, image, rows), whole)
