"""Accelerators by their names: accepted if there, one line if not, and one line for a missing operator."""

from __future__ import annotations

import pytest
import torch

import hfsr
from hfsr.cli import main
from hfsr.errors import OptionsError, PlanError
from hfsr.inference import Upscaler
from hfsr.inference.image_io.sources_and_sinks import TensorSink, TensorSource
from hfsr.inference.runtime import accelerator, memory
from hfsr.inference.runtime.precision import choose_device, is_native_bf16
from hfsr.samples import SAMPLE


@pytest.fixture
def only(monkeypatch):
    """Returns a function that makes torch see two devices of one type, and no others."""

    def see(kind: str) -> None:
        monkeypatch.setattr("hfsr.inference.runtime.precision.is_available", lambda each: each == kind)
        module = getattr(torch, kind)
        monkeypatch.setattr(module, "device_count", lambda: 2)
        if kind != "mps":
            monkeypatch.setattr(module, "current_device", lambda: 1)

    return see


@pytest.mark.parametrize("kind", accelerator.ACCELERATORS)
def test_a_device_that_is_missing_is_one_line(kind, only):
    other = "xpu" if kind == "cuda" else "cuda"
    only(other)
    with pytest.raises(OptionsError, match=f"this torch sees no {kind.upper()} device; use {other} or cpu"):
        choose_device(kind)


def test_the_command_says_it_in_one_line(capsys, tmp_path):
    command = ["upscale", str(SAMPLE), "-o", str(tmp_path / "a.png"), "--device", "cuda"]
    assert main(command) == 1
    assert capsys.readouterr().err.splitlines() == [
        "hfsr upscale: device 'cuda' is not available: this torch sees no CUDA device; use cpu"
    ]


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        ("mps", "mps", "mps:0"),
        ("xpu", "xpu", "xpu:1"),
        ("xpu", "xpu:0", "xpu:0"),
        ("cuda", "cuda", "cuda:1"),
    ],
)
def test_devices_that_are_there(only, kind, name, expected):
    only(kind)
    assert choose_device(name) == torch.device(expected)
    with pytest.raises(OptionsError, match=f"does not exist; the last is {kind}:1"):
        choose_device(f"{kind}:2")


@pytest.mark.parametrize("name", ["hpu", "meta", "nonsense", 3.5])
def test_other_devices_are_one_line(name):
    with pytest.raises(OptionsError, match="use cpu, cuda, mps or xpu, with an index"):
        choose_device(name)


def test_bf16_where_the_device_says_that_it_has_it(monkeypatch):
    monkeypatch.setattr(torch.xpu, "is_bf16_supported", lambda: True, raising=False)
    assert is_native_bf16(torch.device("xpu", 0))
    assert not is_native_bf16(torch.device("mps", 0))


def test_free_memory_of_an_xpu_counts_what_its_allocator_keeps(monkeypatch):
    for name, value in (("mem_get_info", (100, 200)), ("memory_reserved", 30), ("memory_allocated", 10)):
        monkeypatch.setattr(torch.xpu, name, lambda device, value=value: value)
    assert memory.free_memory(torch.device("xpu", 0)) == 120


def test_an_operator_that_a_device_lacks_is_one_line(monkeypatch):
    runner = Upscaler(hfsr.create_model("edsr_tiny"), dtype="fp32", device="cpu")._runner

    def lacking(*args):
        raise NotImplementedError("The operator 'aten::some' is not implemented for MPS.\nMore lines.")

    monkeypatch.setattr(type(runner.model), "forward", lacking)
    source, sink = TensorSource(torch.rand(1, 3, 8, 8)), TensorSink(torch.empty(1, 3, 16, 16))
    with pytest.raises(NotImplementedError):  # on a CPU it is a fault of the network
        next(runner.run(source, sink))
    runner.device = torch.device("mps", 0)
    with pytest.raises(PlanError, match=r"^mps:0 cannot run EDSR x2 \(The .* for MPS\.\); use --device cpu$"):
        next(runner.run(source, sink))
