"""Stages compiled by another engine give what torch gives, on every network that is cut exactly."""

from __future__ import annotations

import gc
import importlib.util
import logging
import os
import subprocess
import sys
import weakref

import numpy as np
import pytest
import torch

from hfsr.errors import MissingDependencyError, OptionsError
from hfsr.inference import Upscaler, backends, runner
from hfsr.inference.backends import compiled, selection, window_executor
from hfsr.inference.backends.openvino import OpenVinoEngine, OpenVinoStage, preserve_root_logger
from hfsr.inference.runtime.memory import fix_planned_memory
from hfsr.inference.runtime.precision import is_native_bf16
from hfsr.model_zoo import create_model
from hfsr.registry import ARCHS

from ..conftest import independent_tiles, loud, uneven_image

SIZE = (40, 56)
HEAVY = ("MIRNet",)  # many stages to compile
EXACT = sorted(
    name
    for name, spec in ARCHS.own().items()
    if spec.role == "restorer" and spec.tiling in ("local", "pooled")
)
POOLED = [name for name in EXACT if ARCHS[name].tiling == "pooled" and name not in HEAVY]


def tiny(name: str) -> torch.nn.Module:
    preset = next(p for p in ARCHS[name].presets if p.endswith("_tiny"))
    return loud(create_model(preset)).eval()


def difference(model: torch.nn.Module, x: torch.Tensor, **words: object) -> float:
    """Largest difference to the whole image by torch, as a share of the range."""
    whole = model(x)
    spread = float(whole.max() - whole.min())
    found = Upscaler(model, backend="openvino", **words).tensor(x)  # type: ignore[arg-type]
    return float((found - whole).abs().max()) / max(spread, 1.0)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in HEAVY else n for n in EXACT]
)
def test_windows_equal_the_whole_image_by_torch(name):
    model, x = tiny(name), uneven_image(*SIZE)
    if ARCHS[name].tiling == "pooled":
        whole = model(x)
        apart = (independent_tiles(model, x, tile=16) - whole).abs().max()
        assert float(apart) / max(float(whole.max() - whole.min()), 1.0) >= 1e-2
    assert difference(model, x, tile=16, dtype="fp32") <= 1e-5


@pytest.mark.parametrize("size", [(1, 1), (3, 70), (23, 41)])
@pytest.mark.parametrize("tile", ["auto", 0, 8])
def test_any_size_and_tile(size, tile):
    assert difference(tiny("EDSR"), uneven_image(*size), tile=tile, dtype="fp32") <= 1e-5


def test_bf16_is_near_fp32():
    if not is_native_bf16(torch.device("cpu")):
        pytest.skip("this CPU has no bf16")
    model, x = create_model("edsr_tiny").eval(), uneven_image(*SIZE)
    found = Upscaler(model, backend="openvino", tile=16, dtype="bf16").tensor(x)
    error = float(((found - model(x)) ** 2).mean())
    assert 10 * np.log10(1 / error) >= 50


def test_bf16_is_left_to_torch_where_the_cpu_lacks_it(monkeypatch):
    model, x = create_model("edsr_tiny").eval(), uneven_image(*SIZE)
    monkeypatch.setattr(selection, "is_native_bf16", lambda device: False)
    with pytest.raises(OptionsError, match=r"computes in bf16 only on a CPU that has it.*use dtype fp32, or"):
        Upscaler(model, backend="openvino", dtype="bf16")
    upscaler = Upscaler(model, backend="auto", dtype="bf16")
    upscaler.tensor(x)
    assert upscaler.backend == "torch"
    assert "openvino computes in bf16 only" in upscaler.backend_reason
    assert Upscaler(model, backend="openvino", dtype="fp32").backend == "openvino"


