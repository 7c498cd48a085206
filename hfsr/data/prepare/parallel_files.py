"""Files made of files: several at a time, each written beside and renamed, those that exist left alone."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hfsr.errors import DataError, ImageError
from hfsr.images import SUFFIXES, replacing
from hfsr.images.encoding.png_writer import PngWriter

from ..decoded_images import Progress

__all__ = ["Outcome", "Task", "encode_png", "folder_for", "images_of", "names_in", "run_tasks", "write_png"]


@dataclass(frozen=True)
class Task:
    """One image's share of the work."""

    source: Path
    targets: tuple[Path, ...]
    make: Callable[[], None]
    """Writes the targets; run in a thread, in which Pillow and NumPy let others run."""


@dataclass
class Outcome:
    """What was done."""

    made: int = 0
    """Files written."""
    kept: int = 0
    """Files that were there already."""
    too_small: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


def run_tasks(
    tasks: Sequence[Task],
    *,
    threads: int | None = None,
    overwrite: bool = False,
    skip_unreadable: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Makes what is missing; run again, it goes on where it was stopped.

    Args:
        tasks: in any order.
        threads: as many as there are processors where None.
        overwrite: make also what is there.
        skip_unreadable: leave out images that cannot be read; else the first one ends it.
        progress: told after each task.

    Raises:
        ImageError: an image cannot be read, or a file cannot be written.
    """
    outcome = Outcome(too_small=[task.source.name for task in tasks if not task.targets])

    def work(task: Task) -> ImageError | bool:
        if not overwrite and all(target.is_file() for target in task.targets):
            return False
        try:
            task.make()
        except ImageError as error:
            return error
        return True

    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        try:
            for done, (task, result) in enumerate(zip(tasks, pool.map(work, tasks), strict=True), 1):
                if isinstance(result, ImageError):
                    if not skip_unreadable:
                        raise result
                    outcome.unreadable.append(str(result))
                elif result:
                    outcome.made += len(task.targets)
                else:
                    outcome.kept += len(task.targets)
                if progress:
                    progress(done, len(tasks))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return outcome


def images_of(folder: Path) -> list[Path]:
    """The images of a folder and its subfolders.

    Raises:
        DataError: it is missing or empty.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder '{folder}'")
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.name[0] != ".")
    if not found:
        raise DataError(f"the folder '{folder}' holds no images ({', '.join(sorted(SUFFIXES))})")
    return found


def names_in(folder: Path, images: Sequence[Path]) -> list[str]:
    """Paths relative to the folder, without ending, as they name things.

    Raises:
        DataError: two images differ in their ending alone.
    """
    names = [image.relative_to(folder).with_suffix("").as_posix() for image in images]
    doubles = (
        sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    )
    if doubles:
        raise DataError(f"'{folder}' holds several images of one name: {doubles[0]}; keep one of each")
    return names


def write_png(path: Path, pixels: NDArray, *, compression: int = 3) -> None:
    """Writes a PNG of 8 or 16 bits beside and renames it; its folder is made.

    Raises:
        ImageError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(encode_png(pixels, compression=compression))


def encode_png(pixels: NDArray, *, compression: int) -> bytes:
    """A PNG of RGB pixels, uint8 or uint16 (H, W, 3); Pillow writes no colors of 16 bits."""
    encoded = io.BytesIO()
    if pixels.dtype == np.uint16:
        height, width = pixels.shape[:2]
        writer = PngWriter(encoded, width, height, channels=3, bits=16, level=compression)
        writer.write(pixels)
        writer.close()
    else:
        Image.fromarray(np.ascontiguousarray(pixels)).save(encoded, "PNG", compress_level=compression)
    return encoded.getvalue()


@contextmanager
def folder_for(path: Path) -> Iterator[Path]:
    """A new folder beside `path`, which takes its place if the block ends well, or vanishes.

    Raises:
        DataError: there is something at `path`.
    """
    import shutil

    if path.exists():
        raise DataError(f"'{path}' is there already; remove it, or name another place")
    part = path.with_name(f".{path.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        part.replace(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)
