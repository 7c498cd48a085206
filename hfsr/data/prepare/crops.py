"""Crops of large images: all of them as files, or the most detailed ones in a pack."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hfsr.errors import DataError, OptionsError
from hfsr.images import image_bits, image_size

from ..decoded_images import Progress
from ..file_lists import read_rgb, read_rgb_8bit
from ..pack import writing_pack
from .parallel_files import Task, images_of, names_in, write_png

__all__ = ["pack_crops", "subimages"]

logger = logging.getLogger("hfsr")

_SCALE = re.compile(r"x[2348]$")


def subimages(
    source: Path,
    folder: Path,
    *,
    size: int = 480,
    step: int = 240,
    thresh_size: int = 0,
    compression: int = 3,
) -> list[Task]:
    """Makes tasks that crop every image on a grid and at the far edges; names are BasicSR's `NAME_s001.png`.

    Args:
        source: folder of images; NAMEx2 and the like become NAME, so that LR crops pair with HR crops.
        folder: folder of the crops.
        size: side of a crop in px.
        step: px between crops; divide both by the scale for LR images.
        thresh_size: number of remaining px at the far edge above which there is one more crop.
        compression: compression level of the PNG files, 0 to 9.

    Raises:
        DataError: if the source is missing or empty.
        ImageError: if an image cannot be read.
        OptionsError: if size or step are below 1.
    """
    if size < 1 or step < 1:
        raise OptionsError(f"size {size} and step {step} must be 1 or more")
    images = images_of(source)
    tasks = []
    for image, name in zip(images, names_in(source, images), strict=True):
        width, height = image_size(image)
        corners = [
            (top, left)
            for top in _starts(height, size, step, thresh_size)
            for left in _starts(width, size, step, thresh_size)
        ]
        stem = _SCALE.sub("", name)
        targets = tuple(folder / f"{stem}_s{number:03}.png" for number in range(1, len(corners) + 1))
        make = partial(_cut, image, targets, corners, size, compression)
        tasks.append(Task(image, targets, make))
    return tasks


def _starts(length: int, size: int, step: int, thresh_size: int) -> list[int]:
    starts = list(range(0, length - size + 1, step))
    if starts and length - (starts[-1] + size) > thresh_size:
        starts.append(length - size)
    return starts


def _cut(
    image: Path, targets: Sequence[Path], corners: Sequence[tuple[int, int]], size: int, compression: int
) -> None:
    if not targets:
        return
    pixels = read_rgb(image)
    for target, (top, left) in zip(targets, corners, strict=True):
        write_png(target, pixels[top : top + size, left : left + size], compression=compression)


@dataclass(frozen=True, order=True)
class _Crop:
    """A candidate, sorted by its rank within its image, then by decreasing detail."""

    rank: int
    poverty: float
    name: str
    top: int
    left: int


def pack_crops(
    sources: Sequence[Path],
    target: Path,
    *,
    size: int = 128,
    megabytes: float = 40.0,
    progress: Progress | None = None,
) -> int:
    """Writes the most detailed crops to one file: the best of each image, then the second of each, ...

    The detail of a crop is the mean absolute difference of neighboring luma px. The choice and the pack
    depend on the images alone.

    Args:
        sources: folders of images.
        target: path of the pack; an existing file is replaced.
        size: side of a crop in px; crops do not overlap.
        megabytes: maximum size of the pack (10^6 bytes).
        progress: called after each image, twice.

    Returns:
        The number of crops in the pack.

    Raises:
        DataError: if a source is missing, no image is large enough, or not one crop fits.
        ImageError: if an image cannot be read, or the pack cannot be written.
    """
    # Each crop needs up to 64 bytes of alignment and 200 of index, and the header needs some.
    room = int((megabytes * 1e6 - 4096) // (3 * size * size + 264))
    images = _by_name(sources)
    candidates: list[_Crop] = []
    for done, (name, path) in enumerate(images.items(), 1):
        candidates += _candidates(name, read_rgb_8bit(path), size)
        if progress:
            progress(done, 2 * len(images))
    deep = sum(image_bits(path) > 8 for path in images.values())
    if deep:
        logger.warning("%d images of 16 bits are rounded to 8 bits in '%s'", deep, target)
    chosen = sorted(candidates)[: max(0, room)]
    if not chosen:
        raise DataError(f"no crop of {size} px: the images are smaller, or {megabytes:g} MB are not enough")
    wanted: dict[str, list[_Crop]] = {}
    for crop in chosen:
        wanted.setdefault(crop.name, []).append(crop)
    with writing_pack(
        target, {"size": size, "pictures": len(images), "chosen": "richest luma gradient"}
    ) as pack:
        for done, (name, path) in enumerate(images.items(), 1):
            pixels = read_rgb_8bit(path) if name in wanted else np.zeros((0, 0, 3), np.uint8)
            for crop in sorted(wanted.get(name, []), key=lambda crop: (crop.top, crop.left)):
                part = pixels[crop.top : crop.top + size, crop.left : crop.left + size]
                pack.add(f"{name}_{crop.top}_{crop.left}", part)
            if progress:
                progress(len(images) + done, 2 * len(images))
    return len(chosen)


def _by_name(sources: Sequence[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for source in sources:
        images = images_of(source)
        prefix = f"{source.name}/" if len(sources) > 1 else ""
        named = {prefix + name: path for name, path in zip(names_in(source, images), images, strict=True)}
        if doubles := found.keys() & named.keys():
            raise DataError(f"two sources contain '{min(doubles)}'; name folders of different names")
        found |= named
    return found


def _candidates(name: str, pixels: NDArray[np.uint8], size: int) -> list[_Crop]:
    luma = pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    scored = []
    for top in range(0, luma.shape[0] - size + 1, size):
        for left in range(0, luma.shape[1] - size + 1, size):
            part = luma[top : top + size, left : left + size]
            gradient = np.abs(np.diff(part, axis=0)).mean() + np.abs(np.diff(part, axis=1)).mean()
            scored.append((-round(float(gradient), 3), top, left))
    return [_Crop(rank, poverty, name, *corner) for rank, (poverty, *corner) in enumerate(sorted(scored))]
