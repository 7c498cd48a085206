"""Encoded image: a file on disk, or its bytes."""

from __future__ import annotations

import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from hfsr.errors import ImageError

__all__ = ["EncodedImage", "ImageFile"]

_FILES = "an image file is a path, the bytes of a file, or an open binary file"


@dataclass(frozen=True)
class EncodedImage:
    """Image file, or the bytes of one; its `str` is its name in messages.

    Attributes:
        path: path of the file; None for bytes.
        data: the bytes; None for a file on disk.
        name: the path, or a placeholder for it.
    """

    path: Path | None
    data: bytes | None
    name: str

    @classmethod
    def of(cls, source: Any, *, allowed: str = _FILES) -> EncodedImage:
        """Wraps a path, bytes, or an open binary file, which is read from its current position.

        Args:
            source: the file.
            allowed: end of the message about a source of another type.

        Raises:
            ImageError: the source is none of these, or a file in text mode, closed, or not readable.
        """
        if isinstance(source, EncodedImage):
            return source
        if isinstance(source, (str, os.PathLike)):
            path = Path(source)
            return cls(path, None, str(path))
        if isinstance(source, (bytes, bytearray, memoryview)):
            return cls(None, bytes(source), "<bytes>")
        if callable(getattr(source, "read", None)):
            return _read(source)
        raise ImageError(f"got {type(source).__name__}; {allowed}")

    def __str__(self) -> str:
        return self.name

    def open(self) -> BinaryIO:
        """Opens the image for reading, from the start."""
        if self.path is not None:
            return self.path.open("rb")
        return io.BytesIO(self.data or b"")

    def read_bytes(self) -> bytes:
        """Returns the whole content."""
        return self.path.read_bytes() if self.path is not None else self.data or b""

    def check(self) -> None:
        """Checks that the image has content, without opening a file that would block, like a pipe.

        Raises:
            ImageError: the file is missing, a folder, a device, not readable, or empty.
        """
        if self.path is None:
            if not self.data:
                raise ImageError(f"'{self}' is empty (0 bytes); get the file again")
            return
        try:
            kind = os.stat(self.path).st_mode
            if stat.S_ISDIR(kind):
                raise ImageError(f"'{self}' is a folder; name an image in it")
            if not stat.S_ISREG(kind):
                raise ImageError(f"'{self}' is a device or a pipe; name an image file, or - for stdin")
            with self.path.open("rb") as file:
                start = file.read(1)
        except FileNotFoundError as error:
            raise ImageError(f"'{self}' is not there; check the path") from error
        except ValueError as error:  # a NUL in the name
            raise ImageError(f"{self.name!r} is not a valid path ({error})") from error
        except OSError as error:
            raise ImageError(f"'{self}' cannot be opened ({error.strerror}); check the path") from error
        if not start:
            raise ImageError(f"'{self}' is empty (0 bytes); get the file again")


def _read(file: Any) -> EncodedImage:
    name = getattr(file, "name", None)
    name = f"<{type(file).__name__}>" if not isinstance(name, str) else name
    try:
        data = file.read()
    except (OSError, ValueError) as error:  # ValueError: a closed file
        raise ImageError(f"'{name}' cannot be read ({error}); give a file open for reading") from error
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise ImageError(f"'{name}' is open in text mode; open it in binary mode ('rb')")
    return EncodedImage(None, bytes(data), name)


ImageFile: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | EncodedImage"
"""Types that `EncodedImage.of` accepts."""
