"""Peak memory of execution in rows: the cost model against what tensors take."""

from __future__ import annotations

import pytest
import torch

import hfsr
from hfsr.inference.approximate.profiler import PeakMemoryMode
from hfsr.inference.execution.row_executor import RowExecutor
from hfsr.inference.image_io.sources_and_sinks import TensorSource
from hfsr.inference.planning.cost_model import row_peak_bytes
from hfsr.inference.program.geometry import Region, Size
from hfsr.inference.scheduling.band_heights import BandHeights

from ..conftest import lower_on_cpu


class NoSink:
    """Receives a result and forgets it."""

    def write(self, region: Region, part: torch.Tensor) -> None:
        pass


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_a_dense_network_holds_is_foretold(dtype):
    """Chunks of row buffers, their ends and concatenations, counted as they come and go."""
    model = hfsr.create_model("rrdbnet_tiny", num_feat=16, num_grow_ch=8, num_block=2).eval()
    sized, heights = lower_on_cpu(model, Size(120, 40), dtype), BandHeights(10, 2)
    source, sink = TensorSource(torch.rand(1, 3, 120, 40)), NoSink()
    with torch.inference_mode(), PeakMemoryMode() as live:
        for _ in RowExecutor(sized, [heights], torch.device("cpu")).run(source, sink):
            pass
    foretold = row_peak_bytes(sized, sized.stages[0], heights)
    assert 0.8 <= foretold / live.peak <= 1.2
