"""What memory a run may take, and how this process keeps it while it runs."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch

__all__ = ["free_memory", "is_out_of_memory", "kept_heap", "peak_memory", "resident_memory"]

_OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "status_alloc_failed",  # of cuBLAS and cuDNN
    "unable to find a valid cudnn algorithm",  # none whose workspace fits
)
_CGROUPS = Path("/sys/fs/cgroup")
_STATUS = Path("/proc/self/status")
_GLIBC_TRIM, _GLIBC_PAD, _GLIBC_MMAP = -1, -2, -3  # M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD
_MADV_HUGEPAGE = 14
_PAGE = 4 << 10
_HEAP_PIECE = 32 << 20
"""Bytes up to which glibc can be told to take an allocation from the heap."""
_HEAP_KEPT = (2 << 30) - 1
"""Free bytes at the end of the heap that stay with the process while a network runs."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch or Python says that memory ran out."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(
        phrase in str(error).lower() for phrase in _OUT_OF_MEMORY
    )


def resident_memory() -> int:
    """Bytes of memory that this process takes now."""
    return int(psutil.Process().memory_info().rss)


def peak_memory(device: torch.device) -> int:
    """Most bytes taken so far: of the device where that is CUDA, else by this process."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _peak_of_process()


def _peak_of_process() -> int:
    """Of its own: what `getrusage` tells on Linux is at least what the process that started it held then."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:  # no Linux
        lines = []
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10


def free_memory(device: torch.device) -> int:
    """Bytes free on the device for this process; on the CPU within the limits set to it, too."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + cached)
    limits = [int(psutil.virtual_memory().available), *_cgroup_limits(), *_address_space()]
    return max(0, min(limits))


def _address_space() -> list[int]:
    """What `ulimit -v` leaves, where it is set."""
    if sys.platform == "win32":
        return []
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return [] if limit == resource.RLIM_INFINITY else [limit - int(psutil.Process().memory_info().vms)]


def _cgroup_limits() -> list[int]:
    """What the control groups of this process leave, from its own up to the root (versions 1 and 2)."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:  # no Linux
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            folder, names = _CGROUPS, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            folder = _CGROUPS / "memory"
        else:
            continue
        # In a container the path is often the host's, and only the root is to be seen.
        group = folder / path.strip("/")
        for place in (group, *group.parents):
            left = _cgroup_left(place, *names)
            if left is not None:
                found.append(left)
            if place == folder:
                break
    return found


def _cgroup_left(folder: Path, limit: str, usage: str, reclaimable: str) -> int | None:
    """Limit less usage, where what the file cache holds counts as free; None without a limit."""
    try:
        most = (folder / limit).read_text().strip()
        if not most.isdigit():  # "max"
            return None
        used = int((folder / usage).read_text())
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    return int(most) - used + int(stat.get(reclaimable, 0))


@contextmanager
def kept_heap(expected: int = 0) -> Iterator[None]:
    """Keeps freed memory in the process until the block ends, where the C library is glibc.

    Left alone it gives memory back whenever a large tensor is freed, and the next one of the same size pays
    for every page again: up to a third of the time of a network at 2K.

    Args:
        expected: bytes that the block will hold. So much of the heap is asked for in huge pages, where the
            system has them: rows of many channels are then found and first touched faster.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    libc.mallopt(_GLIBC_MMAP, _HEAP_PIECE)
    libc.mallopt(_GLIBC_TRIM, _HEAP_KEPT)
    _ask_for_huge_pages(libc, min(2 * expected, _HEAP_KEPT // 2))  # twice: the heap has holes
    try:
        yield
    finally:
        libc.mallopt(_GLIBC_TRIM, 128 << 10)  # glibc's default
        libc.malloc_trim(0)


def _ask_for_huge_pages(libc: ctypes.CDLL, count: int) -> None:
    """Lets the heap grow by so many bytes, none of which is touched yet, and advises huge pages for them.

    It is advice: where it is not taken nothing changes.
    """
    if count <= _HEAP_PIECE:
        return
    libc.malloc.restype = ctypes.c_void_p
    libc.mallopt(_GLIBC_PAD, count - _HEAP_PIECE)
    place = libc.malloc(ctypes.c_size_t(_HEAP_PIECE - _PAGE))  # more than the heap has left: it must grow
    libc.mallopt(_GLIBC_PAD, 128 << 10)  # glibc's default
    if place is None:
        return
    for start, end in _mappings():
        if start <= place < end:
            libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_HUGEPAGE)
    libc.free(ctypes.c_void_p(place))


def _mappings() -> list[tuple[int, int]]:
    """Where the process's memory begins and ends, piece by piece."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return [(int(start, 16), int(end, 16)) for start, end in (line.split()[0].split("-") for line in lines)]


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