@pytest.mark.parametrize("keeps", [True, False], ids=["kept", "released"])
def test_what_a_request_points_at_lives_as_long_as_it(monkeypatch, keeps):
    pointed, alive = [], []
    share, release = OpenVinoStage._share, OpenVinoStage.release

    def recorded(self, x):
        pointed.append(weakref.ref(x))
        return share(self, x)

    def checked(self):
        alive.extend(reference() is not None for reference in pointed)
        release(self)

    monkeypatch.setattr(OpenVinoStage, "_share", recorded)
    monkeypatch.setattr(OpenVinoStage, "release", checked)
    monkeypatch.setattr(compiled, "kept_bytes", lambda device: (1 << 40) if keeps else 0)
    up = Upscaler(tiny("EDSR"), backend="openvino", tile=0, dtype="fp32")
    up.tensor(uneven_image(*SIZE))
    if keeps:
        alive = [reference() is not None for reference in pointed]
    assert alive == [True, True]  # one window: its result and its input
    del up
    gc.collect()
    assert not any(reference() for reference in pointed)


def test_an_image_of_the_same_size_compiles_nothing_anew(monkeypatch):
    compiles = []
    convert = OpenVinoEngine._convert
    monkeypatch.setattr(OpenVinoEngine, "_convert", lambda self, *a: compiles.append(a) or convert(self, *a))
    up = Upscaler(tiny("EDSR"), backend="openvino", tile=16, dtype="fp32")
    first = up.tensor(uneven_image(*SIZE))
    count = len(compiles)
    assert count == len({a[0] for a in compiles})  # all windows of a stage have one shape
    assert torch.equal(up.tensor(uneven_image(*SIZE)), first)
    assert len(compiles) == count


