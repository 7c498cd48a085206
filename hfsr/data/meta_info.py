"""Lists of images: the `meta_info_file` and the `meta_info` of a data set."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from hfsr.errors import DataError, some_of

from .containers import Entry
from .file_lists import PairedFile, Place, StoredPair
from .pairing import Located, with_unique_names

__all__ = ["listed_pairs", "pairs_of_list", "read_meta_info"]

_SIZE = re.compile(r"\s+\(\s*\d+(\s*,\s*\d+)+\s*\)(\s+\d+)?\s*$")
"""Text that BasicSR writes after a name: `(height,width,channels)`, in LMDB also the compression level."""


def read_meta_info(text: str) -> list[str]:
    """Returns the image names of a list, one per line, which may contain spaces; drops sizes after them."""
    return [name for line in text.splitlines() if (name := _SIZE.sub("", line).strip())]


def listed_pairs(
    pairs: Sequence[PairedFile | StoredPair], meta_info: Path, place: str, *, root: str = "dataroot_gt"
) -> list[PairedFile | StoredPair]:
    """Returns the pairs whose GT image a list names, by its path from the root or by the end of that path.

    A pair is returned as often as the list names it, as in BasicSR: such images are drawn more often.

    Args:
        pairs: pairs of the whole folder.
        meta_info: path of the list.
        place: section of the option file, for the error message.
        root: key of the folder, for the error message.

    Raises:
        DataError: if the list cannot be read, or names images that are missing or ambiguous.
    """
    text = _text_of(meta_info, f"{place}.meta_info_file")
    by_name: dict[str, list[int]] = defaultdict(list)
    for index, pair in enumerate(pairs):
        for name in _names(pair.gt):
            by_name[name].append(index)
    kept: Counter[int] = Counter()
    missing, ambiguous = [], []
    for name, times in Counter(read_meta_info(text)).items():
        found = by_name.get(name.removeprefix("./"), [])
        if len(found) > 1:
            exact = {name, Path(name).with_suffix("").as_posix()}
            found = [index for index in found if pairs[index].name in exact]
            if len(found) != 1:
                ambiguous.append(name)
                continue
        if found:
            kept[found[0]] += times
        else:
            missing.append(name)
    if ambiguous:
        raise DataError(
            f"'{meta_info}' names images that exist several times in {root}: {some_of(ambiguous)}; "
            "write them with their subfolder"
        )
    if missing:
        raise DataError(
            f"'{meta_info}' names {len(missing)} images that are not in {root}: {some_of(missing)}; "
            f"write one path per line, relative to {root}"
        )
    if not kept:
        raise DataError(f"'{meta_info}' names no images; write one path per line, relative to {root}")
    return [pair for index, pair in enumerate(pairs) for _ in range(kept[index])]


def pairs_of_list(
    meta_info: Path, gt: Sequence[Path], lq: Sequence[Path], place: str
) -> list[PairedFile | StoredPair]:
    """Returns the pairs of a list that names both images of each, separated by a comma (Real-ESRGAN's).

    Args:
        meta_info: path of the list.
        gt: the folder of the first names.
        lq: the folder of the second names.
        place: section of the option file, for the error message.

    Raises:
        DataError: if the list cannot be read or has another format, or images are missing.
    """
    if len(gt) != 1 or len(lq) != 1 or not (gt[0].is_dir() and lq[0].is_dir()):
        raise DataError(f"{place}.meta_info: needs one folder each in dataroot_gt and dataroot_lq")
    text = _text_of(meta_info, f"{place}.meta_info")
    names = [line.strip().split(", ") for line in text.splitlines() if line.strip()]
    wrong = next((", ".join(parts) for parts in names if len(parts) != 2), None)
    if wrong is not None or not names:
        raise DataError(
            f"'{meta_info}' must have lines of two paths, 'GT, LQ'{f', not {wrong!r}' if wrong else ''}; "
            "a list of GT images alone is a meta_info_file"
        )
    listed = [PairedFile(gt[0] / first, lq[0] / second) for first, second in names]
    missing = [str(path) for pair in listed for path in (pair.gt, pair.lq) if path and not path.is_file()]
    if missing:
        raise DataError(f"'{meta_info}' names {len(missing)} images that are missing: {some_of(missing)}")
    return with_unique_names(
        (pair, Located(pair.gt, PurePosixPath(first)), gt[0])
        for pair, (first, _) in zip(listed, names, strict=True)
    )


def _text_of(path: Path, place: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # some editors begin a file with a byte order mark
    except UnicodeDecodeError as error:
        raise DataError(f"{place}: '{path}' is not a text file in UTF-8") from error
    except OSError as error:
        raise DataError(f"{place}: cannot read '{path}': {error.strerror}") from error


def _names(place: Place) -> list[str]:
    """Returns the names that a list may use for an image: its name, with any number of its folders."""
    parts = tuple(place.name.split("/")) if isinstance(place, Entry) else place.parts
    return ["/".join(parts[start:]) for start in range(len(parts))]
