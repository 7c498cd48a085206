"""What the exactness tests share: weights that make global pools matter, and the independent tiles others
cut.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hfsr.archs._padding import pad_to_multiple
from hfsr.inference.execution.row_executor import RowExecutor
from hfsr.inference.image_io.sources_and_sinks import TensorSink, TensorSource
from hfsr.inference.program.dtype_lowering import lower
from hfsr.inference.program.geometry import Size
from hfsr.inference.program.sized_program import SizedProgram
from hfsr.inference.program.tracing import trace
from hfsr.inference.scheduling.band_heights import BandHeights
from hfsr.registry import ARCHS

TOLERANCE = 1e-5
"""Largest difference to the whole image in fp32, as a share of the range."""


def loud(model: nn.Module, gain: float = 1.7) -> nn.Module:
    """Scales every convolution: a freshly made deep trunk fades out, and with it what pools do."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.mul_(gain)
    return model


def uneven_image(height: int, width: int) -> Tensor:
    """A dark flat half and a bright noisy half: every part has other statistics than the whole."""
    generator = torch.Generator().manual_seed(7)
    image = torch.rand(1, 3, height, width, generator=generator)
    image[..., : width // 2] *= 0.05
    return image


def patchwork_image(height: int, width: int) -> Tensor:
    """Four quarters from dark to bright, each with noise: other statistics wherever it is cut."""
    generator = torch.Generator().manual_seed(8)
    rows, columns = (torch.arange(side) >= side // 2 for side in (height, width))
    level = 0.05 + 0.3 * rows[:, None] + 0.5 * columns
    return level * torch.rand(1, 3, height, width, generator=generator)


def independent_tiles(model: nn.Module, image: Tensor, tile: int, pad: int = 10) -> Tensor:
    """Upscales tile by tile with some padding, forgetting the rest of the image."""
    scale, (height, width) = int(model.scale), image.shape[-2:]  # type: ignore[arg-type]
    result = torch.empty(1, 3, height * scale, width * scale)
    for y in range(0, height, tile):
        for x in range(0, width, tile):
            top, left = max(0, y - pad), max(0, x - pad)
            bottom, right = min(height, y + tile), min(width, x + tile)
            part = model(image[..., top : min(height, bottom + pad), left : min(width, right + pad)])
            result[..., y * scale : bottom * scale, x * scale : right * scale] = part[
                ...,
                (y - top) * scale : (bottom - top) * scale,
                (x - left) * scale : (right - left) * scale,
            ]
    return result


def lower_on_cpu(model: nn.Module, size: Size, dtype: torch.dtype = torch.float32) -> SizedProgram:
    """The program of a network for images of one size on the CPU."""
    return SizedProgram(lower(trace(model), torch.device("cpu"), dtype), size)


def in_rows(model: nn.Module, image: Tensor, rows: int) -> Tensor:
    """Runs a network as a stream of rows; what nobody writes stays not a number."""
    spec, size = ARCHS.get(type(model).__name__), image.shape[-2:]
    if spec is not None:
        image = pad_to_multiple(image, spec.size_multiple(model.model_args))
    height, width = image.shape[-2:]
    sized = lower_on_cpu(model, Size(height, width))
    result = torch.full((1, 3, height * int(model.scale), width * int(model.scale)), float("nan"))
    heights = [BandHeights(rows, -(-rows // 2))] * len(sized.stages)
    for _ in RowExecutor(sized, heights, torch.device("cpu")).run(TensorSource(image), TensorSink(result)):
        pass
    return result[..., : size[0] * int(model.scale), : size[1] * int(model.scale)]


def limit(whole: Tensor) -> float:
    """The range that differences are measured by."""
    return max(1.0, float(whole.abs().max()))


def assert_equal(parts: Tensor, whole: Tensor) -> None:
    assert parts.shape == whole.shape
    assert (parts - whole).abs().max() <= TOLERANCE * limit(whole)


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield
