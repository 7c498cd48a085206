"""Writes lists of images, and images in LMDB and HDF5."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hfsr.errors import DataError, MissingDependencyError
from hfsr.images import image_size, open_new

from ..decoded_images import Progress
from ..file_lists import read_rgb
from .parallel_files import encode_png, folder_for, images_of, names_in

__all__ = ["to_h5", "to_lmdb", "write_meta_info"]

_COMMIT = 500  # images


def write_meta_info(source: Path, target: Path, *, progress: Progress | None = None) -> int:
    """Writes BasicSR's list of a folder: `NAME.png (height,width,channels)`, one line for each image.

    Returns:
        The number of images.

    Raises:
        DataError: if the source is missing or empty.
        ImageError: if an image cannot be read, or the list cannot be written.
    """
    images = images_of(source)
    lines = []
    for done, image in enumerate(images, 1):
        height, width, channels = read_rgb(image).shape
        lines.append(f"{image.relative_to(source).as_posix()} ({height},{width},{channels})\n")
        if progress:
            progress(done, len(images))
    target.parent.mkdir(parents=True, exist_ok=True)
    with open_new(target) as file:
        file.write("".join(lines).encode())
    return len(lines)


def to_lmdb(source: Path, target: Path, *, compression: int = 1, progress: Progress | None = None) -> int:
    """Writes a folder `*.lmdb` as BasicSR's scripts do: PNG images by their names, and `meta_info.txt`.

    Returns:
        The number of images in the folder.

    Raises:
        DataError: if the source is missing or empty, or the target exists.
        ImageError: if an image cannot be read.
        MissingDependencyError: if lmdb is not installed.
    """
    try:
        import lmdb
    except ImportError as error:
        raise MissingDependencyError("lmdb", extra="train", purpose="writing LMDB") from error
    if target.suffix != ".lmdb":
        raise DataError(f"'{target}' must end with .lmdb, as BasicSR requires")
    images = images_of(source)
    names = names_in(source, images)
    lines = []
    with folder_for(target) as part:
        # The decoded size limits the encoded one; the file grows only to the used size.
        room = max(1 << 24, 2 * sum(8 * _pixels(image) for image in images))
        with lmdb.open(str(part), map_size=room) as database:
            transaction = database.begin(write=True)
            for done, (image, name) in enumerate(zip(images, names, strict=True), 1):
                pixels = read_rgb(image)
                encoded = encode_png(pixels, compression=compression)
                transaction.put(name.encode("ascii", "backslashreplace"), encoded)
                lines.append(f"{name}.png ({pixels.shape[0]},{pixels.shape[1]},3) {compression}\n")
                if done % _COMMIT == 0:
                    transaction.commit()
                    transaction = database.begin(write=True)
                if progress:
                    progress(done, len(images))
            transaction.commit()
        (part / "meta_info.txt").write_text("".join(lines), encoding="utf-8")
    return len(images)


def to_h5(sources: Mapping[str, Path], target: Path, *, progress: Progress | None = None) -> int:
    """Writes an HDF5 file: one group for each source with every image under its name, uint8 or uint16, RGB.

    Args:
        sources: folders by the name of their group, for example gt and lq.
        target: path of the file; an existing file is replaced.
        progress: called after each image.

    Returns:
        The number of images in the file.

    Raises:
        DataError: if a source is missing or empty.
        ImageError: if an image cannot be read, or the file cannot be written.
        MissingDependencyError: if h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingDependencyError("h5py", extra="train", purpose="writing HDF5") from error
    listed = [
        (group, name, image)
        for group, folder in sources.items()
        for images in [images_of(folder)]
        for name, image in zip(names_in(folder, images), images, strict=True)
    ]
    target.parent.mkdir(parents=True, exist_ok=True)
    with open_new(target) as file, h5py.File(file, "w") as store:
        for done, (group, name, image) in enumerate(listed, 1):
            store[f"{group}/{name}"] = read_rgb(image)
            if progress:
                progress(done, len(listed))
    return len(listed)


def _pixels(image: Path) -> int:
    width, height = image_size(image)
    return width * height
