"""Image files of a data set, and decoding of one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hfsr.errors import DataError
from hfsr.images import SUFFIXES, eight_bit, read_image

from .containers import Entry

__all__ = [
    "PairedFile",
    "Place",
    "StoredPair",
    "as_folders",
    "find_images",
    "images_below",
    "read_rgb",
    "read_rgb_8bit",
]

Place = Path | Entry
"""Location of an image: a file, or an entry of a container."""


@dataclass(frozen=True)
class PairedFile:
    """One image of a data set."""

    gt: Path
    """The GT image."""
    lq: Path | None = None
    """The LQ image, or None if it is made from GT."""
    name: str = ""
    """Name of this image's results (default: the stem); unique in its data set, may contain folders."""

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.gt.stem)


@dataclass(frozen=True)
class StoredPair:
    """One image of a data set whose GT or LQ is in a container."""

    gt: Place
    lq: Place | None = None
    name: str = ""
    """As `PairedFile.name`."""


def as_folders(roots: str | Sequence[str] | None) -> list[Path]:
    """Returns one root or several as a list, with `~` expanded."""
    if roots is None:
        return []
    return [Path(root).expanduser() for root in ([roots] if isinstance(roots, str) else roots)]


def find_images(folder: Path, place: str) -> list[Path]:
    """Returns the images of a folder and its subfolders, sorted by path.

    Args:
        folder: the folder.
        place: its key in the option file ("datasets:train:dataroot_gt"), for the error message.

    Raises:
        DataError: if the folder is missing or contains no image; the message states the expected images.
    """
    if place.endswith("gt"):
        wanted = "the ground truth: PNG, JPEG or WebP images, for example DIV2K's DIV2K_train_HR"
    else:
        wanted = "the low-quality images, named as their ground truth (for none, leave the key out)"
    hint = f"put there {wanted}; or name another folder: --force_yml {place}=PATH"
    if not folder.is_dir():
        raise DataError(f"{place}: there is no folder '{folder}' in {Path.cwd()}; {hint}")
    found = images_below(folder)
    if not found:
        raise DataError(f"{place}: the folder '{folder}' holds no images; {hint}")
    return found


def images_below(folder: Path) -> list[Path]:
    """Returns the images of a folder and its subfolders, sorted by path; hidden files are left out."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.name[0] != ".")


def read_rgb(path: Place) -> NDArray:
    """Decodes an image to RGB, (H, W, 3), uint8 or uint16 as stored; gray is repeated, alpha dropped.

    Raises:
        ImageError: if the file is no image, or is truncated.
    """
    pixels = path.read() if isinstance(path, Entry) else read_image(path).pixels
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)


def read_rgb_8bit(path: Place) -> NDArray[np.uint8]:
    """Decodes as `read_rgb` does, with 16 bits rounded to 8, as metrics are defined."""
    return eight_bit(read_rgb(path))
