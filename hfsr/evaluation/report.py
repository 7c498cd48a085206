"""Pairs in, a Report out: every number with the protocol that made it."""

from __future__ import annotations

import functools
import math
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import hfsr
from hfsr.archs import luma as luma_of
from hfsr.degradations import Bicubic, Seeded, bicubic_up
from hfsr.errors import DataError, ImageError
from hfsr.evaluation.pairs import Pair
from hfsr.images import from_rgb_float, quantize, to_rgb_float
from hfsr.images.color import rgb_to_y
from hfsr.metrics import Channel, psnr, ssim

__all__ = ["Report", "Restore", "Scores", "evaluate", "measure", "network_input", "rounded", "summarize"]

Restore = Callable[[Tensor], Tensor]
"""RGB float (1, 3, h, w) in [0, 1] to (1, 3, h*scale, w*scale), nominally in [0, 1]."""


@dataclass(frozen=True)
class Scores:
    """What was measured on one picture; dB, infinite where nothing differs."""

    name: str
    psnr_y: float
    ssim_y: float
    psnr_rgb: float
    ssim_rgb: float
    bicubic_psnr_y: float
    """Of the baseline: bicubic enlargement, or at scale 1 the LQ picture as it is."""


@dataclass(frozen=True)
class Report:
    """The means over a set, and how they were made."""

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
        """Plain values in the order above; infinite dB, which JSON cannot say, become None."""
        report = asdict(self)
        report["per_image"] = [_finite(scores) for scores in report["per_image"]]
        return _finite(report)


def evaluate(
    restore: Restore,
    pairs: Sequence[Pair],
    *,
    scale: float,
    degradation: Seeded | None = None,
    crop: int | None = None,
    model: str = "",
    set_name: str = "",
    dtype: str = "fp32",
    tile: int | str = 0,
    luma: bool = False,
    progress: Callable[[int, int, Scores], None] | None = None,
) -> Report:
    """Restores every pair's LQ picture and measures the result against GT.

    Args:
        restore: the model, as it is to be measured.
        pairs: from `find_pairs`, or arrays.
        scale: GT px per LQ px; 1 for denoising and the like.
        degradation: makes the LQ pictures that are not given; MATLAB bicubic if None.
        crop: px left out on each side; the scale if None, and nothing at scale 1.
        model: name for the report.
        set_name: name for the report.
        dtype: what `restore` computes in, for the protocol.
        tile: what `restore` cuts, for the protocol; 0 is whole.
        luma: the network predicts luma only (`hfsr.model_zoo.is_luma_network`). Y is then measured as in its
            papers: the network's Y, rounded to 8 bit, against GT's Y, rounded too. Through RGB each would be
            rounded in three channels, which blurs the rounding: 0.03 dB for FSRCNN x3 on Set5.
        progress: called after each picture with (done, total, its scores).

    Raises:
        DataError: there are no pairs, sizes do not fit, or the model has another scale.
        ImageError: a picture cannot be read, or is too small to be measured.
    """
    degradation = degradation or Seeded(Bicubic(scale=scale))
    border = default_crop(scale) if crop is None else crop
    measured: list[Scores] = []
    for pair in pairs:
        lq, gt = pair.load(degradation, scale)
        with torch.inference_mode():
            restored = restore(network_input(lq))
        sr, y = from_rgb_float(restored), _own_luma(restored) if luma else None
        measured.append(measure(pair.name, sr, rounded(lq), gt, scale=scale, crop=border, luma=y))
        if progress:
            progress(len(measured), len(pairs), measured[-1])
    given = bool(pairs) and all(pair.lq is not None for pair in pairs)
    stated = {"resize": "LQ pictures as given"} if given else degradation.protocol()
    protocol = protocol_of(scale=scale, crop=border, dtype=dtype, tile=tile, degradation=stated)
    if luma:
        protocol["channel"] += "; Y is the network's own, it and GT's rounded to 8 bit"
    return summarize(measured, scale=scale, model=model, set_name=set_name, protocol=protocol)


