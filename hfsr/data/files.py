"""Which pictures a data set consists of, and how one is decoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hfsr.errors import DataError, some_of
from hfsr.images import SUFFIXES, eight_bit, read_picture

from .containers import Entry, is_container, open_container

__all__ = ["PairedFile", "Place", "StoredPair", "as_folders", "find_pictures", "pair_folders", "read_rgb"]

Place = Path | Entry
"""Where a picture is: a file, or a place in a container."""


@dataclass(frozen=True)
class PairedFile:
    """One picture of a data set."""

    gt: Path
    """The good picture."""
    lq: Path | None = None
    """The bad picture, or None when it is made from the good one."""


@dataclass(frozen=True)
class StoredPair:
    """One picture of a data set of which a part lies in containers."""

    gt: Place
    lq: Place | None = None


def as_folders(roots: str | Sequence[str] | None) -> list[Path]:
    """One root or a list of them, with `~` expanded."""
    if roots is None:
        return []
    return [Path(root).expanduser() for root in ([roots] if isinstance(roots, str) else roots)]


def find_pictures(folder: Path, place: str) -> list[Path]:
    """The pictures of a folder and its subfolders, sorted by path.

    Args:
        folder: where to look.
        place: what the option file calls it ("datasets:train:dataroot_gt"), for the error.

    Raises:
        DataError: the folder is missing or holds no picture; says what belongs there.
    """
    if place.endswith("gt"):
        wanted = "the ground truth: PNG, JPEG or WebP pictures, for example DIV2K's DIV2K_train_HR"
    else:
        wanted = "the low-quality pictures, named as their ground truth (for none, leave the word out)"
    hint = f"put there {wanted}; or name another folder: --force_yml {place}=PATH"
    if not folder.is_dir():
        raise DataError(f"{place}: there is no folder '{folder}' in {Path.cwd()}; {hint}")
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.name[0] != ".")
    if not found:
        raise DataError(f"{place}: the folder '{folder}' holds no pictures; {hint}")
    return found


def pair_folders(
    gt: Sequence[Path], lq: Sequence[Path], *, place: str, template: str = "{}", scale: int = 1
) -> list[PairedFile | StoredPair]:
    """Pairs the good pictures with the bad ones of the same name.

    Args:
        gt: folders of good pictures, or containers (`.pack`, `.lmdb`, `.h5`).
        lq: as many of bad ones, or none: then every LQ is made from its GT.
        place: the section of the option file, for the error.
        template: name of the LQ file from that of the GT file, both without ending ("{}_blurred").
        scale: S in `NAMExS`, which is found too.

    Raises:
        DataError: no folder is given, one is missing or empty, or a picture has no partner (the first five
            are named).
    """
    if not gt:
        raise DataError(f"{place}: dataroot_gt names no folder")
    if lq and len(lq) != len(gt):
        raise DataError(
            f"{place}: {len(gt)} folders in dataroot_gt need as many in dataroot_lq, not {len(lq)}"
        )
    pairs: list[PairedFile | StoredPair] = []
    unpaired: list[str] = []
    for index, folder in enumerate(gt):
        pictures = _places(folder, f"{place}:dataroot_gt")
        if not lq:
            pairs += [_pair(picture, None) for picture in pictures]
            continue
        partners = {p.stem: p for p in _places(lq[index], f"{place}:dataroot_lq")}
        for picture in pictures:
            names = (template.format(picture.stem), f"{picture.stem}x{scale}")
            partner = next((partners[name] for name in names if name in partners), None)
            if partner is None:
                unpaired.append(picture.name)
            else:
                pairs.append(_pair(picture, partner))
    if unpaired:
        raise DataError(
            f"{place}: dataroot_lq has no picture for {some_of(unpaired)}; "
            "names must be equal, or set filename_tmpl"
        )
    return pairs


def _places(root: Path, place: str) -> Sequence[Place]:
    if not is_container(root):
        return find_pictures(root, place)
    container = open_container(root)
    group = place[-2:] + "/"  # one HDF5 file may hold both, as hfsr prepare h5 writes them
    grouped = [name for name in container.names if name.startswith(group)]
    return [Entry(container, name) for name in grouped or container.names]


def _pair(gt: Place, lq: Place | None) -> PairedFile | StoredPair:
    if isinstance(gt, Path) and (lq is None or isinstance(lq, Path)):
        return PairedFile(gt, lq)
    return StoredPair(gt, lq)


def read_rgb(path: Place) -> NDArray[np.uint8]:
    """Decodes a picture to 8-bit RGB, shape (H, W, 3); gray is repeated, alpha dropped.

    Raises:
        ImageError: not a picture, or truncated.
    """
    pixels = path.read() if isinstance(path, Entry) else eight_bit(read_picture(path).pixels)
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
