"""On a CUDA device: images as on the CPU, exact in pieces, in bounded memory, settings given back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import hfsr
from hfsr.images import LoadedImage, read_image, write_image
from hfsr.inference import Upscaler, runner
from hfsr.inference.execution import allocator
from hfsr.inference.planning import planner
from hfsr.inference.runtime import precision

from .conftest import TOLERANCE, independent_tiles, limit, loud, uneven_image

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
PRESETS = ("edsr_tiny", "rcan_tiny", "rrdbnet_tiny", "a2n_tiny", "drn_tiny", "mirnet_tiny", "metardn_tiny")
POOLED = ("rcan_tiny", "a2n_tiny", "drn_tiny", "mirnet_tiny")


@pytest.fixture(autouse=True)
def _in_parts(monkeypatch) -> None:
    monkeypatch.setattr(runner, "_SMALL", 0)
    monkeypatch.setitem(planner._BAND_BYTES, "cuda", 64 << 10)  # an image for tests has several bands


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("tile", [48, "auto"])
def test_parts_equal_the_whole_image(preset, tile):
    torch.manual_seed(3)
    model, image = loud(hfsr.create_model(preset).eval()), uneven_image(90, 121)
    whole = Upscaler(model, tile=0, dtype="fp32", device="cuda").tensor(image)
    parts = Upscaler(model, tile=tile, dtype="fp32", device="cuda").tensor(image)
    assert (parts - whole).abs().max() <= TOLERANCE * limit(whole)
    if preset in POOLED:
        assert (independent_tiles(model, image, 48) - whole).abs().max() >= 1e-2


@pytest.mark.parametrize("preset", [*PRESETS, "panet_tiny"])
def test_the_cpu_gives_the_same(preset):
    torch.manual_seed(0)
    model, image = hfsr.create_model(preset).eval(), uneven_image(50, 70)
    on_cpu = Upscaler(model, dtype="fp32", device="cpu").tensor(image)
    on_gpu = Upscaler(model, dtype="fp32", device="cuda").tensor(image)
    assert (on_gpu - on_cpu).abs().max() <= 1e-4 * limit(on_cpu)


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_narrow_formats_are_within_50_db(dtype):
    torch.manual_seed(0)
    model, image = hfsr.create_model("edsr_tiny").eval(), uneven_image(90, 121)
    exact = Upscaler(model, dtype="fp32", device="cuda").tensor(image)
    error = (Upscaler(model, dtype=dtype, device="cuda").tensor(image) - exact).square().mean()
    assert 0 < error < 10 ** (-50 / 10)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("ensemble", [False, True])
def test_files_are_those_of_the_cpu(tmp_path, bits, alpha, gray, ensemble):
    torch.manual_seed(0)
    model, levels = hfsr.create_model("edsr_tiny").eval(), np.random.default_rng(0)
    shape, dtype = (60, 77), np.uint8 if bits == 8 else np.uint16
    pixels = levels.integers(0, 1 << bits, shape if gray else (*shape, 3), dtype)
    opacity = levels.integers(1, 1 << bits, shape, dtype) if alpha else None
    write_image(LoadedImage(pixels, opacity), tmp_path / "in.png")
    for device in ("cpu", "cuda"):
        up = Upscaler(model, dtype="fp32", device=device, self_ensemble=ensemble)
        up.file(tmp_path / "in.png", tmp_path / f"{device}.png")
    a, b = read_image(tmp_path / "cpu.png"), read_image(tmp_path / "cuda.png")
    away = 1 if bits == 8 else 16
    solid = slice(None) if opacity is None else a.alpha > (1 << bits) // 8
    assert np.abs(a.pixels[solid].astype(int) - b.pixels[solid]).max() <= away
    assert alpha is False or np.abs(a.alpha.astype(int) - b.alpha).max() <= away


def test_running_out_halves_the_parts_and_changes_nothing():
    model, image = loud(hfsr.create_model("rcan_tiny").eval()), uneven_image(700, 800)
    whole = Upscaler(model, tile=0, dtype="fp32", device="cuda").tensor(image)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    for tile in (700, "auto"):
        up = Upscaler(model, tile=tile, dtype="fp32", device="cuda")
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + (60 << 20)) / total)
        try:
            found = up.tensor(image)
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
        assert (found - whole).abs().max() <= TOLERANCE * limit(whole)


def test_a_2k_image_is_never_on_the_gpu_as_a_whole():
    """Its result alone would take 106 MB in float32."""
    model = hfsr.create_model("edsr_tiny").eval()
    pixels = np.random.default_rng(0).integers(0, 256, (1080, 2048, 3), np.uint8)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    result = Upscaler(model, dtype="fp32", device="cuda")(pixels)
    assert result.shape == (2160, 4096, 3)
    assert torch.cuda.max_memory_allocated() - before < 80 << 20


def test_live_maps_beside_the_gpu_give_the_same(monkeypatch):
    model, image = loud(hfsr.create_model("rcan_tiny").eval()), uneven_image(300, 400)
    whole = Upscaler(model, tile=0, dtype="fp32", device="cuda").tensor(image)
    monkeypatch.setattr(allocator, "_NEVER_SPILLED", 0)
    monkeypatch.setattr(planner, "spill_place", lambda *_: "host")
    monkeypatch.setattr(
        planner, "usable_memory", lambda device: 3 << 20 if device.type == "cuda" else 1 << 34
    )
    up = Upscaler(model, dtype="fp32", device="cuda")
    assert up.plan(400, 300).spill == "host"
    assert (up.tensor(image) - whole).abs().max() <= TOLERANCE * limit(whole)


def test_the_caller_s_settings_are_its_own_between_steps():
    settings = [(place, name) for place, name, _ in precision._tf32_settings()]
    before = [getattr(place, name) for place, name in settings]
    model = hfsr.create_model("edsr_tiny").eval()
    seen = []

    def look(_: object) -> None:
        seen.append([getattr(place, name) for place, name in settings])

    Upscaler(model, tile=32, dtype="fp32", device="cuda").tensor(uneven_image(64, 64), look)
    assert seen == [before] * 4


def test_a_forecast_holds_on_the_device():
    up = Upscaler(hfsr.create_model("edsr_baseline_x2").eval(), dtype="fp32", device="cuda")
    forecast = up.forecast(1024, 540)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    up(np.zeros((540, 1024, 3), np.uint8))
    assert 0 < torch.cuda.max_memory_allocated() <= 1.2 * forecast.peak_bytes
    assert forecast.seconds > 0
