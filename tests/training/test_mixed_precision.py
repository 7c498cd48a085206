"""bf16 is used where it is native; elsewhere training is fp32, and says so."""

from __future__ import annotations

import logging

import pytest
import torch

from hfsr import training
from hfsr.errors import OptionsError
from hfsr.inference.runtime.precision import is_native_bf16
from hfsr.training.engine import Engine
from hfsr.training.loop import mixed_precision
from hfsr.training.loop.mixed_precision import choose_precision

CPU = torch.device("cpu")


@pytest.fixture
def avx2(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU without bf16, for whoever asks the one place that knows."""
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "avx2")


@pytest.mark.parametrize(
    ("limit", "avx512_bf16", "amx", "native"),
    [
        (None, False, False, False),
        (None, True, False, True),
        (None, False, True, True),
        ("DEFAULT", True, True, True),
        ("AVX2", True, True, False),
        ("avx512_core_vnni", True, True, False),
        ("AVX512_CORE_BF16", True, True, True),
        ("AVX512_CORE_BF16", False, True, False),
        ("AVX512_CORE_AMX", False, True, True),
    ],
)
def test_what_is_native_follows_processor_and_limit(monkeypatch, limit, avx512_bf16, amx, native):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    for variable in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
        monkeypatch.delenv("DNNL_MAX_CPU_ISA", raising=False)
        if limit is not None:
            monkeypatch.setenv(variable, limit)
        assert is_native_bf16(CPU) is native


@pytest.mark.usefixtures("avx2")
def test_without_native_bf16_it_trains_in_fp32_with_one_line(tmp_path, options, caplog):
    with caplog.at_level(logging.INFO, logger="hfsr"):
        mixed = training.train(options("use_amp=true", "name=mixed"), root=tmp_path)
    lines = [record.getMessage() for record in caplog.records]
    note = "use_amp: this CPU does not compute in bf16 natively; training in fp32, which is faster"
    assert lines.count(note) == 1
    assert "precision fp32" in lines[0]
    plain = training.train(options("name=plain"), root=tmp_path)
    one, other = (
        (folder / "models/net_g_latest/model.safetensors").read_bytes() for folder in (mixed, plain)
    )
    assert one == other


@pytest.mark.usefixtures("avx2")
def test_the_check_says_it_too(options):
    said = str(training.check_training(options("use_amp=true")))
    assert "on cpu in fp32: " in said
    assert said.endswith(
        "use_amp: this CPU does not compute in bf16 natively; training in fp32, which is faster"
    )
    assert "use_amp" not in str(training.check_training(options()))


def test_with_native_bf16_it_is_used(tmp_path, options, monkeypatch):
    monkeypatch.setattr(mixed_precision, "is_native_bf16", lambda _: True)
    assert Engine(options("use_amp=true"), tmp_path).accelerator.mixed_precision == "bf16"
    assert Engine(options(), tmp_path).accelerator.mixed_precision == "no"


def test_an_old_gpu_is_told_of_float16(options, monkeypatch):
    monkeypatch.setattr(mixed_precision, "is_native_bf16", lambda _: False)
    precision = choose_precision(options("use_amp=true"), torch.device("cuda", 0))
    assert (precision.mixed, precision.name) == ("no", "fp32")
    assert precision.note.endswith("; amp_bf16: false trains in float16")
    assert (
        choose_precision(options("use_amp=true", "amp_bf16=false"), torch.device("cuda", 0)).mixed == "fp16"
    )
    with pytest.raises(OptionsError, match="needs a GPU"):
        choose_precision(options("use_amp=true", "amp_bf16=false"), CPU)
