"""What the writers of rows ask of the rows they are given."""

from __future__ import annotations

from numpy.typing import NDArray

from hfsr.errors import ImageError

__all__ = ["check_rows"]


def check_rows(rows: NDArray, *, width: int, channels: int, bits: int, missing: int) -> None:
    """Refuses rows that do not belong to the picture.

    Args:
        rows: what is to be appended.
        width: of the picture, px.
        channels: 1 to 4; rows of one channel may lack that dimension.
        bits: per channel, 8 or 16.
        missing: rows that the picture has room for.

    Raises:
        ImageError: another shape or dtype, or too many rows.
    """
    if rows.dtype != f"uint{bits}" or rows.shape[1:] not in {(width, channels)[: rows.ndim - 1]}:
        raise ImageError(
            f"rows are {rows.dtype} of {rows.shape}; need uint{bits} of (n, {width}, {channels})"
        )
    if len(rows) > missing:
        raise ImageError(f"{len(rows)} rows where the picture has room for {missing}")
