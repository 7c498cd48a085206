"""LR images in folders, in DIV2K's layout."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from hfsr.degradations import bicubic_down, modcrop

from ..file_lists import read_rgb
from .parallel_files import Task, images_of, names_in, write_png

__all__ = ["lr_images"]


def lr_images(source: Path, folder: Path, *, scales: Sequence[int], compression: int = 3) -> list[Task]:
    """Makes tasks for MATLAB's bicubic reduction of every image: `X2/NAMEx2.png`, `X3/NAMEx3.png`, ...

    Args:
        source: folder of HR images, which are cropped at the right and bottom to a multiple of the scale.
        folder: folder that receives one folder for each scale.
        scales: integers from 2.
        compression: compression level of the PNG files, 0 to 9.

    Raises:
        DataError: if the source is missing or empty.
    """
    images = images_of(source)
    tasks = []
    for image, name in zip(images, names_in(source, images), strict=True):
        targets = tuple(folder / f"X{scale}" / f"{name}x{scale}.png" for scale in scales)
        tasks.append(Task(image, targets, partial(_reduce, image, scales, targets, compression)))
    return tasks


def _reduce(image: Path, scales: Sequence[int], targets: Sequence[Path], compression: int) -> None:
    pixels = read_rgb(image)
    for scale, target in zip(scales, targets, strict=True):
        write_png(target, bicubic_down(modcrop(pixels, scale), scale), compression=compression)