def measure(
    name: str,
    sr: NDArray,
    lq: NDArray,
    gt: NDArray,
    *,
    scale: float,
    crop: int,
    luma: NDArray | None = None,
) -> Scores:
    """Measures one result.

    Args:
        name: of the picture, for errors and the report.
        sr: the result, uint8, RGB (H, W, 3).
        lq: what it was made from, uint8, RGB or gray: the baseline is made from it.
        gt: uint8, RGB or gray; gray is measured as RGB of three equal channels.
        scale: GT px per LQ px.
        crop: px left out on each side.
        luma: the Y of a network that makes nothing else, uint8 (H, W): measured against GT's in 8 bit.

    Raises:
        DataError: the result has another size than GT.
        ImageError: the picture is too small to be measured.
    """
    if sr.shape[:2] != gt.shape[:2]:
        raise DataError(
            f"'{name}': the model gave {sr.shape[1]}x{sr.shape[0]} px, GT has {gt.shape[1]}x{gt.shape[0]}; "
            f"evaluate it at its own scale (-s), not at {scale:g}"
        )
    baseline = bicubic_up(lq, scale) if scale > 1 else lq
    channel: Channel = "y" if luma is None else "rgb"  # two gray pictures count as they are
    pair = (sr, gt) if luma is None else (luma, _eight_bit_luma(gt))
    try:
        return Scores(
            name=name,
            psnr_y=psnr(*pair, crop=crop, channel=channel),
            ssim_y=ssim(*pair, crop=crop, channel=channel),
            psnr_rgb=psnr(sr, gt, crop=crop, channel="rgb"),
            ssim_rgb=ssim(sr, gt, crop=crop, channel="rgb"),
            bicubic_psnr_y=psnr(baseline, gt, crop=crop),
        )
    except ImageError as error:
        raise ImageError(f"'{name}': {error}") from error


def summarize(
    scores: Sequence[Scores], *, scale: float, model: str = "", set_name: str = "", protocol: dict[str, Any]
) -> Report:
    """The means over pictures, measured here or gathered from other processes.

    Raises:
        DataError: there are none.
    """
    if not scores:
        raise DataError("there is nothing to measure; give at least one pair of pictures")
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


def default_crop(scale: float) -> int:
    """What the tables leave out on each side: the scale, and nothing where the size stays."""
    return math.ceil(scale) if scale > 1 else 0


def protocol_of(
    *, scale: float, crop: int, dtype: str, tile: int | str, degradation: dict[str, Any]
) -> dict[str, Any]:
    """The statement that goes with every number.

    Args:
        degradation: `Seeded.protocol()`, or what else says where the LQ pictures come from.
    """
    return {
        "channel": "Y: MATLAB BT.601 luma; RGB: all three",
        "crop": crop,
        **degradation,
        "baseline": "MATLAB bicubic" if scale > 1 else "the LQ picture",
        "rounding": "clamped and rounded to 8 bit",
        "ssim": "11x11 Gaussian, sigma 1.5",
        "dtype": dtype,
        "tile": tile,
        "hfsr": hfsr.__version__,
        "commit": source_commit(),
    }


@functools.cache
def source_commit() -> str | None:
    """The commit of this code ("-dirty" with changes on top); None where it is not run from a checkout."""
    root = Path(hfsr.__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude", "*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None  # no git here, or it refuses this folder: the version alone is stated
    return done.stdout.strip() or None


def _own_luma(restored: Tensor) -> NDArray:
    """Y of a result that has not been rounded, uint8 (H, W)."""
    return quantize(luma_of(restored)[0, 0])


def _eight_bit_luma(picture: NDArray) -> NDArray:
    colors = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
    return np.floor(rgb_to_y(colors) + 0.5).astype(np.uint8)


def network_input(lq: NDArray) -> Tensor:
    """An LQ picture, of integers or float32 (H, W, 3) in [0, 1], as a network takes it: (1, 3, H, W)."""
    if lq.dtype != np.float32:
        return to_rgb_float(lq)
    return torch.from_numpy(lq).permute(2, 0, 1)[None].contiguous()


def rounded(lq: NDArray) -> NDArray:
    """What the baseline is made from: an LQ picture of other than integers is rounded like a result."""
    return quantize(torch.from_numpy(lq)) if lq.dtype == np.float32 else lq


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
