"""Random numbers that are a function of (seed, epoch, index) alone.

No generator has a state, so that order, process and restarts do not affect a patch: the same index of the
same epoch always gives the same patch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["epoch_order", "uniforms"]

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def uniforms(seed: int, epoch: int, indices: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """Returns `count` numbers in [0, 1) for each index: shape (len(indices), count)."""
    stream = _mix(np.uint64((_scramble(seed) ^ _scramble(epoch + 1) * 3) & _MASK))
    columns = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
    state = _mix(indices.astype(np.uint64) * np.uint64(_GOLDEN) + stream)[:, None] + columns
    return (_mix(state) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def epoch_order(seed: int, epoch: int, length: int) -> NDArray[np.int64]:
    """Returns the indices 0 .. length-1 in the order of this epoch."""
    keys = uniforms(seed ^ 0x5EED, epoch, np.arange(length), 1)[:, 0]
    return np.argsort(keys, kind="stable")


def _scramble(number: int) -> int:
    return (number * _GOLDEN + 0x1234567) & _MASK


def _mix(state: NDArray[np.uint64] | np.uint64) -> NDArray[np.uint64]:
    """Applies the finalizer of splitmix64 (overflow is intended)."""
    with np.errstate(over="ignore"):
        state = np.asarray(state, np.uint64)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return state ^ (state >> np.uint64(31))
