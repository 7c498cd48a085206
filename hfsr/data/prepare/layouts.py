"""Layouts of published data sets: finds their pairs in the downloaded folders."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hfsr.errors import DataError, OptionsError, suggest
from hfsr.images import SUFFIXES

__all__ = ["LAYOUTS", "Found", "Layout", "Part", "find_layout", "link_pairs"]


@dataclass(frozen=True)
class Part:
    """One part of a set: patterns of its files, relative to its root; named groups form a pair's name."""

    name: str
    gt: str
    lq: str
    count: int | None = None
    """Number of pairs of the published set."""


@dataclass(frozen=True)
class Layout:
    """A published set."""

    about: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Found:
    """Pairs and single images that were found of one part."""

    part: Part
    pairs: tuple[tuple[str, Path, Path], ...]
    """Name, GT and LQ of every pair, in the order of the names."""
    without_lq: tuple[str, ...]
    without_gt: tuple[str, ...]

    @property
    def missing(self) -> int:
        """Number of pairs of the published set that were not found."""
        return max(0, (self.part.count or 0) - len(self.pairs))


def _div2k(scale: int, way: str = "bicubic") -> tuple[Part, ...]:
    return tuple(
        Part(
            f"{name}_x{scale}",
            rf"(?:.*/)?DIV2K_{name}_HR/(?P<n>\d{{4}})\.png",
            rf"(?:.*/)?DIV2K_{name}_LR_{way}/X{scale}/(?P<n>\d{{4}})x{scale}\.png",
            count,
        )
        for name, count in (("train", 800), ("valid", 100))
    )


def _realsr(scale: int) -> tuple[Part, ...]:
    return tuple(
        Part(
            f"{name.lower()}_x{scale}",
            rf"(?:.*/)?(?P<c>Canon|Nikon)/{name}/{scale}/\w+?_(?P<n>\d+)_HR\.png",
            rf"(?:.*/)?(?P<c>Canon|Nikon)/{name}/{scale}/\w+?_(?P<n>\d+)_LR{scale}\.png",
            count,
        )
        for name, count in (("Train", None), ("Test", 100))
    )


def _folders(name: str, gt: str, lq: str, count: int | None = None) -> Part:
    return Part(name, rf"(?:.*/)?{gt}/(?P<n>[^/]+)\.\w+", rf"(?:.*/)?{lq}/(?P<n>[^/]+)\.\w+", count)


LAYOUTS: Mapping[str, Layout] = {
    "DIV2K": Layout(
        "DIV2K_train_HR, DIV2K_valid_HR, DIV2K_train_LR_bicubic/X2 and so on",
        (*_div2k(2), *_div2k(3), *_div2k(4)),
    ),
    "SIDD": Layout(
        "SIDD_Small_sRGB_Only or SIDD_Medium_Srgb: Data/SCENE/NNNN_GT_SRGB_NNN.PNG and ..._NOISY_...",
        (
            Part(
                "train",
                r"(?:.*/)?(?P<scene>\d{4}_[^/]+)/(?:\d{4}_)?GT_SRGB_(?P<n>\d+)\.PNG",
                r"(?:.*/)?(?P<scene>\d{4}_[^/]+)/(?:\d{4}_)?NOISY_SRGB_(?P<n>\d+)\.PNG",
            ),
        ),
    ),
    "RealSR": Layout(
        "RealSR (version 3): Canon/Train/2/Canon_001_HR.png and Canon_001_LR2.png, Nikon, Test, 3, 4",
        (*_realsr(2), *_realsr(3), *_realsr(4)),
    ),
    "LoL": Layout(
        "our485/high, our485/low, eval15/high, eval15/low",
        (
            _folders("train", "our485/high", "our485/low", 485),
            _folders("val", "eval15/high", "eval15/low", 15),
        ),
    ),
    "FiveK": Layout(
        "images exported by the same names: input/ and expertC/ (any of expertA to expertE)",
        tuple(_folders(f"expert{e}", f"(?i:expert_?{e})", "(?i:input|raw|original)", 5000) for e in "ABCDE"),
    ),
}


def find_layout(name: str, root: Path) -> list[Found]:
    """Finds the pairs of a published set.

    Args:
        name: one of `LAYOUTS`, in upper or lower case.
        root: the folder of the unpacked set.

    Returns:
        Every part, also those that were not found.

    Raises:
        OptionsError: if the set is unknown.
        DataError: if the folder is missing, or contains nothing of this set.
    """
    layouts = {known.lower(): known for known in LAYOUTS}
    if name.lower() not in layouts:
        raise OptionsError(f"there is no layout '{name}'{suggest(name, LAYOUTS)}")
    layout = LAYOUTS[layouts[name.lower()]]
    if not root.is_dir():
        raise DataError(f"there is no folder '{root}'; unpack there: {layout.about}")
    files = sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.suffix.lower() in SUFFIXES)
    found = [_find(part, root, files) for part in layout.parts]
    if not any(part.pairs for part in found):
        raise DataError(
            f"'{root}' contains no pair of {layouts[name.lower()]}; expected files: {layout.about}"
        )
    return found


def _find(part: Part, root: Path, files: Sequence[str]) -> Found:
    gt, lq = (_named(pattern, root, files) for pattern in (part.gt, part.lq))
    pairs = tuple((name, gt[name], lq[name]) for name in sorted(gt.keys() & lq.keys()))
    return Found(part, pairs, tuple(sorted(gt.keys() - lq.keys())), tuple(sorted(lq.keys() - gt.keys())))


def _named(pattern: str, root: Path, files: Sequence[str]) -> dict[str, Path]:
    matches = ((re.fullmatch(pattern, file), file) for file in files)
    return {"_".join(match.groupdict().values()): root / file for match, file in matches if match}


def link_pairs(found: Found, folder: Path) -> tuple[Path, Path]:
    """Creates the folders of a part that option files read: `PART/groundtruth` and `PART/input`, same names.

    They contain links if the file system supports them, otherwise copies; existing files are kept.

    Returns:
        Both folders.

    Raises:
        DataError: if they cannot be written.
    """
    folders = folder / found.part.name / "groundtruth", folder / found.part.name / "input"
    try:
        for place in folders:
            place.mkdir(parents=True, exist_ok=True)
        for name, *sources in found.pairs:
            for source, place in zip(sources, folders, strict=True):
                target = place / f"{name}{source.suffix.lower()}"
                if not target.exists():
                    _link(source.resolve(), target)
    except OSError as error:
        raise DataError(
            f"'{folder}' cannot be written ({error.strerror}); name another with --link"
        ) from error
    return folders


def _link(source: Path, target: Path) -> None:
    part = target.with_name(f".{target.name}.part")
    part.unlink(missing_ok=True)
    try:
        part.symlink_to(source)
    except (OSError, NotImplementedError):
        shutil.copyfile(source, part)
    os.replace(part, target)
