"""Settings of the glibc heap while a network runs: it keeps freed memory and uses huge pages."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["retain_heap"]

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # parameters of mallopt
_DEFAULT_TRIM = _DEFAULT_PAD = 128 << 10
_MADV_HUGEPAGE = 14
_PAGE = 4 << 10
_LARGEST_CHUNK = 32 << 20
"""Largest M_MMAP_THRESHOLD of glibc: allocations up to this size use the heap."""
_MOST_RETAINED = (2 << 30) - 1
"""Free bytes at the end of the heap that stay with the process while a network runs."""


@contextmanager
def retain_heap(expected: int = 0) -> Iterator[None]:
    """Keeps freed memory in the process until the block ends, if the C library is glibc.

    By default glibc returns the memory of a large tensor when it is freed, and the next tensor of the same
    size faults in every page again: up to a third of the time of a network at 2K.

    Args:
        expected: bytes that the block will hold. This part of the heap is requested in huge pages, if the
            system has them: first access and lookup of rows with many channels are faster.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    libc.mallopt(_MMAP_THRESHOLD, _LARGEST_CHUNK)
    libc.mallopt(_TRIM_THRESHOLD, _MOST_RETAINED)
    _request_huge_pages(libc, min(2 * expected, _MOST_RETAINED // 2))  # twice: fragmentation
    try:
        yield
    finally:
        libc.mallopt(_TRIM_THRESHOLD, _DEFAULT_TRIM)
        libc.malloc_trim(0)


def _request_huge_pages(libc: ctypes.CDLL, count: int) -> None:
    """Grows the heap by `count` bytes, none of which is touched, and advises huge pages for them.

    The advice may be ignored; nothing changes then.
    """
    if count <= _LARGEST_CHUNK:
        return
    libc.malloc.restype = ctypes.c_void_p
    libc.mallopt(_TOP_PAD, count - _LARGEST_CHUNK)
    address = libc.malloc(ctypes.c_size_t(_LARGEST_CHUNK - _PAGE))  # more than is free, so the heap grows
    libc.mallopt(_TOP_PAD, _DEFAULT_PAD)
    if address is None:
        return
    for start, end in _mappings():
        if start <= address < end:
            libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_HUGEPAGE)
    libc.free(ctypes.c_void_p(address))


def _mappings() -> list[tuple[int, int]]:
    """Returns the start and end of every memory mapping of the process."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return [(int(start, 16), int(end, 16)) for start, end in (line.split()[0].split("-") for line in lines)]


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
