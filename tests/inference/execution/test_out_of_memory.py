"""Running out of memory: parts are done again in halves, nothing else changes, and the end is one line."""

from __future__ import annotations

import pytest
import torch

import hfsr
from hfsr.errors import PlanError
from hfsr.inference import Upscaler, runner
from hfsr.inference.program.operators import Convolution

from ..conftest import loud, uneven_image


@pytest.mark.parametrize("kind", [MemoryError, torch.OutOfMemoryError])
@pytest.mark.parametrize("arch", ["rcan_tiny", "a2n_tiny", "drn_tiny", "mirnet_tiny"])
def test_running_out_now_and_then_changes_nothing(arch, kind, monkeypatch):
    """Maps are written over each other: a band that is done again must not read what is gone."""
    monkeypatch.setattr(runner, "_SMALL", 0)
    torch.manual_seed(3)
    model, image = loud(hfsr.create_model(arch).eval()), uneven_image(44, 36)
    whole = model(image)
    honest, calls = Convolution.run, [0]

    def sometimes(self, region, work):
        calls[0] += 1
        if calls[0] in (5, 11, 19, 40):
            raise kind("out of memory")
        return honest(self, region, work)

    monkeypatch.setattr(Convolution, "run", sometimes)
    parts = Upscaler(model, dtype="fp32", device="cpu").tensor(image)
    assert calls[0] > 19
    assert (parts - whole).abs().max() <= 1e-5 * max(1.0, whole.abs().max())


@pytest.mark.parametrize(("tile", "hint"), [(0, "use a tile, or auto"), ("auto", "free some")])
def test_a_whole_image_that_does_not_fit_is_an_error_of_one_line(tile, hint, monkeypatch):
    model = hfsr.create_model("edsr_tiny").eval()

    def never(*_):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(runner, "_SMALL", 0)
    monkeypatch.setattr(type(model), "forward", never)
    monkeypatch.setattr("hfsr.inference.execution.run_context.ExecutionContext.begin_stage", never)
    with pytest.raises(PlanError, match=rf"not enough memory for 40x30 px; .*{hint}"):
        Upscaler(model, dtype="fp32", tile=tile).tensor(torch.rand(1, 3, 30, 40))


def test_a_row_that_never_fits_is_an_error(monkeypatch):
    monkeypatch.setattr(runner, "_SMALL", 0)

    def never(self, region, work):
        raise MemoryError

    monkeypatch.setattr(Convolution, "run", never)
    with pytest.raises(PlanError, match="not enough memory for a row"):
        Upscaler(hfsr.create_model("edsr_tiny").eval(), dtype="fp32").tensor(torch.rand(1, 3, 40, 40))
