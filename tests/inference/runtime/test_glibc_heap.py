"""The heap while a network runs: huge pages for what is expected, tensors as ever."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hfsr.inference.runtime import glibc_heap

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
