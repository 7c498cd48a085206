"""Pairs of GT and LQ images: by relative path, or by name alone if that is unambiguous."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from hfsr.errors import DataError, OptionsError, some_of
from hfsr.images import SUFFIXES

from .containers import Entry, is_container, open_container
from .file_lists import PairedFile, Place, StoredPair, find_images

__all__ = ["Located", "find_singles", "pair_folders", "with_unique_names"]

_Pair = PairedFile | StoredPair


@dataclass(frozen=True)
class Located:
    """An image and its path relative to its root."""

    place: Place
    path: PurePosixPath

    @property
    def stem(self) -> str:
        """Last part of the path without its file type; other dots belong to the name."""
        return self.path.stem if self.path.suffix.lower() in SUFFIXES else self.path.name

    @property
    def name(self) -> str:
        """Path without its file type."""
        return str(self.path.with_name(self.stem))


def pair_folders(
    gt: Sequence[Path], lq: Sequence[Path], *, place: str, template: str = "{}", scale: int = 1
) -> list[PairedFile | StoredPair]:
    """Pairs every GT image with the LQ image of the same relative path.

    The partner of `a/NAME` is `a/NAME` or `a/NAMExS`, with any file type. If the LQ folder has no such path,
    an LQ image of that name in another subfolder is the partner if each of the two names exists once.

    Args:
        gt: folders of GT images, or containers (`.pack`, `.lmdb`, `.h5`).
        lq: the same number of folders of LQ images, or none: then every LQ is made from its GT.
        place: section of the option file, for the error message.
        template: name of the LQ file from that of the GT file, both without file type ("{}_blurred").
        scale: S in `NAMExS`.

    Returns:
        The pairs in the order of the GT paths, with unique names.

    Raises:
        DataError: if no folder is given, one is missing or empty, an image has no partner, or several images
            could be its partner (the message names the first five).
        OptionsError: if the template is none.
    """
    if not gt:
        raise DataError(f"{place}: dataroot_gt names no folder")
    if lq:
        _check_template(template, place)
    if lq and len(lq) != len(gt):
        raise DataError(
            f"{place}: {len(gt)} folders in dataroot_gt need as many in dataroot_lq, not {len(lq)}"
        )
    pairs: list[tuple[_Pair, Located, Path]] = []
    for index, root in enumerate(gt):
        images = _located(root, f"{place}:dataroot_gt")
        partners: Sequence[Place | None] = [None] * len(images)
        if lq:
            partners = _partners(images, _located(lq[index], f"{place}:dataroot_lq"), place, template, scale)
        pairs += [(_pair(one.place, lq_), one, root) for one, lq_ in zip(images, partners, strict=True)]
    return with_unique_names(pairs)


def _check_template(template: str, place: str) -> None:
    """Checks that a template makes the name of an LQ image from that of any GT image.

    Raises:
        OptionsError: if it does not.
    """
    try:
        names = {template.format(stem) for stem in ("a", "b")}
    except (AttributeError, LookupError, TypeError, ValueError):
        names = set()
    if len(names) != 2 or any(mark in name for name in names for mark in "/\\"):
        raise OptionsError(
            f"{place}: filename_tmpl '{template}' is no template; {{}} stands once for the name of the GT "
            "image without file type, for example '{}_blurred', and folders belong into dataroot_lq"
        )


def find_singles(roots: Sequence[Path], place: str) -> list[PairedFile | StoredPair]:
    """Returns the images of folders or containers, each as the `gt` of a pair with a unique name.

    Raises:
        DataError: if no folder is given, or one is missing or empty.
    """
    if not roots:
        raise DataError(f"{place} names no folder")
    return with_unique_names(
        (_pair(one.place, None), one, root) for root in roots for one in _located(root, place)
    )


def with_unique_names(pairs: Iterable[tuple[_Pair, Located, Path]]) -> list[_Pair]:
    """Names every pair after its relative path; adds file type and root only if names are equal.

    Results are written by these names, so a path that leaves its root is reduced to the part below it.
    """
    listed = [(pair, replace(located, path=_below(located.path)), root) for pair, located, root in pairs]
    names = [located.name for _, located, _ in listed]
    for longer in (
        [str(located.path) for _, located, _ in listed],
        [f"{root.name}/{located.path}" for _, located, root in listed],
        [f"{number}/{located.path}" for number, (_, located, _) in enumerate(listed)],
    ):
        counts = Counter(names)
        names = [more if counts[name] > 1 else name for name, more in zip(names, longer, strict=True)]
    return [replace(pair, name=name) for (pair, _, _), name in zip(listed, names, strict=True)]


def _below(path: PurePosixPath) -> PurePosixPath:
    """Returns a path without its root and without steps upward, as a list or a container may have them."""
    return PurePosixPath(*(part for part in path.parts if part not in (path.anchor, "..")))


def _located(root: Path, place: str) -> list[Located]:
    """Returns the images of a root, with their paths relative to it."""
    if not is_container(root):
        found = find_images(root, place)
        return [Located(path, PurePosixPath(path.relative_to(root).as_posix())) for path in found]
    container = open_container(root)
    group = place[-2:] + "/"  # one HDF5 file may contain both, as hfsr prepare h5 writes them
    grouped = [name for name in container.names if name.startswith(group)]
    return [
        Located(Entry(container, name), PurePosixPath(name[len(group) :] if grouped else name))
        for name in grouped or container.names
    ]


def _partners(
    images: Sequence[Located], candidates: Sequence[Located], place: str, template: str, scale: int
) -> list[Place]:
    """Returns the LQ image of each GT image.

    Raises:
        DataError: if an image has none, or the choice is ambiguous.
    """
    by_path, by_stem = _grouped(candidates)
    stems = Counter(image.stem for image in images)
    chosen: list[Place] = []
    users: dict[Place, list[str]] = defaultdict(list)
    unpaired: list[str] = []
    ambiguous: list[str] = []
    for image in images:
        names = (template.format(image.stem), f"{image.stem}x{scale}")
        found = next((by_path[path] for name in names if (path := image.path.with_name(name)) in by_path), [])
        if not found:
            found = next((by_stem[name] for name in names if name in by_stem), [])
            if found and stems[image.stem] > 1:
                ambiguous.append(f"{image.path} (LQ {_paths(found)}, for {stems[image.stem]} GT images)")
                continue
        if len(found) > 1:  # equal names of several file types: that of the GT image is preferred
            found = [one for one in found if one.path.suffix == image.path.suffix] or found
        if not found:
            unpaired.append(str(image.path))
        elif len(found) > 1:
            ambiguous.append(f"{image.path} (LQ {_paths(found)})")
        else:
            chosen.append(found[0].place)
            users[found[0].place].append(str(image.path))
    ambiguous += [f"LQ {lq} (GT {' or '.join(gt)})" for lq, gt in users.items() if len(gt) > 1]
    if ambiguous:
        raise DataError(
            f"{place}: the pairs are ambiguous: {some_of(ambiguous)}; use the same subfolders and names in "
            "dataroot_gt and dataroot_lq, and one file type for each image"
        )
    if unpaired:
        raise DataError(
            f"{place}: dataroot_lq has no image for {some_of(unpaired)}; "
            "paths must be equal in both folders, or set filename_tmpl"
        )
    return chosen


def _grouped(
    candidates: Sequence[Located],
) -> tuple[Mapping[PurePosixPath, list[Located]], Mapping[str, list[Located]]]:
    """Groups LQ images by their path without file type, and by their name alone."""
    by_path: dict[PurePosixPath, list[Located]] = defaultdict(list)
    by_stem: dict[str, list[Located]] = defaultdict(list)
    for candidate in candidates:
        by_path[PurePosixPath(candidate.name)].append(candidate)
        by_stem[candidate.stem].append(candidate)
    return by_path, by_stem


def _paths(found: Sequence[Located]) -> str:
    return " or ".join(str(one.path) for one in found)


def _pair(gt: Place, lq: Place | None) -> _Pair:
    if isinstance(gt, Path) and (lq is None or isinstance(lq, Path)):
        return PairedFile(gt, lq)
    return StoredPair(gt, lq)
