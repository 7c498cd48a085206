"""Batches of random patches, cut from decoded pictures."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hfsr.errors import DataError

from .randomness import uniforms
from .store import PictureStore

__all__ = ["Batch", "PatchCutter", "PatchSource"]

Batch = dict[str, Tensor]
"""`lq` and `gt`: RGB in [0, 1], float32, (B, 3, h, w) and (B, 3, h*scale, w*scale), of any memory order."""


class PatchSource(Protocol):
    """What training draws from."""

    left_out: int
    """Pictures that are too small to be cut."""

    def __len__(self) -> int:
        """Number of pictures: an epoch has this many indices, times `dataset_enlarge_ratio`."""

    def batch(self, epoch: int, indices: NDArray[np.int64]) -> Batch:
        """The patches of these indices of an epoch: always the same ones."""


class PatchCutter:
    """Random crop and the eight symmetries of the square, by slicing.

    Args:
        store: decoded pictures.
        gt_size: side of a GT patch in px, a multiple of the scale.
        use_hflip: mirror at random.
        use_rot: rotate by multiples of 90 degrees at random (with `use_hflip`, all eight symmetries).
        sampling: "picture" draws every picture equally often, "area" in proportion to its pixels.
        seed: of all that is random here.

    Pictures smaller than a patch are left out; `left_out` counts them.

    Raises:
        DataError: gt_size is not a multiple of the scale, or every picture is smaller.
    """

    def __init__(
        self,
        store: PictureStore,
        *,
        gt_size: int,
        use_hflip: bool,
        use_rot: bool,
        sampling: Literal["picture", "area"],
        seed: int,
    ) -> None:
        scale = store.scale
        if gt_size % scale:
            raise DataError(
                f"gt_size {gt_size} is not a multiple of the scale {scale}; use {gt_size - gt_size % scale}"
            )
        side = gt_size // scale
        self.pairs = [(lq, gt) for lq, gt in store.pairs if min(lq.shape[:2]) >= side]
        if not self.pairs:
            raise DataError(
                f"none of the {len(store)} pictures is as large as gt_size {gt_size}; lower gt_size"
            )
        self.left_out = len(store) - len(self.pairs)
        self.scale, self.side, self.seed = scale, side, seed
        self.use_hflip, self.use_rot = use_hflip, use_rot
        areas = np.array([lq.shape[0] * lq.shape[1] for lq, _ in self.pairs], np.float64)
        self._shares = np.cumsum(areas) / areas.sum() if sampling == "area" else None

    def __len__(self) -> int:
        return len(self.pairs)

    def batch(self, epoch: int, indices: NDArray[np.int64]) -> Batch:
        side, scale = self.side, self.scale
        draws = uniforms(self.seed, epoch, indices, 6)
        lq = np.empty((len(indices), side, side, 3), np.uint8)
        gt = np.empty((len(indices), side * scale, side * scale, 3), np.uint8)
        for row, (index, draw) in enumerate(zip(indices.tolist(), draws.tolist(), strict=True)):
            low, high = self.pairs[self._picture(index, draw[0])]
            top = int(draw[1] * (low.shape[0] - side + 1))
            left = int(draw[2] * (low.shape[1] - side + 1))
            lq[row] = self._turn(low[top : top + side, left : left + side], draw[3:])
            top, left, size = top * scale, left * scale, side * scale
            gt[row] = self._turn(high[top : top + size, left : left + size], draw[3:])
        return {"lq": _to_tensor(lq), "gt": _to_tensor(gt)}

    def _picture(self, index: int, draw: float) -> int:
        if self._shares is None:
            return index % len(self.pairs)
        return min(int(np.searchsorted(self._shares, draw, side="right")), len(self.pairs) - 1)

    def _turn(self, patch: NDArray[np.uint8], draw: list[float]) -> NDArray[np.uint8]:
        if self.use_hflip and draw[0] < 0.5:
            patch = patch[:, ::-1]
        if self.use_rot and draw[1] < 0.5:
            patch = patch[::-1]
        if self.use_rot and draw[2] < 0.5:
            patch = patch.transpose(1, 0, 2)
        return patch


def _to_tensor(patches: NDArray[np.uint8]) -> Tensor:
    # NumPy, one thread: at this size torch's threads wait for each other longer than they work.
    scaled = np.divide(patches, np.float32(255), dtype=np.float32)
    return torch.from_numpy(scaled).permute(0, 3, 1, 2)
