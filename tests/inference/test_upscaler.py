"""The Upscaler's promises to a user: types kept, progress, cancel, memory, precision, clear errors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import hfsr
from hfsr import images
from hfsr.errors import ImageError, OptionsError, PlanError
from hfsr.inference import Upscaler, runner
from hfsr.inference.execution import allocator
from hfsr.inference.execution.tile_executor import TileExecutor
from hfsr.inference.image_io.sources_and_sinks import TensorSink, TensorSource
from hfsr.inference.planning import planner
from hfsr.inference.program.dtype_lowering import lower
from hfsr.inference.program.geometry import Size
from hfsr.inference.program.operators import Convolution
from hfsr.inference.program.tracing import trace
from hfsr.inference.runtime import precision

from .conftest import loud, lower_on_cpu, uneven_image


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(1)
    return hfsr.create_model("edsr_tiny").eval()


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 52, 3), np.uint8)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("gray", [False, True])
def test_an_array_keeps_its_type(model, dtype, gray):
    pixels = np.random.default_rng(0).random((20, 23, 3))[..., 0 if gray else slice(None)]
    peak = 1 if dtype == np.float32 else np.iinfo(dtype).max
    result = Upscaler(model)((pixels * peak).astype(dtype))
    assert result.dtype == dtype
    assert result.shape == (40, 46) + (() if gray else (3,))


def test_arrays_pil_images_and_files_agree(model, pixels, tmp_path):
    up = Upscaler(model, dtype="fp32")
    expected = up(pixels)
    Image.fromarray(pixels).save(tmp_path / "in.png")
    up.file(tmp_path / "in.png", tmp_path / "out.png")
    np.testing.assert_array_equal(np.asarray(up(Image.fromarray(pixels))), expected)
    np.testing.assert_array_equal(np.asarray(up(tmp_path / "in.png")), expected)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out.png")), expected)


def test_the_result_is_the_networks_rounded_half_up(model, pixels):
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    expected = images.quantize(model(image)[0].permute(1, 2, 0), np.uint8)
    np.testing.assert_array_equal(Upscaler(model, tile=0, dtype="fp32")(pixels), expected)


def test_transparent_colors_do_not_leak(model):
    """Red hidden under full transparency must not tint the visible blue beside it."""
    rgba = np.zeros((24, 24, 4), np.uint8)
    rgba[:, :12] = (0, 0, 255, 255)
    hidden = rgba.copy()
    hidden[:, 12:, 0] = 255
    up = Upscaler(model, dtype="fp32")
    clean, tinted = (np.asarray(up(Image.fromarray(a))) for a in (rgba, hidden))
    np.testing.assert_array_equal(clean, tinted)


def test_progress_counts_every_piece_of_every_stage(pixels):
    model = hfsr.create_model("rcan_tiny").eval()
    stages = len(trace(model).stages)
    steps = []
    Upscaler(model, tile=20)(pixels, progress=steps.append)
    assert [s.done for s in steps] == list(range(1, 2 * 3 * stages + 1))
    assert {s.total for s in steps} == {2 * 3 * stages}
    assert steps[-1].seconds_left == pytest.approx(0, abs=0.05)


def test_progress_of_alpha_and_color_is_one_count(model):
    image = Image.fromarray(np.arange(24 * 24 * 4, dtype=np.uint32).astype(np.uint8).reshape(24, 24, 4))
    steps = []
    Upscaler(model, tile=12)(image, progress=steps.append)
    assert [s.done for s in steps] == list(range(1, 9))
    assert {s.total for s in steps} == {8}


@pytest.mark.parametrize("ending", ["png", "webp"])
def test_an_encoder_and_a_decoded_image_change_nothing(model, pixels, tmp_path, ending):
    up, source = Upscaler(model), tmp_path / "in.png"
    Image.fromarray(pixels).save(source)
    up.file(source, tmp_path / f"a.{ending}")
    with ThreadPoolExecutor(1) as encoder:
        steps = up.steps(images.read_image(source), tmp_path / f"b.{ending}", encoder=encoder)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                end.value.result()
                break
    assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()


def test_closing_the_steps_leaves_nothing(model, pixels, tmp_path):
    Image.fromarray(pixels).save(tmp_path / "in.png")
    steps = Upscaler(model, tile=16).steps(tmp_path / "in.png", tmp_path / "out.png")
    next(steps)
    steps.close()
    assert [p.name for p in tmp_path.iterdir()] == ["in.png"]


def test_inference_mode_does_not_leak_to_the_caller_between_steps(model, pixels, tmp_path):
    Image.fromarray(pixels).save(tmp_path / "in.png")
    for _ in Upscaler(model, tile=16).steps(tmp_path / "in.png", tmp_path / "out.png"):
        assert not torch.is_inference_mode_enabled()


def test_the_model_is_not_changed(pixels):
    model = hfsr.create_model("edsr_tiny").double().train()
    Upscaler(model, dtype="bf16")(pixels)
    assert model.training
    assert {p.dtype for p in model.parameters()} == {torch.float64}


@pytest.mark.parametrize("preset", ["edsr_tiny", "rcan_tiny", "a2n_tiny", "msrresnet_tiny"])
def test_bf16_is_within_50_db_of_fp32(preset):
    torch.manual_seed(0)
    model, image = hfsr.create_model(preset).eval(), uneven_image(48, 64)
    exact = Upscaler(model, dtype="fp32").tensor(image)
    low = Upscaler(model, dtype="bf16", tile=32).tensor(image)
    error = (exact - low).square().mean().item()
    assert 0 < error < 10 ** (-50 / 10)


@pytest.fixture
def auto(model, monkeypatch) -> Upscaler:
    """dtype="auto" on a machine that multiplies bf16."""
    monkeypatch.setattr(precision, "is_native_bf16", lambda _: True)
    return Upscaler(model)


def test_auto_is_bf16_but_for_16_bit(auto, model):
    exact, levels = Upscaler(model, dtype="fp32"), np.random.default_rng(0)
    deep = levels.integers(0, 65536, (20, 30, 3), np.uint16)
    for array, dtype in (
        ((deep >> 8).astype(np.uint8), "bf16"),
        (deep, "fp32"),
        ((deep / 65535).astype(np.float32), "bf16"),
        (deep[..., 0], "fp32"),
    ):
        result = auto(array)
        assert auto.dtype_name == dtype
        assert f", {dtype}, " in auto.summary
        assert np.array_equal(result, exact(array)) == (dtype == "fp32")
    assert auto.plan(30, 20).flops
    assert auto.dtype_name == "bf16"
    assert auto.forecast(30, 20, bits=16).seconds
    assert auto.dtype_name == "fp32"


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_a_file_of_16_bit_is_computed_in_fp32(auto, tmp_path, ending):
    deep = np.random.default_rng(0).integers(0, 65536, (20, 30), np.uint16)
    for pixels, dtype in ((deep, "fp32"), ((deep >> 8).astype(np.uint8), "bf16")):
        images.write_image(images.LoadedImage(pixels), tmp_path / f"in.{ending}")
        auto.file(tmp_path / f"in.{ending}", tmp_path / f"out.{ending}")
        assert auto.dtype_name == dtype
        assert auto.notes == ()


def test_bf16_keeps_the_layers_that_see_the_image_in_fp32():
    program = lower(trace(hfsr.create_model("edsr_tiny").eval()), torch.device("cpu"), torch.bfloat16)
    convolutions = [op for op in program.operators.values() if isinstance(op, Convolution)]
    dtypes = [op.weight.dtype for op in convolutions]
    assert dtypes[0] == dtypes[-1] == torch.float32
    assert set(dtypes[1:-1]) == {torch.bfloat16}
    assert program.operators[program.output].dtype == torch.float32


@pytest.mark.parametrize("tile", [56, "auto"])
def test_out_of_memory_halves_the_part_and_redoes_it(tile, monkeypatch):
    monkeypatch.setattr(runner, "_SMALL", 0)
    model = loud(hfsr.create_model("rcan_tiny").eval())
    image = uneven_image(40, 56)
    whole = model(image)
    honest, areas = Convolution.run, []

    def small_machine(self, region, work):
        if region.area > 900:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        areas.append(region.area)
        return honest(self, region, work)

    monkeypatch.setattr(Convolution, "run", small_machine)
    pieces = Upscaler(model, tile=tile, dtype="fp32").tensor(image)
    assert (pieces - whole).abs().max() <= 1e-5 * whole.abs().max()
    assert max(areas) <= 900


def test_a_machine_too_small_for_any_piece_says_so(model, monkeypatch):
    def tiny_machine(self, region, work):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Convolution, "run", tiny_machine)
    with pytest.raises(PlanError, match="not enough memory"):
        Upscaler(model, tile=32).tensor(torch.rand(1, 3, 40, 40))


def test_another_error_inside_a_piece_is_not_swallowed(model, monkeypatch):
    def broken(self, region, work):
        raise RuntimeError("a bug")

    monkeypatch.setattr(Convolution, "run", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        Upscaler(model, tile=32).tensor(torch.rand(1, 3, 40, 40))


def test_live_maps_spill_to_files_that_disappear(tmp_path, monkeypatch):
    honest = torch.from_file
    model = loud(hfsr.create_model("rcan_tiny").eval())
    image = uneven_image(33, 47)
    sized = lower_on_cpu(model, Size(33, 47))
    whole, result, sizes = model(image), torch.empty(1, 3, 66, 94), []

    def from_file(name, *, size, **options):
        sizes.append(size)
        return honest(name, size=size, **options)

    monkeypatch.setattr(allocator, "_NEVER_SPILLED", 0)
    monkeypatch.setattr(torch, "from_file", from_file)
    executor = TileExecutor(sized, 16, torch.device("cpu"), spill=tmp_path)
    for _ in executor.run(TensorSource(image), TensorSink(result)):
        pass
    assert sizes
    assert (result - whole).abs().max() <= 1e-5 * whole.abs().max()
    assert list(tmp_path.iterdir()) == []


def test_auto_takes_smaller_pieces_where_memory_is_short(model, monkeypatch):
    sized, cpu = lower_on_cpu(model, Size(1080, 2048)), torch.device("cpu")
    roomy = planner.make_plan(sized, cpu)
    monkeypatch.setattr(planner, "planned_memory", lambda _: 10 << 20)
    tight = planner.make_plan(sized, cpu)
    assert tight.rows < roomy.rows
    assert tight.part_bytes <= 6 << 20 < roomy.part_bytes


def test_auto_takes_pieces_where_not_even_one_row_fits(model, monkeypatch):
    sized = lower_on_cpu(model, Size(64, 100_000))
    monkeypatch.setattr(planner, "planned_memory", lambda _: 20 << 20)
    wide = planner.make_plan(sized, torch.device("cpu"))
    assert wide.rows is None
    assert wide.part_bytes <= 12 << 20


def test_neither_memory_nor_disk_for_the_live_maps_is_an_error(monkeypatch):
    sized = lower_on_cpu(hfsr.create_model("rcan_tiny").eval(), Size(1080, 2048))
    monkeypatch.setattr(planner, "planned_memory", lambda _: 1 << 20)
    monkeypatch.setattr(planner.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1 << 20})())
    with pytest.raises(PlanError, match="GiB of disk"):
        planner.make_plan(sized, torch.device("cpu"))


class Shuffled(nn.Module):
    """An operator without a rule for pieces: a flip along the width."""

    scale = 1

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def core(self, x):
        return self.conv(x).flip(3)

    forward = core


def test_an_unknown_operator_is_named_and_whole_still_works():
    model = Shuffled().eval()
    with pytest.raises(PlanError, match=r"'flip' \(flip\) cannot be tiled"):
        Upscaler(model, tile=16, dtype="fp32").tensor(torch.rand(1, 3, 20, 20))
    assert Upscaler(model, tile=0, dtype="fp32").tensor(torch.rand(1, 3, 20, 20)).shape == (1, 3, 20, 20)


class AlongRows(nn.Module):
    """The largest px of each row, which no part of the row knows."""

    scale = 1

    def core(self, x):
        return x - x.amax(3, keepdim=True)

    forward = core


def test_statistics_along_a_side_are_refused_in_pieces():
    with pytest.raises(PlanError, match=r"over dimension 3; only over channels \(1\)"):
        Upscaler(AlongRows(), tile=16, dtype="fp32").tensor(torch.rand(1, 3, 20, 20))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"tile": "big"}, "tile 'big'"),
        ({"tile": -1}, "tile -1"),
        ({"tile": 3}, "at least 8"),
        ({"dtype": "int3"}, "dtype 'int3'"),
        ({"dtype": "fp16", "device": "cpu"}, "fp16"),
        ({"backend": "abacus"}, "backend 'abacus'"),
        ({"device": "toaster"}, "device 'toaster'"),
    ],
)
def test_wrong_words_are_refused(model, words, message):
    with pytest.raises(OptionsError, match=message):
        Upscaler(model, **words)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 2), np.uint8), "shape"),
        (np.zeros((0, 4, 3), np.uint8), "shape"),
        (np.zeros((4, 4, 3), np.float64), "float64"),
        (np.full((4, 4, 3), np.nan, np.float32), "NaN"),
        (17, "int"),
    ],
)
def test_what_is_no_image_is_refused(model, image, message):
    with pytest.raises(ImageError, match=message):
        Upscaler(model)(image)


def test_an_ending_that_cannot_be_written_is_said_before_the_work(model, tmp_path):
    with pytest.raises(ImageError, match="hfsr writes"):
        Upscaler(model).file(tmp_path / "missing.png", tmp_path / "out.xyz")


@pytest.mark.parametrize("side", [40, 140])  # smaller images run whole
@pytest.mark.parametrize("is_training", [False, True])
@pytest.mark.parametrize("through_data", [False, True])  # as averages of weights change them
def test_weights_are_those_of_the_model_at_each_image(
    side: int, is_training: bool, through_data: bool
) -> None:
    model, x = hfsr.create_model("srresnet_tiny"), torch.rand(1, 3, side, side)
    model.train(is_training)
    upscaler = Upscaler(model, dtype="fp32")
    upscaler.tensor(x)
    with torch.no_grad():
        for parameter in model.parameters():
            (parameter.data if through_data else parameter).mul_(0.5)
    model.train()  # as between two validations; the running statistics must not change
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = upscaler.tensor(x)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    with torch.no_grad():
        torch.testing.assert_close(found, model.eval()(x), rtol=0, atol=1e-5)
