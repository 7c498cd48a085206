"""Containers of images in one file: packs, BasicSR's LMDB, HDF5."""

from __future__ import annotations

import io
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hfsr.errors import DataError, ImageError, MissingDependencyError
from hfsr.images import image_from_pil
from hfsr.images.decoding.high_bit_depth import deep_samples

from .pack import Pack

__all__ = ["Container", "Entry", "Hdf5", "Lmdb", "is_container", "open_container"]

_SUFFIXES = (".pack", ".lmdb", ".h5", ".hdf5")


class Container(Protocol):
    """Images by name."""

    path: Path

    @property
    def names(self) -> list[str]:
        """Names of the images."""

    def read(self, name: str) -> NDArray:
        """Returns an image: uint8 or uint16, RGB (H, W, 3) or gray (H, W)."""


@dataclass(frozen=True, eq=False)
class Entry:
    """An image in a container."""

    container: Container
    name: str

    def read(self) -> NDArray:
        """Returns the pixels: uint8 or uint16, RGB (H, W, 3) or gray (H, W)."""
        return self.container.read(self.name)

    def __str__(self) -> str:
        return f"{self.container.path}:{self.name}"


class Lmdb:
    """A folder `*.lmdb` of BasicSR's scripts: encoded images, named in `meta_info.txt`.

    Raises:
        DataError: if the folder is missing or has another layout.
        MissingDependencyError: if lmdb is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            import lmdb
        except ImportError as error:
            raise MissingDependencyError("lmdb", extra="train", purpose="reading LMDB") from error
        try:
            lines = (path / "meta_info.txt").read_text(encoding="utf-8-sig").splitlines()
            self._database = lmdb.open(str(path), readonly=True, lock=False, readahead=False, meminit=False)
        except (OSError, UnicodeDecodeError, lmdb.Error) as error:
            raise DataError(
                f"'{path}' is no LMDB of images ({error}); create one: hfsr prepare lmdb"
            ) from error
        self.names = [line.split(" ")[0] for line in lines if line.strip()]

    def read(self, name: str) -> NDArray:
        with self._database.begin(write=False) as transaction:
            encoded = transaction.get(os.path.splitext(name)[0].encode("ascii", "backslashreplace"))
        if encoded is None:
            raise ImageError(f"'{self.path}' has no '{name}', which its meta_info.txt names")
        try:
            with Image.open(io.BytesIO(encoded)) as image, Image.open(io.BytesIO(encoded)) as again:
                deep = deep_samples(image, again)
                if deep is None:
                    return image_from_pil(image).pixels
                return deep[..., 0] if deep.shape[2] == 2 else deep[..., :3]  # without alpha
        except (OSError, ValueError, SyntaxError) as error:
            raise ImageError(f"'{self.path}:{name}' is damaged ({error}); create it again") from error


class Hdf5:
    """An HDF5 file with images: data sets (H, W), (H, W, 3) or (N, H, W, 3) of type uint8 or uint16.

    Raises:
        DataError: if the file is missing or no HDF5.
        MissingDependencyError: if h5py is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            import h5py
        except ImportError as error:
            raise MissingDependencyError("h5py", extra="train", purpose="reading HDF5") from error
        try:
            self._file = h5py.File(path, "r")
        except OSError as error:
            raise DataError(f"'{path}' is no HDF5 file ({error}); create one: hfsr prepare h5") from error
        self._places: dict[str, tuple[str, int | None]] = {}
        self._lock = threading.Lock()
        self._file.visititems(self._found)

    @property
    def names(self) -> list[str]:
        return list(self._places)

    def read(self, name: str) -> NDArray:
        place, index = self._places[name]
        try:
            with self._lock:  # h5py does not support several threads at a time
                return np.asarray(self._file[place][... if index is None else index])
        except OSError as error:
            raise ImageError(f"'{self.path}:{name}' is damaged ({error}); create it again") from error

    def _found(self, name: str, item: Any) -> None:
        shape = getattr(item, "shape", None)
        if shape is None or item.dtype not in (np.uint8, np.uint16):
            return
        if len(shape) == 2 or (len(shape) == 3 and shape[2] == 3):
            self._places[name] = (name, None)
        elif len(shape) == 4 and shape[3] == 3:
            self._places |= {f"{name}/{k:06}": (name, k) for k in range(shape[0])}


def is_container(root: Path) -> bool:
    """Returns True if a `dataroot` is a container and not a folder of images."""
    return root.suffix.lower() in _SUFFIXES


def open_container(root: Path) -> Container:
    """Opens the container that a `dataroot` names.

    Raises:
        DataError: if it is missing, unreadable or empty.
        MissingDependencyError: if the package that reads it is not installed.
    """
    suffix = root.suffix.lower()
    kind = Pack if suffix == ".pack" else Lmdb if suffix == ".lmdb" else Hdf5
    container: Container = kind(root)
    if not container.names:
        raise DataError(f"'{root}' holds no images")
    return container
