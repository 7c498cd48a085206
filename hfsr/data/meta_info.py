"""Lists of images: the `meta_info_file` of a data set."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from hfsr.errors import DataError, some_of

from .containers import Entry
from .file_lists import PairedFile, Place, StoredPair

__all__ = ["listed_pairs", "read_meta_info"]

_SIZE = re.compile(r"\s+\(\s*\d+(\s*,\s*\d+)+\s*\)(\s+\d+)?\s*$")
"""What BasicSR writes after a name: `(height,width,channels)`, in LMDB also the compression level."""


def read_meta_info(text: str) -> list[str]:
    """The image names of a list, one per line; they may contain spaces, a size after them is optional."""
    return [name for line in text.splitlines() if (name := _SIZE.sub("", line).strip())]


def listed_pairs(
    pairs: Sequence[PairedFile | StoredPair], meta_info: Path, place: str
) -> list[PairedFile | StoredPair]:
    """The pairs whose GT image a list names, by its path from the root or by the end of that path.

    Args:
        pairs: of the whole folder.
        meta_info: the list.
        place: the section of the option file, for the error.

    Raises:
        DataError: the list cannot be read, or names images that are missing or ambiguous.
    """
    try:
        text = meta_info.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{place}.meta_info_file: '{meta_info}' is not a text file in UTF-8") from error
    except OSError as error:
        raise DataError(f"{place}.meta_info_file: cannot read '{meta_info}': {error.strerror}") from error
    by_name: dict[str, list[int]] = defaultdict(list)
    for index, pair in enumerate(pairs):
        for name in _names(pair.gt):
            by_name[name].append(index)
    kept: set[int] = set()
    missing, ambiguous = [], []
    for name in dict.fromkeys(read_meta_info(text)):
        found = by_name.get(name.removeprefix("./"), [])
        if len(found) > 1:
            exact = {name, Path(name).with_suffix("").as_posix()}
            found = [index for index in found if pairs[index].name in exact]
            if len(found) != 1:
                ambiguous.append(name)
                continue
        if found:
            kept.add(found[0])
        else:
            missing.append(name)
    if ambiguous:
        raise DataError(
            f"'{meta_info}' names images that exist several times in dataroot_gt: {some_of(ambiguous)}; "
            "write them with their subfolder"
        )
    if missing:
        raise DataError(
            f"'{meta_info}' names {len(missing)} images that are not in dataroot_gt: {some_of(missing)}; "
            "write one path per line, relative to dataroot_gt"
        )
    if not kept:
        raise DataError(f"'{meta_info}' names no images; write one path per line, relative to dataroot_gt")
    return [pair for index, pair in enumerate(pairs) if index in kept]


def _names(place: Place) -> list[str]:
    """What a list may call an image: its name, and that with the folders it lies in."""
    parts = tuple(place.name.split("/")) if isinstance(place, Entry) else place.parts
    return ["/".join(parts[start:]) for start in range(len(parts))]
