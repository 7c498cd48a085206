"""Networks with whole-image attention: whole where affordable, else tiles that fade into each other."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import hfsr
from hfsr.cli import main
from hfsr.errors import PlanError
from hfsr.inference import Upscaler
from hfsr.inference.approximate import overlapping_tiles
from hfsr.inference.approximate.blend_weights import blend_windows
from hfsr.inference.approximate.overlapping_tiles import OverlappingTiles
from hfsr.inference.image_io.sources_and_sinks import TensorSink, TensorSource
from hfsr.inference.program.geometry import Region, Size

from ..conftest import independent_tiles, loud, uneven_image


class Global(nn.Module):
    """The image, each px twice as high and wide, and the mean of everything seen."""

    def __init__(self, scale: int = 2) -> None:
        super().__init__()
        self.scale = scale
        self.seen: list[tuple[int, int]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append((x.shape[2], x.shape[3]))
        mixed = 0.5 * x + 0.5 * x.mean((2, 3), keepdim=True)
        return mixed.repeat_interleave(self.scale, 2).repeat_interleave(self.scale, 3)


def runner(model: nn.Module, window: int = 32) -> OverlappingTiles:
    return OverlappingTiles(model, window=window, device=torch.device("cpu"), dtype=torch.float32)


class Seen(NamedTuple):
    """A step, with the tile that the executor reports after it: 0 for whole."""

    tile: int
    done: int
    total: int
    share: float


class EmptySink(TensorSink):
    """A result that is written only where it is empty."""

    def write(self, region: Region, part: Tensor) -> None:
        assert self.result[..., region.top : region.bottom, region.left : region.right].isnan().all()
        super().write(region, part)


def restored(run: OverlappingTiles, image: Tensor, tile: int | None) -> tuple[Tensor, list[Seen]]:
    """What is written, NaN where nothing is, and the steps."""
    size = Size(*image.shape[-2:])
    result = torch.full((1, 3, size.height * run.scale, size.width * run.scale), torch.nan)
    executor = run.executor(size, tile)
    steps = []
    for step in executor.run(TensorSource(image), EmptySink(result)):
        used = str(executor.tile)
        assert used == "0" or used.startswith("windowed:")
        steps.append(Seen(int(used.removeprefix("windowed:")), *step))
    return result, steps


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize(
    ("length", "tile"), [(100, 16), (37, 8), (9, 8), (64, 64), (5, 8), (1, 8), (200, 199)]
)
def test_weights_of_all_windows_add_up_to_one(length: int, tile: int, scale: int) -> None:
    total = torch.zeros(length * scale)
    for span in blend_windows(length, tile, scale):
        assert span.stop - span.start <= tile + 16
        assert (span.weights >= 0).all()
        total[span.start * scale : span.stop * scale] += span.weights
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-6)


def test_edges_inside_the_image_are_thrown_away_and_its_own_are_kept() -> None:
    first, middle, last = blend_windows(60, 20, 2)
    assert (first.weights[0], last.weights[-1]) == (1, 1)
    for inner in (first.weights[-6:], middle.weights[:6], middle.weights[-6:], last.weights[:6]):
        assert not inner.any()


def test_a_fade_has_no_step() -> None:
    for span in blend_windows(60, 20, 1):
        assert span.weights.diff().abs().max() <= 0.1 + 1e-6


@pytest.mark.parametrize("size", [(50, 70), (33, 8), (8, 90)], ids=str)
@pytest.mark.parametrize("tile", [8, 13, 30])
def test_a_constant_image_stays_seamless(size: tuple[int, int], tile: int) -> None:
    found, steps = restored(runner(Global()), torch.full((1, 3, *size), 0.3), tile)
    assert len(steps) > 1
    torch.testing.assert_close(found, torch.full_like(found, 0.3), rtol=0, atol=1e-6)


def test_tiles_are_a_smooth_approximation() -> None:
    """Tiles see other means; cut side by side that shows as steps, and faded into each other it does not."""
    image = torch.linspace(0, 1, 96).expand(1, 3, 24, 96).contiguous()
    model = Global(scale=1)
    faded, _ = restored(runner(model), image, 24)
    cut = independent_tiles(model, image, 24)
    assert cut.diff(dim=3).abs().max() > 0.1
    assert faded.diff(dim=3).abs().max() < 0.02


@pytest.mark.parametrize("preset", ["panet_tiny", "pa_edsr_tiny", "csnln_tiny"])
@pytest.mark.parametrize("tile", [0, 24, 100, "auto"])
def test_a_tile_as_large_as_the_image_is_the_whole_exactly(preset: str, tile: int | str) -> None:
    model = hfsr.create_model(preset).eval()
    image = uneven_image(17, 24)
    up = Upscaler(model, tile=tile)
    assert torch.equal(up.tensor(image), model(image))
    assert up.used_tile == 0


def test_tiles_are_deterministic_and_say_what_they_are() -> None:
    model = loud(hfsr.create_model("panet_tiny").eval())
    image = uneven_image(30, 41)
    up = Upscaler(model, tile=16)
    first, again = up.tensor(image), up.tensor(image)
    assert torch.equal(first, again)
    assert up.used_tile == "windowed:16"
    assert "tile windowed:16" in up.summary
    assert not torch.equal(first, model(image))


def test_progress_counts_tiles() -> None:
    _, steps = restored(runner(Global()), torch.rand(1, 3, 40, 70), 20)
    assert [(step.done, step.total) for step in steps] == [(i, 8) for i in range(1, 9)]
    shares = [step.share for step in steps]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    seen = []
    Upscaler(hfsr.create_model("panet_tiny"), tile=20).tensor(torch.rand(1, 3, 20, 40), progress=seen.append)
    assert [(p.done, p.total) for p in seen] == [(1, 2), (2, 2)]
    assert seen[0].seconds_left > 0
    assert seen[-1].seconds_left == 0


def test_canceling_leaves_nothing(tmp_path) -> None:
    Image.new("RGB", (40, 30), "teal").save(tmp_path / "in.png")
    steps = Upscaler(hfsr.create_model("csnln_tiny"), tile=16).steps(
        tmp_path / "in.png", tmp_path / "out.png"
    )
    assert next(steps).done == 1
    steps.close()
    assert [path.name for path in tmp_path.iterdir()] == ["in.png"]


@pytest.mark.parametrize(
    ("size", "tile"), [((32, 32), 0), ((8, 128), 0), ((90, 90), 0), ((91, 91), 16), ((8, 2000), 16)], ids=str
)
def test_it_runs_whole_up_to_eight_windows(size: tuple[int, int], tile: int) -> None:
    _, steps = restored(runner(Global()), torch.rand(1, 3, *size), None)
    assert {step.tile for step in steps} == {tile}


def test_the_default_window_is_the_networks_own() -> None:
    model = Global()
    restored(runner(model, window=80), torch.rand(1, 3, 300, 300), None)
    assert max(max(size) for size in model.seen) <= 80
    assert {spec.window for spec in hfsr.registry.ARCHS.own().values() if spec.tiling == "windowed"} == {
        60,
        80,
    }


def test_memory_decides_too(monkeypatch) -> None:
    image = torch.rand(1, 3, 60, 60)
    needed = 60 * 60 * runner(Global()).profiler.bytes_per_px
    monkeypatch.setattr(overlapping_tiles, "planned_memory", lambda _: 2 * needed)
    assert restored(runner(Global()), image, None)[1][0].tile == 0
    monkeypatch.setattr(overlapping_tiles, "planned_memory", lambda _: 2 * needed - 2)
    assert restored(runner(Global()), image, None)[1][0].tile == 16


def test_the_default_tile_shrinks_where_memory_is_short(monkeypatch) -> None:
    run = runner(Global(), window=80)
    monkeypatch.setattr(overlapping_tiles, "planned_memory", lambda _: 2 * 50**2 * run.profiler.bytes_per_px)
    assert restored(run, torch.rand(1, 3, 300, 300), None)[1][0].tile == 32


def test_memory_is_measured_per_px() -> None:
    """x and mean, half of each, their sum at 1 px: the largest moment holds the result and its two stages."""
    assert 12 * (4 + 2) <= runner(Global(scale=2)).profiler.bytes_per_px <= 12 * (4 + 2 + 4)


def failing_above(area: int, honest: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def forward(x: Tensor) -> Tensor:
        if x.shape[2] * x.shape[3] > area:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return honest(x)

    return forward


def test_out_of_memory_shrinks_a_chosen_tile_and_starts_again(monkeypatch) -> None:
    image = torch.rand(1, 3, 120, 130)
    model = Global()
    run = runner(model, window=80)
    _ = run.profiler.bytes_per_px
    monkeypatch.setattr(model, "forward", failing_above(50**2, model.forward))
    found, steps = restored(run, image, None)
    assert {step.tile for step in steps} == {32}
    assert torch.equal(found, restored(runner(Global()), image, 32)[0])


@pytest.mark.parametrize("calls", [3, 5, 7])
def test_running_out_in_the_middle_writes_no_row_twice(calls: int, monkeypatch) -> None:
    """`restored` writes into nothing but what is empty."""
    image, model = torch.rand(1, 3, 150, 170), Global()
    run = runner(model, window=80)
    _ = run.profiler.bytes_per_px
    honest, count = model.forward, [0]

    def forward(x: Tensor) -> Tensor:
        count[0] += 1
        if count[0] == calls:
            raise MemoryError
        return honest(x)

    monkeypatch.setattr(model, "forward", forward)
    monkeypatch.setattr(overlapping_tiles, "_WHOLE_WINDOWS", 1)
    found, steps = restored(run, image, None)
    assert {step.tile for step in steps} == {64, 32}
    assert not found.isnan().any()


@pytest.mark.parametrize(("tile", "message"), [(0, "40x40 px whole"), (20, "a tile of 20 px")])
def test_what_was_asked_for_is_not_changed(tile: int, message: str, monkeypatch) -> None:
    model = Global()
    monkeypatch.setattr(model, "forward", failing_above(0, model.forward))
    with pytest.raises(PlanError, match=f"not enough memory for {message}"):
        restored(runner(model), torch.rand(1, 3, 40, 40), tile)


def test_another_error_is_not_swallowed(monkeypatch) -> None:
    model = Global()

    def broken(x: Tensor) -> Tensor:
        raise RuntimeError("a bug")

    monkeypatch.setattr(model, "forward", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        restored(runner(model), torch.rand(1, 3, 40, 40), None)


def test_bf16_is_near_fp32() -> None:
    model, image = hfsr.create_model("pa_edsr_tiny").eval(), uneven_image(24, 40)
    exact = Upscaler(model, tile=16, dtype="fp32").tensor(image)
    low = Upscaler(model, tile=16, dtype="bf16").tensor(image)
    assert low.dtype == torch.float32
    error = (exact - low).square().mean().item()
    assert 0 < error < 10 ** (-40 / 10)
    assert Upscaler(model).dtype == torch.float32


def test_the_plan_says_what_it_takes() -> None:
    up = Upscaler(hfsr.create_model("panet_tiny"))
    whole, tiles = up.plan(40, 30), up.plan(640, 480)
    assert whole.parts == "whole"
    assert tiles.parts == "overlapping tiles of 64 px, an approximation"
    assert tiles.part_bytes > whole.part_bytes > 0
    # About as many windows as images of their size fit in, each of the same work.
    assert tiles.flops > 60 * Upscaler(up.model, tile=0).plan(80, 80).flops


def test_the_command_tells_the_tile(tmp_path, capsys) -> None:
    hfsr.save_pretrained(hfsr.create_model("panet_tiny"), tmp_path / "model")
    Image.new("RGB", (40, 30), "teal").save(tmp_path / "in.png")
    words = [
        "upscale",
        str(tmp_path / "in.png"),
        "-m",
        str(tmp_path / "model"),
        "-o",
        str(tmp_path / "out.png"),
    ]
    assert main([*words, "--tile", "16", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tile"] == "windowed:16"
    assert main([*words, "--dry-run"]) == 0
    assert "whole" in capsys.readouterr().out
