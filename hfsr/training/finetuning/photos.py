"""Photos of a fine-tuning: folders with or without LQ images, and the photos that are held out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hfsr.data import images_below
from hfsr.errors import DataError
from hfsr.hub.download.cache_check import sha256_of
from hfsr.hub.download.datasets import local_folder
from hfsr.images import image_size

__all__ = ["PhotoFolder", "Split", "open_photos", "split_photos"]

_GT_NAMES, _LQ_NAMES = frozenset({"gt", "hq", "hr"}), frozenset({"lq", "lr"})
"""Names of the two subfolders of a folder of pairs, in any case."""
_SHARE, _MOST = 0.15, 16
"""Share of the photos that is held out, and the largest number of them."""


@dataclass(frozen=True)
class PhotoFolder:
    """A folder of photos.

    Attributes:
        folder: the folder as the user names it, a path or an address on the Hub.
        gt: folder of the photos in the same form: it, or its subfolder.
        lq: folder of the LQ images; None if they are made from the photos.
        sizes: width and height in px of every photo, by its path relative to `gt`.
    """

    folder: str
    gt: str
    lq: str | None
    sizes: Mapping[str, tuple[int, int]]

    @property
    def root(self) -> Path:
        """The folder on this machine."""
        return local_folder(self.gt).expanduser()


@dataclass(frozen=True)
class Split:
    """Photos to train on and photos that are held out, by their paths relative to their folders.

    Attributes:
        train: names in the folder of the training.
        held_out: names in the folder of the validation, which may be the same one.
        left_out: number of photos that are in neither: copies of held-out ones.
    """

    train: tuple[str, ...]
    held_out: tuple[str, ...]
    left_out: int = 0


def open_photos(folder: str, lq: str | None = None) -> PhotoFolder:
    """Finds the photos of a folder and its subfolders.

    If the folder has one subfolder named `gt`, `hq` or `hr` and one named `lq` or `lr`, these are the pairs.

    Args:
        folder: a folder, or `hf://datasets/owner/name/folder`.
        lq: folder of LQ images with the same relative paths.

    Raises:
        DataError: there is no such folder, or it holds no images.
        ImageError: an image cannot be read.
        HubError: a folder of the Hub cannot be downloaded.
    """
    gt = folder
    if lq is None:
        here = local_folder(folder).expanduser()
        inner = sorted(path.name for path in here.iterdir() if path.is_dir()) if here.is_dir() else []
        gts, lqs = ([n for n in inner if n.lower() in names] for names in (_GT_NAMES, _LQ_NAMES))
        if len(gts) == len(lqs) == 1:
            gt, lq = (f"{folder.rstrip('/')}/{name}" for name in (gts[0], lqs[0]))
    root = local_folder(gt).expanduser()
    for path in [root, *([local_folder(lq).expanduser()] if lq else [])]:
        if not path.is_dir():
            raise DataError(f"there is no folder '{path}'; name a folder of photos")
    found = images_below(root)
    if not found:
        raise DataError(f"'{root}' holds no photos (PNG, JPEG, WebP, TIFF, ...); name a folder of photos")
    return PhotoFolder(
        folder, gt, lq, {path.relative_to(root).as_posix(): image_size(path) for path in found}
    )


def split_photos(photos: PhotoFolder, validation: PhotoFolder | None = None) -> Split:
    """Chooses the photos that are held out, spread evenly over the sorted names.

    Files with the same content are held out together. With a validation folder, all of its photos are held
    out, and files of `photos` that are among them, or copies of them, are left out.

    Raises:
        DataError: there are too few photos.
    """
    root, names = photos.root, sorted(photos.sizes)
    if validation is not None:
        own = {(validation.root / name).resolve() for name in validation.sizes}
        rest = [name for name in names if (root / name).resolve() not in own]
        copies = _copies(root, rest, [validation.root / name for name in validation.sizes])
        train = tuple(name for name in rest if name not in copies)
        if not train:
            raise DataError(
                f"every photo of '{photos.gt}' is in '{validation.gt}' too; name a folder of other photos"
            )
        return Split(train, tuple(sorted(validation.sizes)), len(names) - len(train))
    count = min(_MOST, max(1, round(_SHARE * len(names))))
    held = {names[(2 * place + 1) * len(names) // (2 * count)] for place in range(count)}
    copies = _copies(root, [name for name in names if name not in held], [root / name for name in held])
    train = tuple(name for name in names if name not in held | copies)
    if not train:
        raise DataError(
            f"'{photos.gt}' holds {len(names)} photo(s), too few of different content to hold any out; add "
            "photos, or name others to measure on: --val DIR"
        )
    return Split(train, tuple(sorted(held)), len(copies))


def _copies(root: Path, names: Sequence[str], others: Iterable[Path]) -> set[str]:
    """Returns the names of the files in a folder whose content is that of one of other files."""
    by_size: dict[int, list[Path]] = defaultdict(list)
    for path in others:
        by_size[path.stat().st_size].append(path)
    candidates = [name for name in names if (root / name).stat().st_size in by_size]
    wanted = {(root / name).stat().st_size for name in candidates}
    digests = {sha256_of(path) for size in wanted for path in by_size[size]}
    return {name for name in candidates if sha256_of(root / name) in digests}
