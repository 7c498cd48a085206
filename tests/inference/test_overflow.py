"""Overflow of a short dtype: what is not finite is computed again in float32, and only that."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import hfsr
from hfsr.errors import ImageError
from hfsr.inference.image_io.finite_sink import RemainingSink
from hfsr.inference.image_io.sources_and_sinks import TensorSink, TensorSource
from hfsr.inference.program.geometry import Region, Size
from hfsr.inference.runner import Runner

CPU = torch.device("cpu")


def overflowing(preset: str) -> nn.Module:
    """A network that amplifies bright px beyond the range of fp16 and reduces them again."""
    torch.manual_seed(0)
    model = hfsr.create_model(preset).eval()
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    with torch.no_grad():
        convolutions[0].weight.mul_(4e5 / 255)
        convolutions[-1].weight.div_(4e5 / 255)
        for convolution in convolutions:
            convolution.bias.zero_()
    return model


def run(
    model: nn.Module, x: torch.Tensor, dtype: torch.dtype, tile: int | None
) -> tuple[torch.Tensor, Runner]:
    runner = Runner(model, tile=tile, dtype=dtype, backend="torch", force_backend=False, device=CPU)
    result = torch.full((1, 3, *runner.result_size(Size(*x.shape[-2:]))), float("nan"))
    with torch.inference_mode():
        for _ in runner.run(TensorSource(x), TensorSink(result)):
            pass
    return result, runner


@pytest.mark.parametrize("tile", [None, 24], ids=["rows", "tiles"])
@pytest.mark.parametrize("preset", ["edsr_tiny", "rcan_tiny"])
def test_bright_parts_are_computed_in_fp32(preset: str, tile: int | None) -> None:
    model = overflowing(preset)
    x = torch.full((1, 3, 300, 40), model.shift.mean.mean().item())
    x[..., 250:, :] = 1
    exact, _ = run(model, x, torch.float32, tile)
    result, runner = run(model, x, torch.float16, tile)
    assert exact.isfinite().all()
    assert len(runner.notes) == 1
    assert "fp16 overflowed" in runner.notes[0]
    torch.testing.assert_close(result[..., 500:, :], exact[..., 500:, :], rtol=0, atol=1e-5)
    torch.testing.assert_close(result, exact, rtol=0, atol=0.05)


def test_what_fits_is_not_repeated() -> None:
    torch.manual_seed(0)
    _, runner = run(hfsr.create_model("edsr_tiny").eval(), torch.rand(1, 3, 300, 40), torch.bfloat16, None)
    assert runner.notes == ()


@pytest.mark.parametrize("tile", [None, 0, 24], ids=["rows", "whole", "tiles"])
def test_weights_that_are_not_finite_are_refused(tile: int | None) -> None:
    model = hfsr.create_model("edsr_tiny").eval()
    with torch.no_grad():
        model.conv_last.bias[0] = float("inf")
    with pytest.raises(ImageError, match="holds NaN or infinity: its weights are damaged"):
        run(model, torch.rand(1, 3, 150, 150), torch.float32, tile)


class Counter:
    """A sink that counts how often each px is written."""

    def __init__(self, size: Size) -> None:
        self.counts = torch.zeros(size, dtype=torch.int64)
        self.values = torch.zeros(size)

    def write(self, region: Region, part: torch.Tensor) -> None:
        place = slice(region.top, region.bottom), slice(region.left, region.right)
        self.counts[place] += 1
        self.values[place] = part[0, 0]


@pytest.mark.parametrize(
    "written",
    [
        [],
        [Region(0, 5, 0, 12)],
        [Region(0, 4, 0, 6), Region(0, 4, 6, 12), Region(4, 8, 0, 6)],
        [Region(3, 7, 2, 9)],
    ],
    ids=["nothing", "rows", "tiles", "a rectangle"],
)
def test_every_px_is_written_once(written: list[Region]) -> None:
    size = Size(10, 12)
    image = torch.rand(1, 1, *size)
    counter = Counter(size)
    for region in written:
        counter.write(region, image[..., region.top : region.bottom, region.left : region.right])
    sink = RemainingSink(counter, size, written)
    for region in (Region(0, 7, 0, 5), Region(0, 7, 5, 12), Region(7, 10, 0, 12)):
        sink.write(region, image[..., region.top : region.bottom, region.left : region.right])
    assert (counter.counts == 1).all()
    assert torch.equal(counter.values, image[0, 0])
