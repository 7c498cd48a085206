"""Memory: what is free within the limits of a container, what is written over, what lies in a file, what is
said before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import hfsr
from hfsr.errors import PlanError
from hfsr.inference import Upscaler, runner
from hfsr.inference.approximate.profiler import PeakMemoryMode
from hfsr.inference.execution.executor import execute
from hfsr.inference.image_io import pixel_source
from hfsr.inference.image_io.pixel_source import RowAssembler, allocate_result
from hfsr.inference.planning import planner
from hfsr.inference.planning.cost_model import live_bytes, rows_bytes
from hfsr.inference.program.geometry import Region, Size, tile_grid
from hfsr.inference.program.operators import Convolution
from hfsr.inference.program.tracing import trace
from hfsr.inference.runtime import glibc_heap, memory
from hfsr.inference.scheduling.row_schedule import BandHeights, reusable_buffers

from ..conftest import loud, uneven_image


@pytest.mark.parametrize("version", [1, 2])
def test_a_containers_limit_counts(version, tmp_path, monkeypatch):
    folder = tmp_path / "memory" if version == 1 else tmp_path
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    limit, usage, cache = names if version == 1 else ("memory.max", "memory.current", "inactive_file")
    folder.mkdir(exist_ok=True)
    (folder / limit).write_text(f"{300 << 20}\n")
    (folder / usage).write_text(f"{250 << 20}\n")
    (folder / "memory.stat").write_text(f"anon 1\n{cache} {40 << 20}\n")
    own = tmp_path / "cgroup"
    own.write_text("4:memory:/of/the/host\n" if version == 1 else "0::/of/the/host\n")
    honest = memory.Path
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path)
    monkeypatch.setattr(memory, "Path", lambda name: own if name == "/proc/self/cgroup" else honest(name))
    assert memory.free_memory(torch.device("cpu")) == 90 << 20


def test_a_group_without_a_limit_limits_nothing(tmp_path, monkeypatch):
    (tmp_path / "memory.max").write_text("max\n")
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path)
    assert memory._cgroup_left(tmp_path, "memory.max", "memory.current", "inactive_file") is None


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("shapes do not match"), False),
    ],
)
def test_what_says_that_memory_ran_out(error, expected):
    assert memory.is_out_of_memory(error) is expected


LARGE = 700 << 20
LOOSE = 8 << 20
"""How far apart two figures of one process may be: the system adds up its threads' pages now and then."""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems do not count the parent")
def test_the_peak_is_a_process_s_own_and_not_that_of_what_started_it(tmp_path):
    """A parent of 700 MB counts towards what the system tells of its child."""
    (tmp_path / "parent.py").write_text(
        "import subprocess, sys\n"
        f"held = b'x' * {LARGE}\n"
        "subprocess.run([sys.executable, sys.argv[1]], check=True)\n"
    )
    (tmp_path / "child.py").write_text(
        "import resource, torch\n"
        "from hfsr.inference.runtime.memory import peak_memory\n"
        "print(peak_memory(torch.device('cpu')), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10)\n"
    )
    command = [sys.executable, tmp_path / "parent.py", tmp_path / "child.py"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    own, told = map(int, done.stdout.split())
    assert told >= LARGE  # or this would prove nothing
    assert own < told


def test_the_peak_where_the_system_keeps_no_such_file(monkeypatch, tmp_path):
    at_least = memory.resident_memory() - LOOSE
    honest = memory.peak_memory(torch.device("cpu"))
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "missing")
    assert memory.peak_memory(torch.device("cpu")) >= at_least
    assert honest >= at_least


HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.mark.skipif(not HUGE_PAGES.exists(), reason="the system has no huge pages")
def test_the_heap_is_asked_for_in_huge_pages():
    """Advised for what is expected, in a process whose heap nobody has used yet; touching none of it."""
    told = run_alone(
        "from hfsr.inference.runtime.glibc_heap import retain_heap\n"
        "from hfsr.inference.runtime.memory import resident_memory\n"
        "from pathlib import Path\n"
        "def advised():\n"
        "    flags = [l.split() for l in Path('/proc/self/smaps').read_text().splitlines()]\n"
        "    sizes = [int(f[1]) for f in flags if f[0] == 'Size:']\n"
        "    found = ['hg' in f for f in flags if f[0] == 'VmFlags:']\n"
        "    return sum(size for size, huge in zip(sizes, found, strict=True) if huge) >> 10\n"
        "before, resident = advised(), resident_memory()\n"
        "with retain_heap(100 << 20):\n"
        "    inside, taken = advised(), resident_memory() - resident\n"
        "print(before, inside, taken >> 20)\n"
    )
    before, inside, taken = map(int, told.split())
    assert before == 0
    assert inside >= 190
    assert taken < 20


@pytest.mark.parametrize("expected", [0, 1 << 20, 64 << 20, 1 << 50])
def test_whatever_is_expected_of_the_heap_tensors_come_from_it(expected):
    with glibc_heap.retain_heap(expected):
        assert torch.ones(3, 5 << 20).sum() == 15 << 20


def run_alone(program: str) -> str:
    """What a program prints in a process of its own."""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return done.stdout


def test_new_maps_take_the_place_of_old_ones():
    program = trace(hfsr.create_model("rcan_tiny").eval())
    image = Size(64, 64)
    assert any(reusable_buffers(program, stage, program.sizes(image)) for stage in program.stages)
    assert live_bytes(program, image, in_place=True) < live_bytes(program, image)


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
def test_a_whole_picture_that_does_not_fit_is_an_error_of_one_line(tile, hint, monkeypatch):
    model = hfsr.create_model("edsr_tiny").eval()

    def never(*_):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(runner, "_SMALL", 0)
    monkeypatch.setattr(type(model), "forward", never)
    monkeypatch.setattr("hfsr.inference.execution.feature_store.Frame.begin", never)
    with pytest.raises(PlanError, match=rf"not enough memory for 40x30 px; .*{hint}"):
        Upscaler(model, dtype="fp32", tile=tile).tensor(torch.rand(1, 3, 30, 40))


def test_a_row_that_never_fits_is_an_error(monkeypatch):
    monkeypatch.setattr(runner, "_SMALL", 0)

    def never(self, region, work):
        raise MemoryError

    monkeypatch.setattr(Convolution, "run", never)
    with pytest.raises(PlanError, match="not enough memory for a row"):
        Upscaler(hfsr.create_model("edsr_tiny").eval(), dtype="fp32").tensor(torch.rand(1, 3, 40, 40))


@pytest.mark.parametrize("tile", [7, 16, 100])
@pytest.mark.parametrize("alpha", [False, True])
def test_rows_come_whole_and_in_order(tile, alpha):
    values = np.random.default_rng(0).integers(0, 256, (30, 41, 3), np.uint8)
    opacity = values[..., 0].copy() if alpha else None
    taken: list[np.ndarray] = []
    order = RowAssembler(41, lambda rows: taken.append(rows.copy()), opacity)
    for r in tile_grid(Size(30, 41), tile):
        order.write(r, values[r.top : r.bottom, r.left : r.right])
    expected = values if opacity is None else np.dstack([values, opacity])
    np.testing.assert_array_equal(np.concatenate(taken), expected)


def test_parts_of_a_strip_may_come_in_any_order():
    taken: list[np.ndarray] = []
    order = RowAssembler(4, lambda rows: taken.append(rows.copy()))
    order.write(Region(0, 2, 2, 4), np.full((2, 2), 1, np.uint8))
    order.write(Region(1, 3, 0, 2), np.full((2, 2), 2, np.uint8))
    assert not taken
    order.write(Region(0, 1, 0, 2), np.full((1, 2), 3, np.uint8))
    order.write(Region(2, 3, 2, 4), np.full((1, 2), 4, np.uint8))
    assert np.concatenate(taken).tolist() == [[3, 3, 1, 1], [2, 2, 1, 1], [2, 2, 4, 4]]


