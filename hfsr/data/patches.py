"""Batches of random patches, cut from decoded images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hfsr.archs import luma
from hfsr.degradations import SHARPENING_REACH, Chain, sharpened
from hfsr.errors import DataError

from .decoded_images import Imagestore
from .randomness import uniforms

__all__ = ["Batch", "PatchCutter", "PatchSource"]

Batch = dict[str, Tensor]
"""`lq` and `gt`: RGB in [0, 1], float32, (B, 3, h, w) and (B, 3, h*scale, w*scale), of any memory order.

With `sharpen_gt` also `gt_usm`, the sharpened `gt`; with `color: y` one channel, the luma."""


class PatchSource(Protocol):
    """Source of the patches of a training."""

    left_out: int
    """Number of images that are smaller than a patch."""
    deep: int
    """Number of images with 16 bits per channel in LQ or GT."""

    def __len__(self) -> int:
        """Returns the number of images: an epoch has this many indices, times `dataset_enlarge_ratio`."""

    def batch(self, epoch: int, indices: NDArray[np.int64]) -> Batch:
        """Returns the patches of these indices of an epoch: always the same ones."""


class PatchCutter:
    """Cuts random patches, flips and rotates them, by slicing; then applies the random degradation steps.

    Args:
        store: decoded images.
        gt_size: side of a GT patch in px, a multiple of the scale.
        use_hflip: mirror at random.
        use_rot: rotate by multiples of 90 degrees at random (with `use_hflip`, all eight symmetries).
        sampling: `picture` draws every image equally often, `area` in proportion to its pixels.
        seed: seed of all random numbers here.
        degradation: applied to each LQ patch after cutting and rotation.
        sharpen_gt: True to return sharpened GT patches too, and to make LQ from them if it is made here.
        to_luma: True to return lumas (MATLAB's) instead of RGB.

    Images smaller than a patch are left out; `left_out` counts them.

    Raises:
        DataError: if gt_size is not a multiple of the scale, or every image is smaller.
    """

    def __init__(
        self,
        store: Imagestore,
        *,
        gt_size: int,
        use_hflip: bool,
        use_rot: bool,
        sampling: Literal["picture", "area"],
        seed: int,
        degradation: Chain | None = None,
        sharpen_gt: bool = False,
        to_luma: bool = False,
    ) -> None:
        scale = store.scale
        self.sharpen_gt, self.to_luma = sharpen_gt, to_luma
        self.degradation = degradation or Chain([])
        self.reduction = self.degradation.scale
        if gt_size % scale:
            raise DataError(
                f"gt_size {gt_size} is not a multiple of the scale {scale}; use {gt_size - gt_size % scale}"
            )
        side = gt_size // scale
        self.pairs = [(lq, gt) for lq, gt in store.pairs if min(lq.shape[:2]) >= side * self.reduction]
        if not self.pairs:
            raise DataError(
                f"none of the {len(store)} images is as large as gt_size {gt_size}; lower gt_size"
            )
        self.left_out = len(store) - len(self.pairs)
        self.deep = sum(np.uint16 in (lq.dtype, gt.dtype) for lq, gt in self.pairs)
        self.scale, self.side, self.seed = scale, side, seed
        self.use_hflip, self.use_rot = use_hflip, use_rot
        areas = np.array([lq.shape[0] * lq.shape[1] for lq, _ in self.pairs], np.float64)
        self._shares = np.cumsum(areas) / areas.sum() if sampling == "area" else None

    def __len__(self) -> int:
        return len(self.pairs)

    def batch(self, epoch: int, indices: NDArray[np.int64], gt_size: int | None = None) -> Batch:
        """Returns a batch as `PatchSource` does; `gt_size` sets a smaller size, a multiple of the scale."""
        side = self.side if gt_size is None else gt_size // self.scale
        draws = uniforms(self.seed, epoch, indices, 7)
        patches: dict[str, list[NDArray]] = {}
        for index, draw in zip(indices.tolist(), draws.tolist(), strict=True):
            pair = self.pairs[self._image(index, draw[0])]
            low = pair[0]
            top = int(draw[1] * (low.shape[0] // self.reduction - side + 1))
            left = int(draw[2] * (low.shape[1] // self.reduction - side + 1))
            turn = _Turn(
                self.use_hflip and draw[3] < 0.5,
                self.use_rot and draw[4] < 0.5,
                self.use_rot and draw[5] < 0.5,
            )
            for name, patch in self._cut(pair, top, left, side, turn, draw[6]).items():
                patches.setdefault(name, []).append(patch)
        tensors = {name: _to_tensor(listed) for name, listed in patches.items()}
        return {name: luma(x) for name, x in tensors.items()} if self.to_luma else tensors

    def _image(self, index: int, draw: float) -> int:
        if self._shares is None:
            return index % len(self.pairs)
        return min(int(np.searchsorted(self._shares, draw, side="right")), len(self.pairs) - 1)

    def _cut(
        self, pair: tuple[NDArray, NDArray], top: int, left: int, side: int, turn: _Turn, draw: float
    ) -> dict[str, NDArray]:
        """Returns the patches of a pair whose LQ patch of `side` px is at (top, left).

        The surroundings of a patch are degraded and sharpened with it, as far as they affect it.
        """
        (low, high), chain, scale = pair, self.degradation, self.scale
        size, reduction = side * scale, self.reduction
        gt = turn(high[top * scale : top * scale + size, left * scale : left * scale + size])
        reach = chain.reach + (SHARPENING_REACH if self.sharpen_gt and chain.steps else 0)
        region, row, column = _surrounded(
            low, (top * reduction, left * reduction), side * reduction, turn, reach, chain.grid
        )
        if not chain.steps:
            if not self.sharpen_gt:
                return {"lq": region, "gt": gt}
            around, row, column = _surrounded(
                high, (top * scale, left * scale), size, turn, SHARPENING_REACH, 1
            )
            sharp = sharpened(around)[row : row + size, column : column + size]
            return {"lq": region, "gt": gt, "gt_usm": sharp}
        patches = {"gt": gt}
        if self.sharpen_gt:
            region = sharpened(region)
            patches["gt_usm"] = region[row : row + size, column : column + size]
        # One draw with 53 random bits seeds the degradation of this patch.
        bad = chain(np.ascontiguousarray(region), np.random.default_rng(int(draw * 2**53)))
        row, column = row // reduction, column // reduction
        return {"lq": bad[row : row + side, column : column + side], **patches}


@dataclass(frozen=True)
class _Turn:
    """One of the eight symmetries of the square: mirrored, upside down, transposed, in this order."""

    mirror: bool
    over: bool
    transpose: bool

    def __call__(self, patch: NDArray) -> NDArray:
        if self.mirror:
            patch = patch[:, ::-1]
        if self.over:
            patch = patch[::-1]
        return patch.transpose(1, 0, 2) if self.transpose else patch

    def corner(self, top: int, left: int, size: tuple[int, int], side: int) -> tuple[int, int]:
        """Returns the new upper left corner of a square of `side` px in an image of `size`."""
        if self.mirror:
            left = size[1] - side - left
        if self.over:
            top = size[0] - side - top
        return (left, top) if self.transpose else (top, left)


def _surrounded(
    image: NDArray, corner: tuple[int, int], side: int, turn: _Turn, reach: int, grid: int
) -> tuple[NDArray, int, int]:
    """Returns a transformed square of an image with its surroundings, and the corner of the square in it."""
    rows, columns = (
        _around(start, side, length, reach, grid)
        for start, length in zip(corner, image.shape[:2], strict=True)
    )
    inside = corner[0] - rows.start, corner[1] - columns.start
    top, left = turn.corner(*inside, (rows.stop - rows.start, columns.stop - columns.start), side)
    return turn(image[rows, columns]), top, left


def _around(start: int, side: int, length: int, reach: int, grid: int) -> slice:
    """Returns `side` px from `start` with `reach` px on both sides, within the line and on the grid."""
    reach = -(-reach // grid) * grid
    before = min(reach, start // grid * grid)
    after = min(reach, (length - start - side) // grid * grid)
    return slice(start - before, start + side + after)


def _to_tensor(patches: Sequence[NDArray]) -> Tensor:
    """Converts patches of uint8, uint16 or float32 in [0, 1], even mixed, to float32 in [0, 1]."""
    if len({patch.dtype for patch in patches}) > 1:
        return torch.from_numpy(np.stack([_as_float(patch) for patch in patches])).permute(0, 3, 1, 2)
    return torch.from_numpy(_as_float(np.stack(patches))).permute(0, 3, 1, 2)


def _as_float(pixels: NDArray) -> NDArray[np.float32]:
    # NumPy, one thread: at this size torch's threads wait for each other longer than they compute.
    if pixels.dtype.kind == "u":
        pixels = np.divide(pixels, np.float32(np.iinfo(pixels.dtype).max), dtype=np.float32)
    return np.ascontiguousarray(pixels)
