"""The machine that a benchmark runs on, for the head of its table."""

from __future__ import annotations

import platform
import time
from pathlib import Path

import torch

_FEATURES = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")


def processor() -> str:
    """Returns the name of the CPU, its instruction sets that matter here, threads, and torch's version."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    name = next(
        (line.split(": ")[1] for line in lines if line.startswith("model name")), platform.processor()
    )
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    shown = " ".join(each for each in _FEATURES if each in flags)
    return f"{name} ({shown}), {torch.get_num_threads()} threads, torch {torch.__version__}"


def matrix_rate(side: int = 2048, rounds: int = 5) -> float:
    """Returns the GFLOP/s of the best of several float32 matrix products."""
    a, b = torch.rand(side, side), torch.rand(side, side)
    best = float("inf")
    for _ in range(rounds):
        started = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - started)
    return 2 * side**3 / best / 1e9
