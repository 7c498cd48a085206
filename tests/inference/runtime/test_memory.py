"""Free and peak memory: limits of containers, errors of exhausted memory, the peak of one process."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from hfsr.inference.runtime import memory


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
