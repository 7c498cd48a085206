"""Live feature maps that take the memory of old ones."""

from __future__ import annotations

import hfsr
from hfsr.inference.planning.cost_model import live_bytes
from hfsr.inference.program.geometry import Size
from hfsr.inference.program.sized_program import SizedProgram
from hfsr.inference.program.tracing import trace
from hfsr.inference.scheduling.buffer_reuse import reusable_buffers


def test_new_feature_maps_take_the_memory_of_old_ones():
    sized = SizedProgram(trace(hfsr.create_model("rcan_tiny").eval()), Size(64, 64))
    assert any(reusable_buffers(sized, stage) for stage in sized.stages)
    assert live_bytes(sized, reuse=True) < live_bytes(sized)
