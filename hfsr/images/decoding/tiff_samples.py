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
from hfsr.images.decoding.tiff_pieces import piece_grid, read_pieces

__all__ = [
    "SMALLEST_DIVISOR",
    "check_own_decoding",
    "extra_channel_notes",
    "needs_own_decoding",
    "read_samples",
    "split_samples",
    "unsupported_layout",
]

SMALLEST_DIVISOR = 1e-6
"""Opacity by which premultiplied floats of less opacity are divided."""

_COMPRESSIONS = {
    **{2: "CCITT", 3: "CCITT fax", 4: "CCITT fax", 6: "JPEG", 7: "JPEG", 34712: "JPEG 2000"},
    **{34887: "LERC", 50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL"},
}
_BYTEWISE = {1, 5, 8, 32773, 32946, 34925, 50000}  # none, LZW, deflate (two), PackBits, LZMA, Zstandard
_WITH_PREDICTOR = {5, 8, 32946, 34925, 50000}  # LZW, deflate (two), LZMA, Zstandard
_JPEG = 7
_BAND = 1 << 22  # bits unpacked at once


def needs_own_decoding(layout: TiffLayout) -> bool:
    """Returns True for layouts that Pillow opens in a mode of another range, or whose planes it mixes up."""
    if layout.is_floating:
        return True
    if not layout.is_gray_or_rgb:
        return False
    return layout.planes > 1 or max(layout.bits) not in (1, 2, 4, 8, 16)


def check_own_decoding(layout: TiffLayout) -> None:
    """Raises ImageError, which describes the file, for layouts that `read_samples` does not decode."""
    compression = layout.value(tags.COMPRESSION, 1)
    is_possible = layout.is_gray_or_rgb or (layout.planes > 1 and not layout.is_floating)
    if not is_possible or len(set(layout.bits)) > 1:
        raise unsupported_layout(layout)
    if layout.samples < layout.colors:
        raise ImageError(f"it has {layout.samples} samples per pixel, too few for {layout.description}")
    is_gray_jpeg = compression == _JPEG and layout.bits[0] == 8 and layout.planes == layout.samples
    if compression not in _BYTEWISE and not is_gray_jpeg:
        name = _COMPRESSIONS.get(compression, f"method {compression}")
        raise ImageError(f"it is compressed by {name} ({layout.description}); save it with LZW or deflate")
    if _predictor(layout) == 2 and layout.bits[0] not in (8, 16):
        raise ImageError(
            f"it stores differences of {layout.bits[0]}-bit samples, which programs decode differently; "
            "save it without a predictor"
        )


def unsupported_layout(layout: TiffLayout) -> ImageError:
    """Returns the error for a layout that neither Pillow nor hfsr decodes."""
    return ImageError(f"its layout is not supported ({layout.description}); convert it to RGB")


def read_samples(layout: TiffLayout) -> NDArray:
    """Reads the samples of the first image as stored in the file.

    Returns:
        uint8 or uint16, the smaller type that fits the depth, or float32, shape (H, W, samples per pixel).

    Raises:
        ImageError: see `check_own_decoding`.
        OSError: the data is damaged or truncated.
    """
    check_own_decoding(layout)
    if layout.planes > 1:
        return np.concatenate([_read_plane(layout, plane, 1) for plane in range(layout.planes)], axis=2)
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
    index = next((at for at, kind in enumerate(layout.extra) if kind in (1, 2)), None)
    alpha = None if index is None else samples[..., layout.colors + index].copy()
    if alpha is not None and layout.is_premultiplied and layout.is_floating:
        colors = colors / np.maximum(alpha, SMALLEST_DIVISOR)[..., None]
    elif alpha is not None and layout.is_premultiplied:
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


def _predictor(layout: TiffLayout) -> int:
    """Returns 2 if differences of integers are stored, 3 for those of floats, else 1.

    As in libtiff, the tag has no meaning for other compressions.
    """
    is_used = layout.value(tags.COMPRESSION, 1) in _WITH_PREDICTOR
    return layout.value(tags.PREDICTOR, 1) if is_used else 1


def _read_plane(layout: TiffLayout, plane: int, samples: int) -> NDArray:
    """Reads one plane, shape (H, W, samples)."""
    width, height = layout.value(tags.WIDTH, 0), layout.value(tags.HEIGHT, 0)
    grid = piece_grid(layout)
    row_bytes = -(-grid.width * samples * layout.bits[0] // 8)
    replaced = {
        tags.WIDTH: (grid.across * row_bytes,),
        tags.BITS: (8,),
        tags.PHOTOMETRIC: (1,),
        tags.SAMPLES: (1,),
        tags.STRIP_ROWS: (grid.rows,),
        tags.PLANAR: (1,),
    }
    if grid.is_tiled:
        replaced[tags.TILE_WIDTH] = (row_bytes,)
    left_out = (tags.EXTRA, tags.FORMAT, tags.PREDICTOR, tags.SUBSAMPLING)
    data = layout.with_pieces(read_pieces(layout, plane), replaced, left_out)
    with Image.open(io.BytesIO(data), formats=("TIFF",)) as image:
        rows = np.asarray(image)
    rows = rows.reshape(height, grid.across, row_bytes)
    shape = (height, grid.across, grid.width, samples)
    if _predictor(layout) == 3 and layout.is_floating:
        found: NDArray = _grouped_floats(rows, layout, grid.width * samples, samples).reshape(shape)
    else:
        found = _unpack(rows, layout, grid.width * samples).reshape(shape)
        if _predictor(layout) == 2:
            found = np.cumsum(found, axis=2, dtype=found.dtype)
        if layout.is_floating:
            found = found.view(f"f{layout.bits[0] // 8}").astype(np.float32)
    return found.reshape(height, grid.across * grid.width, samples)[:, :width]


def _unpack(rows: NDArray[np.uint8], layout: TiffLayout, count: int) -> NDArray:
    """Unpacks the integers of packed rows (..., bytes): `count` per row; those of floats have their bits."""
    depth = layout.bits[0]
    if depth == 8:
        return rows[..., :count]
    if depth in (16, 32, 64):
        size = depth // 8
        return rows[..., : size * count].copy().view(f"{layout.order}u{size}").astype(f"u{size}")
    found = np.empty((*rows.shape[:-1], count), np.uint8 if depth < 8 else np.uint16)
    weights = (1 << np.arange(depth - 1, -1, -1)).astype(np.uint16)
    step = max(1, _BAND // max(1, rows[0].size * 8))
    for start in range(0, len(rows), step):  # most significant bit first, in either byte order
        bits = np.unpackbits(rows[start : start + step], axis=-1)[..., : count * depth]
        found[start : start + step] = bits.reshape(*bits.shape[:-1], count, depth) @ weights
    return found


def _grouped_floats(
    rows: NDArray[np.uint8], layout: TiffLayout, count: int, samples: int
) -> NDArray[np.float32]:
    """Decodes the floats of rows (..., bytes) with predictor 3: `count` per row.

    A row holds the first bytes of all values, then the second ones, the most significant first, as
    differences from byte to byte of the same sample.
    """
    size = layout.bits[0] // 8
    rows = rows[..., : size * count]
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
