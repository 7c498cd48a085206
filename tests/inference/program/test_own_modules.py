"""Networks of users: their result in tiles is that of the whole image, or they are refused."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import hfsr
from hfsr.errors import PlanError


class Blocks(nn.Module):
    """Layers from which the networks below are built."""

    def __init__(self, scale: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.scale = scale
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.middle = nn.Conv2d(8, 8, 3, padding=1)
        self.last = nn.Conv2d(8, 3, 3, padding=1)
        self.narrow = nn.Conv2d(3, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.leaky = nn.LeakyReLU(0.1, inplace=True)
        self.norm = nn.BatchNorm2d(8, track_running_stats=False)
        self.map = nn.Parameter(torch.rand(1, 8, 1, 40))

    def forward(self, x: Tensor) -> Tensor:
        return self.core(x)

    def core(self, x: Tensor) -> Tensor:
        return self.last(self.first(x))


class PreActivation(Blocks):
    def core(self, x: Tensor) -> Tensor:
        f = self.first(x)
        return self.last(f + self.middle(self.relu(f)))


class LeakyPreActivation(Blocks):
    def core(self, x: Tensor) -> Tensor:
        f = self.first(x)
        return self.last(f + self.middle(self.leaky(f)))


class Unassigned(Blocks):
    def core(self, x: Tensor) -> Tensor:
        f = self.first(x)
        self.relu(f)
        return self.last(f)


class UnassignedFunction(Blocks):
    def core(self, x: Tensor) -> Tensor:
        f = self.first(x)
        F.leaky_relu(f, 0.2, True)
        return self.last(f)


class PooledAfterActivation(Blocks):
    def core(self, x: Tensor) -> Tensor:
        f = self.first(x)
        return self.last(self.relu(f) * f.mean((2, 3), keepdim=True))


class Doubled(Blocks):
    def core(self, x: Tensor) -> Tensor:
        f = self.narrow(x)
        return self.last(torch.cat([f, f], 1))


class ByName(Blocks):
    def core(self, x: Tensor) -> Tensor:
        f = self.narrow(x)
        return self.last(torch.cat(tensors=[f, 2 * f], dim=1))


EXACT = [
    PreActivation,
    LeakyPreActivation,
    Unassigned,
    UnassignedFunction,
    PooledAfterActivation,
    Doubled,
    ByName,
]


class Slice(Blocks):
    def core(self, x: Tensor) -> Tensor:
        f = self.first(x)
        part = f[:, :8]
        self.relu(part)
        return self.last(f + part)


class SecondName(Blocks):
    def core(self, x: Tensor) -> Tensor:
        f = self.first(x)
        g = f
        g += 1
        return self.last(f * g)


class MoreThanCore(Blocks):
    def forward(self, x: Tensor) -> Tensor:
        return self.core(x - 0.5) + 0.5


class Antialiased(Blocks):
    def core(self, x: Tensor) -> Tensor:
        return F.interpolate(self.last(self.first(x)), scale_factor=2, mode="bicubic", antialias=True)


class OwnStatistics(Blocks):
    def core(self, x: Tensor) -> Tensor:
        return self.last(self.norm(self.first(x)))


class MapOfFixedSize(Blocks):
    def core(self, x: Tensor) -> Tensor:
        return self.last(self.first(x) * self.map)


REFUSED = [
    (Slice, "works in place on a tensor that shares its memory"),
    (SecondName, "computes another result in tiles than as a whole"),
    (MoreThanCore, "computes another result in tiles than as a whole"),
    (OwnStatistics, "batch normalization by the statistics of the image itself"),
    (MapOfFixedSize, r"a constant of shape \(1, 8, 1, 40\)"),
]


@pytest.mark.parametrize("tile", [16, 0, "auto"])
@pytest.mark.parametrize("kind", EXACT)
def test_the_result_in_tiles_is_that_of_the_whole_image(kind: type[Blocks], tile: int | str) -> None:
    model = kind().eval()
    side = 132 if tile == "auto" else 40  # smaller images run whole
    x = torch.rand(1, 3, side, side)
    with torch.no_grad():
        expected = model(x)
    found = hfsr.Upscaler(model, dtype="fp32", tile=tile).tensor(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("kind", "message"), REFUSED)
def test_other_results_are_refused(kind: type[Blocks], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        hfsr.Upscaler(kind().eval(), dtype="fp32", tile=16).tensor(torch.rand(1, 3, 40, 40))


def test_antialiased_interpolation_is_refused() -> None:
    with pytest.raises(PlanError, match="antialiased interpolation cannot be tiled"):
        hfsr.Upscaler(Antialiased(scale=2).eval(), dtype="fp32", tile=16).tensor(torch.rand(1, 3, 40, 40))


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning")
def test_hooks_are_refused() -> None:
    model = Blocks().eval()
    nn.utils.weight_norm(model.last)
    x = torch.rand(1, 3, 40, 40)
    with pytest.raises(PlanError, match=r"'last' has hooks \(weight_norm"):
        hfsr.Upscaler(model, dtype="fp32", tile=16).tensor(x)
    nn.utils.remove_weight_norm(model.last)
    with torch.no_grad():
        expected = model(x)
    found = hfsr.Upscaler(model, dtype="fp32", tile=16).tensor(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_threads_prepare_networks_at_once() -> None:
    """fx replaces methods of all modules of the process while it traces."""
    call, x, problems = nn.Module.__call__, torch.rand(1, 3, 40, 40), list[BaseException]()

    def run(upscaler: hfsr.Upscaler) -> None:
        try:
            for _ in range(20):
                upscaler.model(x)  # modules that run while another thread traces
            upscaler.tensor(x)
        except Exception as error:
            problems.append(error)

    shared = hfsr.Upscaler(hfsr.create_model("rcan_tiny").eval(), dtype="fp32", tile=16)
    single = [hfsr.Upscaler(hfsr.create_model("rcan_tiny").eval(), dtype="fp32", tile=16) for _ in range(3)]
    threads = [threading.Thread(target=run, args=(each,)) for each in (*single, shared, shared)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert nn.Module.__call__ is call
