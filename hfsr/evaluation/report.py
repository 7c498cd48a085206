"""Scores of single images, and the report of a set with its means and protocol."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from statistics import fmean
from typing import Any

from hfsr.errors import DataError

__all__ = ["Report", "Scores", "summarize"]


@dataclass(frozen=True)
class Scores:
    """Measurements of one image; PSNR in dB, infinite if nothing differs."""

    name: str
    psnr_y: float
    ssim_y: float
    psnr_rgb: float
    ssim_rgb: float
    bicubic_psnr_y: float
    """PSNR of the baseline: the bicubic upscaling, or at scale 1 the LQ image itself."""


@dataclass(frozen=True)
class Report:
    """Means over a set of images, with the protocol that produced them."""

    model: str
    set: str
    scale: float
    images: int
    psnr_y: float
    ssim_y: float
    psnr_rgb: float
    ssim_rgb: float
    bicubic_psnr_y: float
    per_image: tuple[Scores, ...]
    protocol: dict[str, Any]
    """channel, crop, resize (or noise, jpeg), baseline, rounding, dtype, tile, hfsr (version and commit)."""

    def to_json(self) -> dict[str, Any]:
        """Plain values in the order above; infinite PSNR becomes None, since JSON has no infinity."""
        report = asdict(self)
        report["per_image"] = [_without_infinity(scores) for scores in report["per_image"]]
        return _without_infinity(report)


def summarize(
    scores: Sequence[Scores], *, scale: float, model: str = "", set_name: str = "", protocol: dict[str, Any]
) -> Report:
    """Averages scores, measured in this process or gathered from several.

    Raises:
        DataError: there are no scores.
    """
    if not scores:
        raise DataError("there is nothing to measure; give at least one pair of images")
    means = {f.name: fmean(getattr(s, f.name) for s in scores) for f in fields(Scores) if f.name != "name"}
    return Report(
        model=model,
        set=set_name,
        scale=scale,
        images=len(scores),
        per_image=tuple(scores),
        protocol=protocol,
        **means,
    )


def _without_infinity(values: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
