"""Batches of different scales: one scale per batch, as in the training of VDSR and Meta-SR."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hfsr.degradations import Bicubic, Chain, Step
from hfsr.degradations.base import ProtocolEntries
from hfsr.errors import OptionsError

from .decoded_images import Imagestore
from .patches import Batch, PatchCutter
from .randomness import uniforms

__all__ = ["MixedScales"]


class _Alone(Step):
    """Applies a step to a patch without its surroundings, as to a separate image."""

    def __init__(self, step: Step) -> None:
        self.step = step

    def __call__(self, pixels: NDArray, rng: np.random.Generator) -> NDArray:
        return self.step(pixels, rng)

    def protocol(self) -> ProtocolEntries:
        return self.step.protocol()


class MixedScales:
    """Patches at one of several scales, which the number of the step selects.

    LQ is the MATLAB bicubic reduction of the GT patch, so a scale may be any real number. Besides `lq` and
    `gt`, a batch contains its `scale`, shape (B, 1, 1, 1).

    Args:
        store: images at scale 1.
        scales: the scales, all drawn equally often.
        gt_size: side of a GT patch in px, cropped to a whole number of LQ px; or
        lq_size: side of an LQ patch in px; the side of GT is `floor(lq_size * scale)`.
        seed: seed of the scales and patches.
        cutting: the other arguments of `PatchCutter`.

    Raises:
        OptionsError: if a scale is below 1, there is none, or both sizes or neither are given.
        DataError: if every image is smaller than the largest patch.
    """

    def __init__(
        self,
        store: Imagestore,
        *,
        scales: Sequence[float],
        gt_size: int | None,
        lq_size: int | None,
        seed: int,
        cutting: dict[str, Any],
    ) -> None:
        if not scales or min(scales) < 1:
            raise OptionsError(
                f"datasets.train.scales: {list(scales)} is not allowed; use numbers that are at least 1"
            )
        if (gt_size is None) == (lq_size is None):
            raise OptionsError("datasets.train: give either gt_size or lq_size with scales")
        self.scales, self.seed = list(scales), seed
        self.cutters: list[PatchCutter] = []
        for scale in self.scales:
            side = math.floor(gt_size / scale + 1e-6) if gt_size is not None else lq_size or 0
            size = math.floor(side * scale + 1e-6)
            chain = Chain([_Alone(Bicubic(scale=scale))] if scale > 1 else [])
            self.cutters.append(PatchCutter(store, gt_size=size, seed=seed, degradation=chain, **cutting))
        self.left_out = max(cutter.left_out for cutter in self.cutters)
        self.deep = max(cutter.deep for cutter in self.cutters)

    def __len__(self) -> int:
        return min(len(cutter) for cutter in self.cutters)

    def batch(self, epoch: int, indices: NDArray[np.int64], step: int = 0) -> Batch:
        """Returns the patches of these indices of an epoch, at the scale of a step."""
        draw = uniforms(self.seed ^ 0x5CA1E, 0, np.array([step]), 1)[0, 0]
        which = min(int(draw * len(self.scales)), len(self.scales) - 1)
        patches = self.cutters[which].batch(epoch, indices)
        return {**patches, "scale": torch.full((len(indices), 1, 1, 1), float(self.scales[which]))}
