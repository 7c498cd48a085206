"""Strips and tiles of a TIFF: their places in the file, checked against its end, and their bytes."""

from __future__ import annotations

from dataclasses import dataclass

from hfsr.errors import ImageError
from hfsr.images.decoding import tiff_layout as tags
from hfsr.images.decoding.tiff_layout import TiffLayout

__all__ = ["PieceGrid", "check_complete", "piece_grid", "read_pieces"]

_OLD_JPEG = 6  # its strips may be anywhere, or missing


@dataclass(frozen=True)
class PieceGrid:
    """Division of a plane into strips or tiles.

    Attributes:
        is_tiled: True for tiles, which have their full size at the edges too.
        width: px of a piece; that of the image for strips.
        rows: rows of a piece.
        across: pieces beside each other.
        down: pieces below each other.
        height: rows of the image.
    """

    is_tiled: bool
    width: int
    rows: int
    across: int
    down: int
    height: int

    def rows_of(self, index: int) -> int:
        """Returns the stored rows of a piece of a plane; the last strip may be shorter than the others."""
        row = index // self.across
        return self.rows if self.is_tiled else min(self.rows, self.height - row * self.rows)


def piece_grid(layout: TiffLayout) -> PieceGrid:
    """Returns the division of each plane.

    Raises:
        ImageError: the pieces have no size.
    """
    width, height = layout.value(tags.WIDTH, 0), layout.value(tags.HEIGHT, 0)
    is_tiled = tags.TILE_OFFSETS in layout.entries
    if is_tiled:
        piece_width, rows = layout.value(tags.TILE_WIDTH, 0), layout.value(tags.TILE_HEIGHT, 0)
    else:
        piece_width, rows = width, min(layout.value(tags.STRIP_ROWS, height), height)
    if piece_width < 1 or rows < 1:
        raise ImageError("its tiles have no size")
    return PieceGrid(is_tiled, piece_width, rows, -(-width // piece_width), -(-height // rows), height)


def check_complete(layout: TiffLayout) -> None:
    """Raises OSError if the file ends before its strips or tiles do.

    Decoders report this only if nothing follows the last strip: they would decode the bytes of tags that
    `TiffLayout.rewritten` appends.

    Raises:
        OSError: the file is truncated.
        ImageError: see `piece_grid`; or pieces are left out.
    """
    if layout.value(tags.COMPRESSION, 1) != _OLD_JPEG:
        for plane in range(layout.planes):
            _places(layout, plane)


def read_pieces(layout: TiffLayout, plane: int) -> list[bytes]:
    """Reads the strips or tiles of a plane as they are in the file, from left to right and top to bottom.

    Raises:
        OSError, ImageError: see `check_complete`.
    """
    pieces = []
    for offset, count in _places(layout, plane):
        layout.file.seek(offset)
        pieces.append(layout.file.read(count))
    return pieces


def _places(layout: TiffLayout, plane: int) -> list[tuple[int, int]]:
    """Returns offset and bytes of each piece of a plane."""
    grid = piece_grid(layout)
    of_offsets = tags.TILE_OFFSETS if grid.is_tiled else tags.OFFSETS
    of_counts = tags.TILE_COUNTS if grid.is_tiled else tags.COUNTS
    pieces = grid.across * grid.down
    offsets = layout.values(of_offsets)[plane * pieces : (plane + 1) * pieces]
    counts = layout.values(of_counts)[plane * pieces : (plane + 1) * pieces]
    if len(offsets) < pieces:
        raise OSError(f"its directory lists {len(offsets)} of {pieces} strips or tiles")
    places = []
    is_uncompressed, bytes_of_rows = layout.value(tags.COMPRESSION, 1) == 1, dict[int, int]()
    for index, offset in enumerate(offsets):
        if offset == 0:
            raise ImageError("some of its strips or tiles are left out (a sparse TIFF); write all of them")
        count = counts[index] if index < len(counts) else max(layout.size - offset, 1)
        if is_uncompressed:  # programs write other counts for a last strip
            rows = grid.rows_of(index)
            if rows not in bytes_of_rows:
                bytes_of_rows[rows] = _uncompressed_bytes(layout, grid, rows)
            count = bytes_of_rows[rows]
        if offset + count > layout.size:
            what = "tiles" if grid.is_tiled else "strips"
            raise OSError(f"it has {layout.size:,} bytes, but its {what} reach byte {offset + count:,}")
        places.append((offset, count))
    return places


def _uncompressed_bytes(layout: TiffLayout, grid: PieceGrid, rows: int) -> int:
    """Returns the bytes of an uncompressed piece of so many rows."""
    samples = 1 if layout.planes > 1 else layout.samples
    if layout.value(tags.PHOTOMETRIC, 0) == 6 and layout.planes == 1:
        across, down = layout.subsampling  # blocks of luma samples, each with one sample of Cb and Cr
        blocks = -(-grid.width // across) * -(-rows // down)
        return blocks * -(-(across * down + samples - 1) * layout.bits[0] // 8)
    return rows * -(-grid.width * samples * layout.bits[0] // 8)
