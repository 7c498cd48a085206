"""Tone curve between floating-point samples of any brightness and the values in [0, 1] that networks take."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["ToneCurve"]

_LEAST_ROOM, _MOST_ROOM = 0.15, 0.5
"""Part of the network's range for values above white. Both parts of the range must stay wide: a network is
wrong by some thousandths of the range, whatever that range stands for."""
_SAMPLED = 1 << 20
"""Px that decide what white is."""


@dataclass(frozen=True)
class ToneCurve:
    """Invertible curve from samples of at least 0 to codes in [0, 1].

    Without samples above 1 it is the curve of sRGB, or the identity for samples that are on a curve already.
    Otherwise the samples up to `white` keep that curve in the lower part of the range, and those above it are
    compressed logarithmically into the rest. So a few very bright px do not darken all others below what a
    network resolves. Codes above 1, the overshoot of a network at the brightest px, continue without the
    logarithm.

    Attributes:
        is_linear: True for samples of linear light.
        white: sample above which values are compressed, at least 1.
        top: the brightest sample, relative to white, on the curve of sRGB; 1 if none is above white.
        room: part of the range for values above white; 0 if there are none.
    """

    is_linear: bool
    white: float = 1.0
    top: float = 1.0
    room: float = 0.0

    @classmethod
    def of(cls, samples: NDArray[np.float32], *, is_linear: bool) -> ToneCurve:
        """Curve for the samples of a whole image.

        White is 1, or the median of the samples above 0 if that is brighter, as in files of another unit. The
        more samples are above white, the more room they get.

        Args:
            samples: (H, W, ...), at least 0, finite.
            is_linear: True for linear light.
        """
        brightest = float(samples.max())
        if brightest <= 1:
            return cls(is_linear)
        step = max(1, math.isqrt(samples.shape[0] * samples.shape[1] // _SAMPLED))
        some = samples[::step, ::step]
        positive = some[some > 0]
        white = max(1.0, float(np.median(positive.astype(np.float64))) if positive.size else 1.0)
        top = brightest / white
        top = 1.055 * top ** (1 / 2.4) - 0.055 if is_linear and top > 1 else max(top, 1.0)
        steps = math.log(top)
        share = float((some > white).mean())
        # no more than continues the curve below white without a bend
        room = min(max(share, _LEAST_ROOM), _MOST_ROOM, steps / (1 + steps))
        return cls(is_linear, white, top, room)

    def encode(self, samples: Tensor) -> Tensor:
        """Converts samples to codes in [0, 1], same shape."""
        relative = samples / self.white
        coded = _srgb_encoded(relative) if self.is_linear else relative
        if not self.room:
            return coded
        above = coded.clamp(min=1).log_().mul_(self.room / math.log(self.top)).add_(1 - self.room)
        return torch.where(coded <= 1, coded * (1 - self.room), above)

    def decode(self, codes: Tensor) -> Tensor:
        """Converts codes to finite samples of at least 0, same shape."""
        coded = codes.float().clamp(min=0)
        if self.room:
            above = coded.clamp(max=1).sub_(1 - self.room).mul_(math.log(self.top) / self.room).exp_()
            above *= coded.clamp(min=1)
            coded = torch.where(coded <= 1 - self.room, coded / (1 - self.room), above)
        samples = _srgb_decoded(coded) if self.is_linear else coded
        return samples.mul_(self.white).clamp_(max=torch.finfo(torch.float32).max)


def _srgb_encoded(linear: Tensor) -> Tensor:
    """Applies the curve of sRGB (IEC 61966-2-1), which continues above 1."""
    curved = linear.clamp(min=1e-9).pow_(1 / 2.4).mul_(1.055).sub_(0.055)
    return torch.where(linear <= 0.0031308, linear * 12.92, curved)


def _srgb_decoded(coded: Tensor) -> Tensor:
    curved = coded.add(0.055).div_(1.055).pow_(2.4)
    return torch.where(coded <= 0.04045, coded / 12.92, curved)
