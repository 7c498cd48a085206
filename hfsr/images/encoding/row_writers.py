"""Base class of the row writers, which write one image from top to bottom to an open file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import BinaryIO

from numpy.typing import NDArray

from hfsr.errors import ImageError

__all__ = ["RowWriter"]


class RowWriter(ABC):
    """Writer of one image to an open file; `close` ends the file and detects missing rows.

    Args:
        file: file open for writing in binary, at its start, seekable; it is not closed.
        width: px.
        height: px.
        channels: 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha (not premultiplied).
        bits: bits per channel, 8 or 16; 32 are floats.
        icc: the color profile.
        exif: EXIF as returned by Pillow, with or without its "Exif" prefix.
        xmp: an XMP packet, UTF-8.
        iptc: IPTC-IIM records, if the format can store them.
        dpi: horizontal and vertical px per inch.
        color: chunks of PNG that define the color space, by name and data.
        texts: text chunks of a PNG, by name and data.
        level: compression level, 0 to 9.

    Raises:
        ImageError: `channels` or `bits` have another value.
    """

    allowed_bits: tuple[int, ...] = (8, 16)

    def __init__(
        self,
        file: BinaryIO,
        width: int,
        height: int,
        *,
        channels: int,
        bits: int,
        icc: bytes | None = None,
        exif: bytes | None = None,
        xmp: bytes | None = None,
        iptc: bytes | None = None,
        dpi: tuple[float, float] | None = None,
        color: tuple[tuple[bytes, bytes], ...] = (),
        texts: tuple[tuple[bytes, bytes], ...] = (),
        level: int = 4,
    ) -> None:
        if channels not in (1, 2, 3, 4) or bits not in self.allowed_bits:
            allowed = " or ".join(map(str, self.allowed_bits))
            raise ImageError(
                f"hfsr writes images of 1 to 4 channels of {allowed} bit, not {channels} of {bits}"
            )
        self._dtype = "float32" if bits == 32 else f"uint{bits}"
        self._file = file
        self._width, self._height, self._channels, self._bits = width, height, channels, bits
        self._icc, self._exif, self._xmp, self._iptc, self._dpi = icc, exif, xmp, iptc, dpi
        self._color, self._texts = color, texts
        self._level = level
        self._missing = height
        self._begin()

    def write(self, rows: NDArray) -> None:
        """Appends rows.

        Args:
            rows: uint8, uint16 or float32 according to `bits`, shape (n, width) or (n, width, channels).

        Raises:
            ImageError: the shape or dtype differs, or there are more rows than the image or the format holds.
        """
        width, channels = self._width, self._channels
        if rows.dtype != self._dtype or rows.shape[1:] not in {(width, channels)[: rows.ndim - 1]}:
            raise ImageError(
                f"rows are {rows.dtype} of {rows.shape}; need {self._dtype} of (n, {width}, {channels})"
            )
        if len(rows) > self._missing:
            raise ImageError(f"{len(rows)} rows where the image has room for {self._missing}")
        self._missing -= len(rows)
        self._append(rows.reshape(len(rows), width, channels))

    def close(self) -> None:
        """Ends the file.

        Raises:
            ImageError: rows are missing, or the file is larger than the format allows.
        """
        if self._missing:
            raise ImageError(f"the image still lacks {self._missing} rows")
        self._end()

    @property
    def _row_bytes(self) -> int:
        return self._width * self._channels * self._bits // 8

    @abstractmethod
    def _begin(self) -> None:
        """Writes the content before the rows."""

    @abstractmethod
    def _append(self, rows: NDArray) -> None:
        """Writes rows of the image, (n, width, channels)."""

    @abstractmethod
    def _end(self) -> None:
        """Writes the content after the rows."""
