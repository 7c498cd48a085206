"""Samples of TIFFs for which Pillow has no mode: any depth up to 16 bit, and floats, with extra channels.

Pillow (with libtiff) decompresses the rows of the file as 8-bit gray, as wide as a row has bytes. This module
decodes the bytes.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hfsr.errors import ImageError
from hfsr.images.decoding import tiff_layout as tags
from hfsr.images.decoding.tiff_layout import TiffLayout

__all__ = ["check_own_decoding", "extra_channel_notes", "needs_own_decoding", "read_samples", "split_samples"]

_COMPRESSIONS = {
    **{2: "CCITT", 3: "CCITT fax", 4: "CCITT fax", 6: "JPEG", 7: "JPEG", 34712: "JPEG 2000"},
    **{34887: "LERC", 50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL"},
}
_BYTEWISE = {1, 5, 8, 32773, 32946, 34925, 50000}  # none, LZW, deflate (two), PackBits, LZMA, Zstandard
_BAND = 1 << 22  # bits unpacked at once


def needs_own_decoding(layout: TiffLayout) -> bool:
    """Returns True for layouts that Pillow opens in a mode of another range, or with one plane only."""
    depth = max(layout.bits)
    if layout.is_floating:
        return True
    if layout.value(tags.PHOTOMETRIC, 0) not in (0, 1, 2):
        return False
    is_planar = layout.value(tags.PLANAR, 1) == 2 and layout.samples > 1
    return depth not in (1, 2, 4, 8, 16) or (depth > 8 and is_planar)


def check_own_decoding(layout: TiffLayout) -> None:
    """Raises ImageError, which describes the file, for layouts that `read_samples` does not decode."""
    compression = layout.value(tags.COMPRESSION, 1)
    if layout.value(tags.PHOTOMETRIC, 0) not in (0, 1, 2) or len(set(layout.bits)) > 1:
        raise ImageError(f"its layout is not supported ({layout.description}); convert it to RGB")
    if layout.samples < layout.colors:
        raise ImageError(f"it has {layout.samples} samples per pixel, too few for {layout.description}")
    if compression not in _BYTEWISE:
        name = _COMPRESSIONS.get(compression, f"method {compression}")
        raise ImageError(f"it is compressed by {name} ({layout.description}); save it with LZW or deflate")
    if layout.value(tags.PREDICTOR, 1) == 2 and layout.bits[0] not in (8, 16):
        raise ImageError(
            f"it stores differences of {layout.bits[0]}-bit samples, which programs decode differently; "
            "save it without a predictor"
        )


def read_samples(layout: TiffLayout) -> NDArray:
    """Reads the samples of the first image as stored in the file.

    Returns:
        uint8 or uint16, the smaller type that fits the depth, or float32, shape (H, W, samples per pixel).

    Raises:
        ImageError: see `check_own_decoding`.
        OSError: the data is damaged.
    """
    check_own_decoding(layout)
    if layout.value(tags.PLANAR, 1) == 2 and layout.samples > 1:
        planes = [_read_plane(layout, plane, 1) for plane in range(layout.samples)]
        return np.concatenate(planes, axis=2)
    return _read_plane(layout, 0, layout.samples)


def split_samples(layout: TiffLayout, samples: NDArray) -> tuple[NDArray, NDArray | None]:
    """Separates color and alpha.

    Args:
        layout: layout of the file.
        samples: from `read_samples`.

    Returns:
        RGB (H, W, 3) or gray (H, W), and alpha (H, W) or None, in the full range of uint8 or uint16; floats
        unchanged.
    """
    peak: float = 1.0
    if not layout.is_floating:
        samples = _to_full_range(samples, layout.bits[0])
        peak = np.iinfo(samples.dtype).max
    colors = samples[..., : layout.colors]
    if layout.value(tags.PHOTOMETRIC, 0) == 0:
        colors = peak - colors
    kinds = layout.extra
    index = next((at for at, kind in enumerate(kinds) if kind in (1, 2)), None)
    alpha = None if index is None else samples[..., layout.colors + index].copy()
    if alpha is not None and index is not None and kinds[index] == 1 and layout.is_floating:
        colors = colors / np.maximum(alpha, 1e-6)[..., None]
    elif alpha is not None and index is not None and kinds[index] == 1:
        opacity = np.maximum(alpha.astype(np.float64), 1)[..., None]
        colors = np.minimum(colors / opacity * peak + 0.5, peak).astype(samples.dtype)
    pixels = np.ascontiguousarray(colors[..., 0] if layout.colors == 1 else colors)
    return pixels, alpha


def extra_channel_notes(layout: TiffLayout) -> tuple[str, ...]:
    """Returns notes of channels that are neither color nor the transparency that is kept."""
    kinds = layout.extra
    count = len(kinds) - any(kind in (1, 2, 999) for kind in kinds)
    if not count:
        return ()
    what = "1 extra channel was" if count == 1 else f"{count} extra channels were"
    return (f"{what} left out",)


def _read_plane(layout: TiffLayout, plane: int, samples: int) -> NDArray:
    """Reads one plane, shape (H, W, samples)."""
    width, height = layout.value(tags.WIDTH, 0), layout.value(tags.HEIGHT, 0)
    is_tiled = tags.TILE_OFFSETS in layout.entries
    piece_width = layout.value(tags.TILE_WIDTH, 0) if is_tiled else width
    piece_rows = (
        layout.value(tags.TILE_HEIGHT, 0) if is_tiled else min(layout.value(tags.STRIP_ROWS, height), height)
    )
    if piece_width < 1 or piece_rows < 1:
        raise ImageError("its tiles have no size")
    across, down = -(-width // piece_width), -(-height // piece_rows)
    row_bytes = -(-piece_width * samples * layout.bits[0] // 8)
    pieces = slice(plane * across * down, (plane + 1) * across * down)
    places, counts = (tags.TILE_OFFSETS, tags.TILE_COUNTS) if is_tiled else (tags.OFFSETS, tags.COUNTS)
    replaced = {
        tags.WIDTH: (across * row_bytes,),
        tags.BITS: (8,),
        tags.PHOTOMETRIC: (1,),
        tags.SAMPLES: (1,),
        tags.STRIP_ROWS: (piece_rows,),
        tags.PLANAR: (1,),
        places: layout.values(places)[pieces],
        counts: layout.values(counts, (layout.size,))[pieces],
    }
    if is_tiled:
        replaced[tags.TILE_WIDTH] = (row_bytes,)
    left_out = (tags.EXTRA, tags.FORMAT, tags.PREDICTOR, 274)
    with Image.open(io.BytesIO(layout.rewritten(replaced, left_out)), formats=("TIFF",)) as image:
        rows = np.asarray(image)
    rows = rows.reshape(height, across, row_bytes)
    if layout.is_floating:
        values = _floats(rows, layout, piece_width * samples, samples)
        return values.reshape(height, across * piece_width, samples)[:, :width]
    found = _unpack(rows, layout, piece_width * samples).reshape(height, across, piece_width, samples)
    if layout.value(tags.PREDICTOR, 1) == 2:
        found = np.cumsum(found, axis=2, dtype=found.dtype)
    return found.reshape(height, across * piece_width, samples)[:, :width]


def _unpack(rows: NDArray[np.uint8], layout: TiffLayout, count: int) -> NDArray:
    """Unpacks the integers of packed rows (..., bytes): `count` per row."""
    depth = layout.bits[0]
    if depth == 8:
        return rows[..., :count]
    if depth == 16:
        return rows[..., : 2 * count].copy().view(f"{layout.order}u2").astype(np.uint16)
    found = np.empty((*rows.shape[:-1], count), np.uint8 if depth < 8 else np.uint16)
    weights = (1 << np.arange(depth - 1, -1, -1)).astype(np.uint16)
    step = max(1, _BAND // max(1, rows[0].size * 8))
    for start in range(0, len(rows), step):  # most significant bit first, in either byte order
        bits = np.unpackbits(rows[start : start + step], axis=-1)[..., : count * depth]
        found[start : start + step] = bits.reshape(*bits.shape[:-1], count, depth) @ weights
    return found


def _floats(rows: NDArray[np.uint8], layout: TiffLayout, count: int, samples: int) -> NDArray[np.float32]:
    """Decodes the floats of rows (..., bytes): `count` per row.

    With predictor 3, a row holds the first bytes of all values, then the second ones, the most significant
    first, as differences from byte to byte of the same sample.
    """
    size = layout.bits[0] // 8
    rows = rows[..., : size * count]
    if layout.value(tags.PREDICTOR, 1) != 3:
        return rows.copy().view(f"{layout.order}f{size}").astype(np.float32)
    found = np.empty((*rows.shape[:-1], count), np.float32)
    step = max(1, (_BAND >> 3) // max(1, rows[0].size))
    for start in range(0, len(rows), step):
        band = rows[start : start + step]
        shape = band.shape[:-1]
        summed = np.cumsum(band.reshape(*shape, -1, samples), axis=-2, dtype=np.uint8)
        planes = summed.reshape(*shape, size, count)
        values = np.ascontiguousarray(planes.swapaxes(-1, -2)).view(f">f{size}")
        found[start : start + step] = values[..., 0]
    return found


def _to_full_range(samples: NDArray, depth: int) -> NDArray:
    """Scales samples of `depth` bits to the full range of their type."""
    peak = np.iinfo(samples.dtype).max
    white = (1 << depth) - 1
    if white == peak:
        return samples
    return ((samples.astype(np.uint32) * peak + white // 2) // white).astype(samples.dtype)
