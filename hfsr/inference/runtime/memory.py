"""Free, resident and peak memory of the device and of this process, within the limits of its container."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import torch

from .accelerator import device_module

__all__ = [
    "fix_planned_memory",
    "free_memory",
    "is_memory_shared",
    "is_out_of_memory",
    "peak_memory",
    "planned_memory",
    "resident_memory",
]

_OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "status_alloc_failed",  # from cuBLAS and cuDNN
    "unable to find a valid cudnn algorithm",  # no algorithm whose workspace fits
)
_CGROUPS = Path("/sys/fs/cgroup")
_STATUS = Path("/proc/self/status")


def is_out_of_memory(error: BaseException) -> bool:
    """Returns True if an error of torch or Python reports that memory ran out."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(
        phrase in str(error).lower() for phrase in _OUT_OF_MEMORY
    )


def resident_memory() -> int:
    """Returns the bytes of memory that this process occupies."""
    return int(psutil.Process().memory_info().rss)


def peak_memory(device: torch.device) -> int:
    """Returns the peak bytes so far: allocated on a GPU, else occupied by this process.

    MPS shares the memory of the process and has no peak of its own.
    """
    if device.type in ("cuda", "xpu"):
        return int(device_module(device).max_memory_allocated(device))
    return _peak_of_process()


def _peak_of_process() -> int:
    """Returns the peak of this process alone: `getrusage` on Linux includes the parent's at the fork."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:  # not Linux
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
    """Returns the bytes free for this process on the device; on the CPU within ulimit and control groups."""
    if device.type in ("cuda", "xpu"):
        module = device_module(device)
        free, _ = module.mem_get_info(device)
        return int(free + module.memory_reserved(device) - module.memory_allocated(device))
    if device.type == "mps":
        left = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
        return max(0, min(int(left), int(psutil.virtual_memory().available)))
    limits = [int(psutil.virtual_memory().available), *_cgroup_limits(), *_address_space()]
    return max(0, min(limits))


_planned: int | None = None


def fix_planned_memory(count: int | None) -> None:
    """Fixes the bytes that this process plans with on the CPU; None measures them for each image.

    Processes that share a folder plan with one number, so that an image has the same bands in each of them.
    """
    global _planned
    _planned = count


def planned_memory(device: torch.device) -> int:
    """Returns the bytes that band heights and tile sizes are chosen for: those free, or a fixed number."""
    return _planned if _planned is not None and device.type == "cpu" else free_memory(device)


def is_memory_shared() -> bool:
    """Returns True if this process shares the memory with others that upscale the same folder."""
    return _planned is not None


def _address_space() -> list[int]:
    """Returns the bytes left under `ulimit -v`; empty without a limit."""
    if sys.platform == "win32":
        return []
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return [] if limit == resource.RLIM_INFINITY else [limit - int(psutil.Process().memory_info().vms)]


def _cgroup_limits() -> list[int]:
    """Returns the bytes left in the control groups of this process, up to the root (versions 1 and 2)."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
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
        # In a container the path is often that of the host, and only the root is visible.
        group = folder / path.strip("/")
        for place in (group, *group.parents):
            left = _cgroup_left(place, *names)
            if left is not None:
                found.append(left)
            if place == folder:
                break
    return found


def _cgroup_left(folder: Path, limit: str, usage: str, reclaimable: str) -> int | None:
    """Returns limit minus usage, with the file cache counted as free; None without a limit."""
    try:
        most = (folder / limit).read_text().strip()
        if not most.isdigit():  # "max"
            return None
        used = int((folder / usage).read_text())
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    return int(most) - used + int(stat.get(reclaimable, 0))
