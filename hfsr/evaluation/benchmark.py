"""The benchmark behind `hfsr evaluate`, `hfsr push`, validation during training, and model cards."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hfsr.archs import luma as luma_of
from hfsr.degradations import Bicubic, Seeded, bicubic_up
from hfsr.errors import DataError, ImageError
from hfsr.hub.download.datasets import local_folder
from hfsr.images import from_rgb_float, quantize
from hfsr.images.color import rgb_to_y
from hfsr.metrics import Channel, psnr, ssim
from hfsr.model_zoo import is_luma_network

from .pairs import Pair, find_pairs, name_of_set
from .protocol import LQ_GIVEN, default_crop, make_protocol, network_input, round_lq
from .report import Report, Scores, summarize

if TYPE_CHECKING:
    from hfsr.inference import Upscaler

__all__ = ["Restore", "eight_bit_luma", "evaluate", "evaluate_folder", "score_image"]

Restore = Callable[[Tensor], Tensor]
"""RGB float (1, 3, h, w) in [0, 1] to (1, 3, h*scale, w*scale), nominally in [0, 1]."""


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
    """Restores the LQ image of every pair and measures the result against the ground truth.

    Args:
        restore: the model.
        pairs: pairs from `find_pairs`, or of arrays.
        scale: GT px per LQ px; 1 for denoising and the like.
        degradation: makes the LQ images that are not given; MATLAB bicubic if None.
        crop: px left out on each side; the scale if None, and none at scale 1.
        model: name for the report.
        set_name: name for the report.
        dtype: dtype of the computation, for the protocol.
        tile: side of the tiles, for the protocol; 0 for whole images.
        luma: the network predicts luma only (`hfsr.model_zoo.is_luma_network`). Y is then measured as in its
            papers: the network's Y, rounded to 8 bit, against GT's Y, rounded too. Through RGB each would be
            rounded in three channels, which blurs the rounding: 0.03 dB for FSRCNN x3 on Set5.
        progress: called after each image with (done, total, its scores).

    Raises:
        DataError: there are no pairs, sizes do not fit, or the model has another scale.
        ImageError: an image cannot be read, or is too small to be measured.
    """
    degradation = degradation or Seeded(Bicubic(scale=scale))
    border = default_crop(scale) if crop is None else crop
    scores: list[Scores] = []
    for pair in pairs:
        lq, gt = pair.load(degradation, scale)
        with torch.inference_mode():
            restored = restore(network_input(lq))
        sr, y = from_rgb_float(restored), _rounded_luma(restored) if luma else None
        scores.append(score_image(pair.name, sr, round_lq(lq), gt, scale=scale, crop=border, luma=y))
        if progress:
            progress(len(scores), len(pairs), scores[-1])
    lq_given = bool(pairs) and all(pair.lq is not None for pair in pairs)
    stated = {"resize": LQ_GIVEN} if lq_given else degradation.protocol()
    protocol = make_protocol(scale=scale, crop=border, dtype=dtype, tile=tile, degradation=stated)
    if luma:
        protocol["channel"] += "; Y is the network's own, it and GT's rounded to 8 bit"
    return summarize(scores, scale=scale, model=model, set_name=set_name, protocol=protocol)


def evaluate_folder(
    upscaler: Upscaler,
    gt: str,
    lq: str | None = None,
    *,
    degradation: Seeded | None = None,
    model: str,
    show_progress: bool = False,
) -> Report:
    """Evaluates an upscaler on the images of a folder; the protocol records the tiles that were used.

    Args:
        upscaler: the model, with its tile size, dtype and device.
        gt: folder of ground-truth images, or its address on the Hub.
        lq: folder of the LQ images, or its address on the Hub; None makes them.
        degradation: makes the LQ images otherwise; MATLAB bicubic if None.
        model: name for the report.
        show_progress: shows a progress bar.

    Raises:
        DataError, ImageError: a folder is missing or empty, or an image cannot be read.
        HubError: a data set on the Hub cannot be downloaded.
    """
    from tqdm import tqdm

    pairs = find_pairs(local_folder(gt), lq and local_folder(lq), upscaler.scale)
    set_name = name_of_set(gt)
    tiles: dict[int | str, None] = {}  # in the order of their first use
    with tqdm(total=len(pairs), desc=set_name, unit="image", leave=False, disable=not show_progress) as bar:

        def advance(done: int, total: int, scores: Scores) -> None:
            tiles[upscaler.used_tile] = None
            bar.set_postfix_str(f"{scores.name} {scores.psnr_y:.2f} dB")
            bar.update()

        report = evaluate(
            upscaler.tensor,
            pairs,
            scale=upscaler.scale,
            degradation=degradation,
            model=model,
            set_name=set_name,
            dtype=upscaler.dtype_name,
            luma=is_luma_network(upscaler.model),
            progress=advance,
        )
    used = {"tile": next(iter(tiles)) if len(tiles) == 1 else ", ".join(map(str, tiles))}
    if upscaler.self_ensemble:
        used["self_ensemble"] = "mean of 8 flips and transposes"
    return dataclasses.replace(report, protocol={**report.protocol, **used})


def score_image(
    name: str,
    sr: NDArray,
    lq: NDArray,
    gt: NDArray,
    *,
    scale: float,
    crop: int,
    luma: NDArray | None = None,
) -> Scores:
    """Measures one restored image.

    Args:
        name: name of the image, for errors and the report.
        sr: the result, uint8, RGB (H, W, 3).
        lq: the input, uint8, RGB or gray; the baseline is made from it.
        gt: uint8, RGB or gray; gray is measured as RGB of three equal channels.
        scale: GT px per LQ px.
        crop: px left out on each side.
        luma: the result of a network that computes only Y, uint8 (H, W); measured against GT's Y in 8 bit.

    Raises:
        DataError: the result has another size than GT.
        ImageError: the image is too small to be measured.
    """
    if sr.shape[:2] != gt.shape[:2]:
        raise DataError(
            f"'{name}': the model gave {sr.shape[1]}x{sr.shape[0]} px, GT has {gt.shape[1]}x{gt.shape[0]}; "
            f"evaluate it at its own scale (-s), not at {scale:g}"
        )
    baseline = bicubic_up(lq, scale) if scale > 1 else lq
    channel: Channel = "y" if luma is None else "rgb"  # two gray images are compared as they are
    pair = (sr, gt) if luma is None else (luma, eight_bit_luma(gt))
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


def _rounded_luma(restored: Tensor) -> NDArray:
    """The luma of a network's output before it is rounded to RGB, uint8 (H, W)."""
    return quantize(luma_of(restored)[0, 0])


def eight_bit_luma(image: NDArray) -> NDArray:
    """MATLAB's luma of an image, RGB or gray, rounded to uint8 (H, W)."""
    rgb = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
    return np.floor(rgb_to_y(rgb) + 0.5).astype(np.uint8)
