"""Makes files from files: in parallel, atomically, without replacing existing ones."""

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
from hfsr.images import SUFFIXES, open_new
from hfsr.images.encoding.png_writer import PngWriter

from ..decoded_images import Progress
from ..file_lists import images_below

__all__ = ["Outcome", "Task", "encode_png", "folder_for", "images_of", "names_in", "run_tasks", "write_png"]


@dataclass(frozen=True)
class Task:
    """The files to be made from one image."""

    source: Path
    targets: tuple[Path, ...]
    make: Callable[[], None]
    """Writes the targets; runs in a thread (Pillow and NumPy release the GIL)."""


@dataclass
class Outcome:
    """Result of a run."""

    made: int = 0
    """Number of written files."""
    kept: int = 0
    """Number of files that existed already."""
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
    """Makes missing files; a second run continues a stopped one.

    Args:
        tasks: tasks in any order.
        threads: number of threads (default: number of processors).
        overwrite: True to replace existing files.
        skip_unreadable: True to skip images that cannot be read; otherwise the first one stops the run.
        progress: called after each task.

    Raises:
        ImageError: if an image cannot be read, or a file cannot be written.
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
    """Returns the images of a folder and its subfolders.

    Raises:
        DataError: if the folder is missing or empty.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder '{folder}'")
    found = images_below(folder)
    if not found:
        raise DataError(f"the folder '{folder}' holds no images ({', '.join(sorted(SUFFIXES))})")
    return found


def names_in(folder: Path, images: Sequence[Path]) -> list[str]:
    """Returns paths relative to the folder, without file type, as names of the images.

    Raises:
        DataError: if two images differ in their file type alone.
    """
    names = [image.relative_to(folder).with_suffix("").as_posix() for image in images]
    doubles = (
        sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    )
    if doubles:
        raise DataError(f"'{folder}' contains several images of one name: {doubles[0]}; keep one of each")
    return names


def write_png(path: Path, pixels: NDArray, *, compression: int = 3) -> None:
    """Writes a PNG of 8 or 16 bits atomically and creates its folder.

    Raises:
        ImageError: if it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_new(path) as file:
        file.write(encode_png(pixels, compression=compression))


def encode_png(pixels: NDArray, *, compression: int) -> bytes:
    """Encodes RGB pixels, uint8 or uint16 (H, W, 3), as PNG; Pillow does not write 16-bit RGB."""
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
    """Yields a new folder, which is renamed to `path` if the block succeeds, and removed otherwise.

    Raises:
        DataError: if `path` exists.
    """
    import shutil

    if path.exists():
        raise DataError(f"'{path}' exists already; remove it, or name another path")
    part = path.with_name(f".{path.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        part.replace(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)
