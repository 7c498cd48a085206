"""Which pictures are measured against which."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from numpy.typing import NDArray

from hfsr.degradations import Seeded, modcrop
from hfsr.errors import DataError, ImageError, some_of
from hfsr.images import SUFFIXES, eight_bit, list_pictures, read_picture

__all__ = ["Pair", "find_pairs", "set_name"]

_MARK = re.compile(r"(_LRBI)?_?x[0-9.]+$")
_ANONYMOUS = frozenset({"gt", "hq", "hr", "high", "images", "original", "originals"})


@dataclass(frozen=True, eq=False)
class Pair:
    """A GT picture and, unless it is made from that, its LQ picture: files, or uint8 arrays (RGB or gray)."""

    name: str
    gt: Path | NDArray
    lq: Path | NDArray | None = None

    def load(self, degradation: Seeded, scale: float) -> tuple[NDArray, NDArray]:
        """Reads both.

        Returns:
            LQ and GT, uint8, RGB (H, W, 3) or gray (H, W); GT cropped to a multiple of the scale. An LQ
            that is made here without rounding is float32, nominally in [0, 1].

        Raises:
            ImageError: one cannot be read.
            DataError: the LQ picture has another size than the GT picture divided by the scale.
        """
        gt = modcrop(_pixels(self.gt), scale)
        if self.lq is None:
            return degradation(gt, self.name), gt
        lq = _pixels(self.lq)
        expected = tuple(round(side / scale) for side in gt.shape[:2])
        if lq.shape[:2] != expected:
            raise DataError(
                f"'{self.name}': LQ has {lq.shape[1]}x{lq.shape[0]} px, but GT divided by {scale:g} has "
                f"{expected[1]}x{expected[0]}; give the LQ pictures of this scale"
            )
        return lq, gt


def find_pairs(gt: str | Path, lq: str | Path | None = None, scale: float = 1) -> list[Pair]:
    """Pairs the pictures of two folders by their names; subfolders are left alone.

    Args:
        gt: a folder of good pictures, or one picture.
        lq: the folder (or picture) of bad ones, named NAMExS, NAME_LRBIxS (also with _xS) or NAME; None: they
            are made from the good ones.
        scale: S in those names.

    Returns:
        At least one pair, in the order of the names.

    Raises:
        DataError: a folder is missing or holds no pictures, two pictures have one name, or pictures do not
        pair.
    """
    good = _by_stem(Path(gt), "GT")
    if lq is None:
        return [Pair(stem, path) for stem, path in good.items()]
    bad = _by_stem(Path(lq), "LQ")
    if len(good) == len(bad) == 1 and Path(gt).is_file() and Path(lq).is_file():
        return [Pair(*next(iter(good.items())), next(iter(bad.values())))]
    pairs: list[Pair] = []
    alone: list[str] = []
    users: dict[Path, list[str]] = defaultdict(list)
    for stem, path in good.items():
        names = (f"{stem}{mark}x{scale:g}" for mark in ("", "_LRBI", "_", "_LRBI_"))
        partner = next((bad[name] for name in (*names, stem) if name in bad), None)
        if partner is None:
            alone.append(path.name)
        else:
            pairs.append(Pair(stem, path, partner))
            users[partner].append(path.name)
    shared = [f"{path.name} (GT {' or '.join(names)})" for path, names in users.items() if len(names) > 1]
    if shared:
        raise DataError(
            f"the pairs are ambiguous: LQ {some_of(shared)}; rename the images so that each LQ image "
            "belongs to one GT image"
        )
    strangers = [path.name for stem, path in bad.items() if not {stem, _MARK.sub("", stem)} & good.keys()]
    if alone or strangers:
        where, lonely = ("LQ", alone) if alone else ("GT", strangers)
        raise DataError(
            f"{len(lonely)} pictures have no partner in the {where} folder: {some_of(lonely)}; "
            f"an LQ picture of NAME is called NAME, NAMEx{scale:g} or NAME_LRBIx{scale:g}"
        )
    return pairs


def set_name(gt: str | Path) -> str:
    """What a set is called, from its folder: "Set5" for `Set5` and for `Set5/HR`."""
    path = Path(gt).resolve()
    if path.is_file():
        return path.stem
    return path.parent.name if path.name.lower() in _ANONYMOUS and path.parent.name else path.name


def _by_stem(place: Path, kind: str) -> dict[str, Path]:
    if place.is_file():
        return {place.stem: place}
    try:
        files = list_pictures(place)
    except ImageError as error:
        raise DataError(f"the {kind} folder {error}") from error
    if not files:
        raise DataError(f"the {kind} folder '{place}' holds no pictures ({', '.join(sorted(SUFFIXES))})")
    doubles = [stem for stem, count in Counter(path.stem for path in files).items() if count > 1]
    if doubles:
        raise DataError(f"'{place}' holds several pictures of one name: {some_of(doubles)}; keep one of each")
    return {path.stem: path for path in files}


def _pixels(source: Path | NDArray) -> NDArray:
    """8 bit, without alpha: what the tables measure."""
    return eight_bit(read_picture(source).pixels) if isinstance(source, Path) else source
