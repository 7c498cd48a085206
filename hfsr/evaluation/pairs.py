"""Pairs of ground-truth and low-quality images, found by their file names."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hfsr.degradations import Seeded, modcrop
from hfsr.errors import DataError, ImageError, some_of
from hfsr.images import SUFFIXES, eight_bit, list_images, read_image

__all__ = ["Pair", "StoredImage", "find_pairs", "name_of_set"]

_SCALE_MARK = re.compile(r"(_LRBI)?_?x[0-9.]+$")
_GENERIC_FOLDERS = frozenset({"gt", "hq", "hr", "high", "images", "original", "originals"})
"""Folder names that do not name a set; the parent folder does."""


class StoredImage(Protocol):
    """An image in a container, such as an LMDB."""

    def read(self) -> NDArray:
        """Its pixels: uint8 or uint16, RGB (H, W, 3) or gray (H, W)."""


@dataclass(frozen=True, eq=False)
class Pair:
    """A GT image and its LQ image; LQ is made from GT if None.

    Both are files, images in a container, or uint8 arrays (RGB or gray).
    """

    name: str
    gt: Path | NDArray | StoredImage
    lq: Path | NDArray | StoredImage | None = None

    def load(self, degradation: Seeded, scale: float) -> tuple[NDArray, NDArray]:
        """Reads both images.

        Returns:
            LQ and GT, uint8, RGB (H, W, 3) or gray (H, W); GT cropped to a multiple of the scale. An LQ image
            that is made without rounding is float32, nominally in [0, 1].

        Raises:
            ImageError: an image cannot be read.
            DataError: the size of LQ is not the size of GT divided by the scale.
        """
        gt = modcrop(_pixels(self.gt), scale)
        if self.lq is None:
            return degradation(gt, self.name), gt
        lq = _pixels(self.lq)
        expected = tuple(round(side / scale) for side in gt.shape[:2])
        if lq.shape[:2] != expected:
            raise DataError(
                f"'{self.name}': LQ has {lq.shape[1]}x{lq.shape[0]} px, but GT divided by {scale:g} has "
                f"{expected[1]}x{expected[0]}; give the LQ images of this scale"
            )
        return lq, gt


def find_pairs(gt: str | Path, lq: str | Path | None = None, scale: float = 1) -> list[Pair]:
    """Pairs the images of two folders by their names; subfolders are ignored.

    Args:
        gt: a folder of ground-truth images, or one image.
        lq: the folder (or image) of LQ images, named NAMExS, NAME_LRBIxS (also with _xS) or NAME; None if
            they are made from the ground truth.
        scale: S in those names.

    Returns:
        At least one pair, sorted by name.

    Raises:
        DataError: a folder is missing or holds no images, two images have one name, or images do not pair.
    """
    gt_files = _by_stem(Path(gt), "GT")
    if lq is None:
        return [Pair(stem, path) for stem, path in gt_files.items()]
    lq_files = _by_stem(Path(lq), "LQ")
    if len(gt_files) == len(lq_files) == 1 and Path(gt).is_file() and Path(lq).is_file():
        return [Pair(*next(iter(gt_files.items())), next(iter(lq_files.values())))]
    pairs: list[Pair] = []
    without_lq: list[str] = []
    users: dict[Path, list[str]] = defaultdict(list)
    for stem, path in gt_files.items():
        names = (f"{stem}{mark}x{scale:g}" for mark in ("", "_LRBI", "_", "_LRBI_"))
        partner = next((lq_files[name] for name in (*names, stem) if name in lq_files), None)
        if partner is None:
            without_lq.append(path.name)
        else:
            pairs.append(Pair(stem, path, partner))
            users[partner].append(path.name)
    _check_unambiguous(users)
    without_gt = [
        path.name
        for stem, path in lq_files.items()
        if not {stem, _SCALE_MARK.sub("", stem)} & gt_files.keys()
    ]
    if without_lq or without_gt:
        kind, unpaired = ("LQ", without_lq) if without_lq else ("GT", without_gt)
        raise DataError(
            f"{len(unpaired)} images have no partner in the {kind} folder: {some_of(unpaired)}; "
            f"an LQ image of NAME is called NAME, NAMEx{scale:g} or NAME_LRBIx{scale:g}"
        )
    return pairs


def _check_unambiguous(users: Mapping[Path, list[str]]) -> None:
    """Raises DataError if several GT images would use one LQ image.

    Args:
        users: LQ image -> names of its GT images.
    """
    shared = [f"{path.name} (GT {' or '.join(names)})" for path, names in users.items() if len(names) > 1]
    if shared:
        raise DataError(
            f"the pairs are ambiguous: LQ {some_of(shared)}; rename the images so that each LQ image "
            "belongs to one GT image"
        )


def name_of_set(gt: str | Path) -> str:
    """The name of a set, from its folder: "Set5" for `Set5` and for `Set5/HR`.

    Bytes of the folder's name that are not UTF-8 become U+FFFD.
    """
    path = Path(gt).resolve()
    if path.is_file():
        name = path.stem
    else:
        is_generic = path.name.lower() in _GENERIC_FOLDERS and path.parent.name
        name = path.parent.name if is_generic else path.name
    return os.fsencode(name).decode(errors="replace")


def _by_stem(path: Path, kind: str) -> dict[str, Path]:
    if path.is_file():
        return {path.stem: path}
    try:
        files = list_images(path)
    except ImageError as error:
        raise DataError(f"the {kind} folder {error}") from error
    if not files:
        raise DataError(f"the {kind} folder '{path}' holds no images ({', '.join(sorted(SUFFIXES))})")
    repeated = [stem for stem, count in Counter(file.stem for file in files).items() if count > 1]
    if repeated:
        raise DataError(f"'{path}' holds several images of one name: {some_of(repeated)}; keep one of each")
    return {file.stem: file for file in files}


def _pixels(source: Path | NDArray | StoredImage) -> NDArray:
    """Pixels of 8 bit without alpha, as the published tables measure."""
    if isinstance(source, Path):
        return eight_bit(read_image(source).pixels)
    return source if isinstance(source, np.ndarray) else eight_bit(source.read())