def test_a_large_result_lies_in_a_file(monkeypatch):
    assert not isinstance(allocate_result((4, 4), np.dtype(np.uint8)), np.memmap)
    monkeypatch.setattr(pixel_source, "_FILE_FROM", 0)
    model, array = hfsr.create_model("edsr_tiny").eval(), np.full((20, 20, 3), 9, np.uint8)
    result = Upscaler(model)(array)
    assert isinstance(result, np.memmap)
    monkeypatch.undo()
    np.testing.assert_array_equal(result, Upscaler(model)(array))


@pytest.mark.parametrize("preset", ["edsr_tiny", "rcan_tiny"])
def test_every_band_of_a_stream_is_counted(preset, monkeypatch):
    monkeypatch.setattr(runner, "_SMALL", 0)
    monkeypatch.setitem(planner._BAND_BYTES, "cpu", 20_000)
    steps = []
    Upscaler(hfsr.create_model(preset).eval(), device="cpu").tensor(torch.rand(1, 3, 45, 30), steps.append)
    assert [s.done for s in steps] == list(range(1, steps[0].total + 1))
    assert {s.total for s in steps} == {len(steps)}


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA"])
@pytest.mark.parametrize("tile", [16, "auto"])
@pytest.mark.parametrize("ending", [".png", ".tif", ".webp"])
def test_a_file_written_row_by_row_is_the_picture(mode, tile, ending, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "_SMALL", 0)
    channels = len(Image.new(mode, (1, 1)).getbands())
    values = np.random.default_rng(0).integers(0, 256, (37, 29, channels), np.uint8).squeeze()
    picture = Image.fromarray(values)
    picture.save(tmp_path / "in.png")
    up = Upscaler(hfsr.create_model("edsr_tiny").eval(), tile=tile, dtype="fp32")
    up.file(tmp_path / "in.png", tmp_path / f"out{ending}")
    with Image.open(tmp_path / f"out{ending}") as written:
        expected = up(picture).convert(written.mode)
        np.testing.assert_array_equal(np.asarray(written), np.asarray(expected))


@pytest.mark.parametrize("preset", ["edsr_tiny", "rcan_tiny", "a2n_tiny", "metardn_tiny"])
def test_a_forecast_is_made_without_the_picture(preset):
    forecast = Upscaler(hfsr.create_model(preset).eval(), device="cpu").forecast(200, 150)
    assert forecast.peak_bytes > memory.resident_memory() // 2
    assert forecast.seconds > 0


def test_a_forecast_of_a_deep_network_ends():
    """200 sums on the way to the last pooled map: more paths than can be walked, if each were."""
    forecast = Upscaler(hfsr.create_model("rcan_x4").eval(), device="cpu").forecast(48, 16)
    assert forecast.seconds > 0


def test_more_work_is_forecast_to_take_longer():
    up = Upscaler(hfsr.create_model("edsr_tiny").eval(), device="cpu")
    small, large = up.forecast(256, 200), up.forecast(256, 20_000)
    assert large.seconds > 10 * small.seconds


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_a_dense_network_holds_is_foretold(dtype):
    """RowBuffer, ends of strips and concatenations, counted as they come and go."""
    program = trace(hfsr.create_model("rrdbnet_tiny", num_feat=16, num_grow_ch=8, num_block=2).eval())
    program.prepare(torch.device("cpu"), dtype)
    size, bands, image = Size(120, 40), BandHeights(10, 2), torch.rand(1, 3, 120, 40)

    def read(r: Region) -> torch.Tensor:
        return image[..., r.top : r.bottom, r.left : r.right]

    with torch.inference_mode(), PeakMemoryMode() as live:
        for _ in execute(program, size, read, lambda *_: None, bands=[bands], device=torch.device("cpu")):
            pass
    foretold = rows_bytes(program, program.stages[0], program.sizes(size), bands)
    assert 0.8 <= foretold / live.peak <= 1.2
