"""Which pictures a data set consists of, and how one is decoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hfsr.errors import DataError, some_of
from hfsr.images import SUFFIXES, eight_bit, read_picture

__all__ = ["PairedFile", "as_folders", "find_pictures", "pair_folders", "read_rgb"]


@dataclass(frozen=True)
class PairedFile:
    """One picture of a data set."""

    gt: Path
    """The good picture."""
    lq: Path | None = None
    """The bad picture, or None when it is made from the good one."""


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
) -> list[PairedFile]:
    """Pairs the good pictures with the bad ones of the same name.

    Args:
        gt: folders of good pictures.
        lq: as many folders of bad ones, or none: then every LQ is made from its GT.
        place: the section of the option file, for the error.
        template: name of the LQ file from that of the GT file, both without ending ("{}_blurred").
        scale: S in `NAMExS`, which is found too.

    Raises:
        DataError: a folder is missing or empty, or a picture has no partner (the first five are named).
    """
    if lq and len(lq) != len(gt):
        raise DataError(
            f"{place}: {len(gt)} folders in dataroot_gt need as many in dataroot_lq, not {len(lq)}"
        )
    pairs: list[PairedFile] = []
    unpaired: list[str] = []
    for index, folder in enumerate(gt):
        pictures = find_pictures(folder, f"{place}:dataroot_gt")
        if not lq:
            pairs += [PairedFile(picture) for picture in pictures]
            continue
        partners = {p.stem: p for p in find_pictures(lq[index], f"{place}:dataroot_lq")}
        for picture in pictures:
            names = (template.format(picture.stem), f"{picture.stem}x{scale}")
            partner = next((partners[name] for name in names if name in partners), None)
            if partner is None:
                unpaired.append(picture.name)
            else:
                pairs.append(PairedFile(picture, partner))
    if unpaired:
        raise DataError(
            f"{place}: dataroot_lq has no picture for {some_of(unpaired)}; "
            "names must be equal, or set filename_tmpl"
        )
    return pairs


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Decodes a picture to 8-bit RGB, shape (H, W, 3); gray is repeated, alpha dropped.

    Raises:
        ImageError: not a picture, or truncated.
    """
    pixels = eight_bit(read_picture(path).pixels)
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
