"""Peak memory of execution in rows: the cost model against what the executor allocates."""

from __future__ import annotations

import pytest
import torch

import hfsr
from hfsr.inference.approximate.profiler import PeakMemoryMode
from hfsr.inference.execution.row_executor import RowExecutor
from hfsr.inference.image_io.sources_and_sinks import TensorSource
from hfsr.inference.planning.cost_model import live_bytes, row_peak_bytes
from hfsr.inference.program.geometry import Region, Size
from hfsr.inference.program.sized_program import SizedProgram
from hfsr.inference.scheduling.band_heights import BandHeights, choose_band_heights

from ..conftest import lower_on_cpu
from ..test_exactness import PIECEWISE, tiny


class NoSink:
    """Receives a result and forgets it."""

    def write(self, region: Region, part: torch.Tensor) -> None:
        pass


def allocated_bytes(sized: SizedProgram, heights: list[BandHeights]) -> int:
    """Returns the peak bytes of the tensors that a run in rows creates, without the image."""
    source = TensorSource(torch.rand(1, 3, *sized.image))
    with torch.inference_mode(), PeakMemoryMode() as memory:
        for _ in RowExecutor(sized, heights, torch.device("cpu")).run(source, NoSink()):
            pass
    return memory.peak


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("arch", PIECEWISE)
def test_the_memory_of_every_network_is_predicted(arch: str, dtype: torch.dtype) -> None:
    """Row buffers, live feature maps, and what each operator holds while it runs."""
    sized = lower_on_cpu(tiny(arch), Size(160, 72), dtype)
    heights = [choose_band_heights(sized, stage, 1 << 16) for stage in sized.stages]
    rows = max(row_peak_bytes(sized, s, h) for s, h in zip(sized.stages, heights, strict=True))
    predicted = rows + live_bytes(sized, reuse=True)
    assert 0.75 <= predicted / allocated_bytes(sized, heights) <= 1.3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_memory_of_a_dense_network_is_predicted(dtype: torch.dtype) -> None:
    """Its concatenations are virtual, and wide feature maps pass in bands of their own height."""
    model = hfsr.create_model("rrdbnet_tiny", num_feat=16, num_grow_ch=8, num_block=2).eval()
    sized, heights = lower_on_cpu(model, Size(120, 40), dtype), BandHeights(10, 2)
    predicted = row_peak_bytes(sized, sized.stages[0], heights)
    assert 0.8 <= predicted / allocated_bytes(sized, [heights]) <= 1.2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_memory_of_8_bit_integers_is_predicted(dtype: torch.dtype) -> None:
    """Their inputs are rounded in float32."""
    sized = lower_on_cpu(hfsr.from_pretrained("hfsr-x2-small-int8"), Size(160, 72), dtype)
    heights = [choose_band_heights(sized, stage, 1 << 17) for stage in sized.stages]
    predicted = row_peak_bytes(sized, sized.stages[0], heights[0])
    assert 0.75 <= predicted / allocated_bytes(sized, heights) <= 1.3


def test_the_windows_that_meta_sr_gathers_are_predicted() -> None:
    """They are many times larger than its feature maps."""
    sized = lower_on_cpu(tiny("MetaRDN"), Size(540, 1024))
    heights = [choose_band_heights(sized, stage, 10 << 20) for stage in sized.stages]
    predicted = row_peak_bytes(sized, sized.stages[0], heights[0])
    assert 0.9 <= predicted / allocated_bytes(sized, heights) <= 1.1