def test_deep_chains_are_cut_where_the_halo_costs_more_than_moving_feature_maps(monkeypatch):
    model = create_model("EDSR", num_feat=8, num_block=24, upscale=2).eval()
    up = Upscaler(model, backend="openvino", tile=16, dtype="fp32")
    monkeypatch.setattr(
        compiled.choose_segments.__globals__["_StageCutter"],
        "_cut_positions",
        lambda self, stage: [0, len(stage.nodes) // 3, 2 * len(stage.nodes) // 3, len(stage.nodes)],
    )
    program, _ = up._runner.program, up.plan(96, 96)
    cut = up._runner._compiled._last[1].sized
    assert len(cut.stages) > len(program.stages)
    x = uneven_image(48, 48)
    assert float((up.tensor(x) - model(x)).abs().max()) <= 1e-5


def test_auto_leaves_small_images_to_torch(monkeypatch):
    monkeypatch.setattr(OpenVinoEngine, "__init__", lambda *a: pytest.fail("compiled for a small image"))
    up = Upscaler(tiny("EDSR"), backend="auto", tile=16)
    up.tensor(uneven_image(*SIZE))
    assert up.backend == "torch"


def test_auto_leaves_pooled_networks_to_torch(monkeypatch):
    monkeypatch.setattr(compiled, "_WORTH_COMPILING", 1.0)
    monkeypatch.setattr(OpenVinoEngine, "__init__", lambda *a: pytest.fail("compiled for a pooled network"))
    up = Upscaler(tiny("A2N"), backend="auto", tile=16)
    up.tensor(uneven_image(*SIZE))
    assert up.backend == "torch"
    assert "pools over the image" in up.backend_reason


@pytest.mark.parametrize("name", POOLED)
def test_pooled_networks_run_whole_where_they_fit(monkeypatch, name):
    compiles = []
    compile_ = OpenVinoEngine.compile
    monkeypatch.setattr(OpenVinoEngine, "compile", lambda self, *a: compiles.append(a) or compile_(self, *a))
    model = tiny(name)
    up = Upscaler(model, backend="openvino", dtype="fp32")
    for size in ((160, 131), (160, 131), (129, 144)):
        x = uneven_image(*size)
        whole = model(x)
        found = up.tensor(x)
        assert float((found - whole).abs().max()) / max(float(whole.max() - whole.min()), 1.0) <= 1e-5
    assert (up.backend, up.used_tile) == ("openvino", 0)
    assert len(compiles) == 3  # each image was one stage
    monkeypatch.setattr(compiled, "kept_bytes", lambda device: 1 << 10)
    up.tensor(uneven_image(64, 80))
    assert len(compiles) > 4  # by stages, as it does not fit


@pytest.mark.slow
def test_a_pool_over_a_large_image_is_as_exact():
    model, x = tiny("RCAN"), uneven_image(1024, 1024) + 0.5
    assert difference(model, x, tile=0, dtype="fp32") <= 1e-5


def test_auto_compiles_for_large_ones(monkeypatch):
    monkeypatch.setattr(compiled, "_WORTH_COMPILING", 1.0)
    up = Upscaler(tiny("EDSR"), backend="auto", tile=16)
    up.tensor(uneven_image(*SIZE))
    assert up.backend == "openvino"
    assert "openvino on cpu" in up.summary


def test_without_openvino_auto_is_torch_and_the_name_is_one_line(monkeypatch):
    monkeypatch.setattr(selection.importlib.util, "find_spec", lambda name: None)
    assert importlib.util.find_spec("openvino") is None
    assert Upscaler(tiny("EDSR"), backend="auto").backend == "torch"
    with pytest.raises(MissingDependencyError, match=r"pip install .*'.\[openvino\]'"):
        Upscaler(tiny("EDSR"), backend="openvino")


@pytest.mark.parametrize(
    ("name", "network", "device", "message"),
    [
        ("openvina", "edsr_tiny", "cpu", "did you mean 'openvino'"),
        ("openvino", "csnln_tiny", "cpu", "windowed: use torch"),
        ("openvino", "edsr_tiny", "cuda", "runs on the CPU"),
    ],
)
def test_what_cannot_run_is_one_line(name, network, device, message):
    with pytest.raises(OptionsError, match=message):
        backends.choose_backend(name, create_model(network), torch.device(device), torch.float32)


def test_auto_tells_why_it_runs_torch(monkeypatch):
    cpu, edsr = torch.device("cpu"), create_model("edsr_tiny")
    assert selection.reason_for_torch(edsr, cpu, torch.float32) is None
    assert "not on cuda:0" in selection.reason_for_torch(edsr, torch.device("cuda", 0), torch.float32)
    assert "pools over the image" in selection.reason_for_torch(create_model("rcan_tiny"), cpu, torch.float32)
    assert "is windowed" in selection.reason_for_torch(create_model("csnln_tiny"), cpu, torch.float32)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert selection.reason_for_torch(edsr, cpu, torch.float32) == "openvino is not installed"


def test_auto_tells_why_it_compiles(monkeypatch):
    monkeypatch.setattr(compiled, "_WORTH_COMPILING", 1.0)
    up = Upscaler(create_model("edsr_tiny").eval(), backend="auto", dtype="fp32", tile=32)
    up.tensor(torch.rand(1, 3, 40, 40))
    assert (up.backend, up.backend_reason) == (
        "openvino",
        "the image is large enough to compile the network for it",
    )
    assert Upscaler(up.model, backend="openvino").backend_reason is None


def test_a_window_never_leaves_the_image():
    shape, image = window_executor.Size(8, 8), window_executor.Size(10, 30)
    window = window_executor._shift_inside(window_executor.Region(4, 10, 26, 30), shape, image)
    assert window == window_executor.Region(2, 10, 22, 30)


def test_a_conversion_that_fails_leaves_the_logs_of_others_as_they_were():
    ov = pytest.importorskip("openvino")
    root = logging.getLogger()
    before = root.level, list(root.filters)
    with pytest.raises(RuntimeError), preserve_root_logger():
        ov.convert_model(torch.nn.Conv2d(3, 3, 1), example_input=torch.zeros(1, 4, 8, 8))
    assert (root.level, root.filters) == before


def test_nothing_is_reported_to_the_makers_of_the_backend(tmp_path):
    """A process of its own upscales and quantizes; none of the package that sends is ever loaded, nor does it
    leave its files in the home folder.
    """
    program = (
        "import sys, torch, hfsr\n"
        "from hfsr.inference import Upscaler\n"
        "from hfsr.inference.conversion.quantization import quantize_model\n"
        "model = hfsr.create_model('edsr_tiny').eval()\n"
        "image = torch.rand(1, 3, 96, 96)\n"
        "Upscaler(model, backend='openvino', device='cpu').tensor(image)\n"
        "quantize_model(model, [image])\n"
        "print([name for name in sys.modules if name.startswith('openvino_telemetry')])\n"
    )
    home = {**os.environ, "HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], env=home, check=True, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert not (tmp_path / "intel").exists()


@pytest.fixture
def released(monkeypatch):
    """The stages whose memory was released, in order."""
    found = []
    release = OpenVinoStage.release
    monkeypatch.setattr(OpenVinoStage, "release", lambda self: found.append(self) or release(self))
    return found


def test_memory_stays_for_the_next_image_of_the_size_if_it_is_small(monkeypatch, released):
    model, x = tiny("EDSR"), uneven_image(*SIZE)
    up = Upscaler(model, backend="openvino", dtype="fp32")
    expected = up.tensor(x)
    assert torch.equal(up.tensor(x), expected)
    assert not released
    monkeypatch.setattr(compiled, "kept_bytes", lambda device: 0)
    assert torch.equal(up.tensor(x), expected)  # the plan of this size was made before
    assert not released
    assert torch.equal(Upscaler(model, backend="openvino", dtype="fp32").tensor(x), expected)
    assert len(released) == 2  # that of the first one, and its own


@pytest.mark.parametrize("backend", ["openvino", "torch"])
def test_memory_of_one_network_is_released_before_another_one_runs(released, backend):
    x = uneven_image(160, 130)
    first = Upscaler(tiny("EDSR"), backend="openvino", dtype="fp32")
    expected = first.tensor(x)
    second = Upscaler(tiny("EDSR"), backend=backend, dtype="fp32")
    second.tensor(x)
    assert len(released) == 1
    assert torch.equal(first.tensor(x), expected)  # its compiled stage is still there
    assert len(released) == (2 if backend == "openvino" else 1)


def test_processes_that_share_the_memory_keep_none(released):
    fix_planned_memory(1 << 34)
    try:
        Upscaler(tiny("EDSR"), backend="openvino", dtype="fp32").tensor(uneven_image(*SIZE))
    finally:
        fix_planned_memory(None)
    assert len(released) == 1


def test_what_was_planned_is_run_whatever_becomes_free(monkeypatch):
    model, x = tiny("RCAN"), uneven_image(*SIZE)
    for free in (1 << 40, 0):
        up = Upscaler(model, backend="openvino", dtype="fp32")
        monkeypatch.setattr(compiled, "kept_bytes", lambda device, free=free: free)
        up.plan(SIZE[1], SIZE[0])
        monkeypatch.setattr(compiled, "kept_bytes", lambda device, free=free: (1 << 40) - free)
        assert float((up.tensor(x) - model(x)).abs().max()) <= 1e-5


@pytest.mark.parametrize("name", ["EDSR", "RCAN"])
def test_the_time_is_predicted_for_the_backend_that_runs(monkeypatch, name):
    up = Upscaler(tiny(name), backend="openvino", dtype="fp32")
    monkeypatch.setattr(runner, "predict_run_seconds", None)  # torch is not timed
    small, large = (up.forecast(side, side).seconds for side in (128, 512))
    assert 0 < small < large
    x = uneven_image(128, 128)
    assert float((up.tensor(x) - up.models[0](x)).abs().max()) <= 1e-5
