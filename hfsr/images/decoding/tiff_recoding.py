"""TIFFs that Pillow decodes wrongly or not at all, recoded as one that it decodes.

Pillow exchanges or drops the planes of some files of PlanarConfiguration 2, and its own reader of
uncompressed data knows no YCbCr. Some builds of libtiff lack WebP, which Pillow itself decodes.
"""

from __future__ import annotations

import io
import zlib

import numpy as np
from PIL import Image, features

from hfsr.errors import ImageError
from hfsr.images.decoding import tiff_layout as tags
from hfsr.images.decoding.tiff_layout import TiffLayout
from hfsr.images.decoding.tiff_pieces import piece_grid, read_pieces
from hfsr.images.decoding.tiff_samples import check_own_decoding, read_samples, unsupported_layout

__all__ = ["needs_recoding", "recoded", "recoded_header"]

_WEBP = 50001
_DEFLATE = {tags.COMPRESSION: (8,), tags.PLANAR: (1,)}


def needs_recoding(layout: TiffLayout) -> bool:
    """Returns True for layouts that Pillow decodes after `recoded` only."""
    compression = layout.value(tags.COMPRESSION, 1)
    if compression == _WEBP:
        return True
    if layout.planes > 1:  # 16 bit, gray and RGB: see `needs_own_decoding`
        return not layout.is_floating and (max(layout.bits) == 8 or not layout.is_gray_or_rgb)
    return layout.value(tags.PHOTOMETRIC, 0) == 6 and compression == 1


def recoded_header(layout: TiffLayout) -> bytes:
    """Returns a TIFF of the same size, kind of color and metadata, except EXIF, that has no samples.

    Raises:
        ImageError: the layout is not supported; the message describes it.
    """
    photometric = layout.value(tags.PHOTOMETRIC, 0)
    is_webp = layout.value(tags.COMPRESSION, 1) == _WEBP
    if layout.planes > 1 or (is_webp and not features.check("webp")):
        check_own_decoding(layout)
    if layout.planes > 1 and photometric == 6 and layout.subsampling != (1, 1):
        raise ImageError("its planes have different sizes; save it with interleaved channels")
    if is_webp and (photometric != 2 or layout.samples not in (3, 4) or set(layout.bits) != {8}):
        raise unsupported_layout(layout)
    return layout.without_samples(_DEFLATE, (tags.PREDICTOR,))


def recoded(layout: TiffLayout) -> bytes:
    """Returns the image as a TIFF of interleaved samples in deflate, without metadata.

    Raises:
        ImageError: see `check_own_decoding`.
        OSError: the data is damaged or truncated.
    """
    if layout.planes > 1:
        samples = read_samples(layout)
        stored = samples.astype(f"{layout.order}u{samples.itemsize}", copy=False)
        replaced = {**_DEFLATE, tags.STRIP_ROWS: (len(samples),)}
        tiled = (tags.TILE_WIDTH, tags.TILE_HEIGHT, tags.TILE_OFFSETS, tags.TILE_COUNTS)
        return layout.with_pieces([_wrapped(stored.tobytes())], replaced, (*tiled, tags.PREDICTOR))
    pieces = read_pieces(layout, 0)
    if layout.value(tags.COMPRESSION, 1) == _WEBP:
        grid = piece_grid(layout)
        pieces = [
            _decoded_webp(piece, (grid.rows_of(index), grid.width, layout.samples))
            for index, piece in enumerate(pieces)
        ]
    return layout.with_pieces([_wrapped(piece) for piece in pieces], _DEFLATE, (tags.PREDICTOR,))


def _wrapped(piece: bytes) -> bytes:
    """Stores bytes in the format of deflate, without compression."""
    return zlib.compress(piece, 0)


def _decoded_webp(piece: bytes, shape: tuple[int, int, int]) -> bytes:
    """Decodes a strip or tile that is a file of WebP, to samples of a shape."""
    with Image.open(io.BytesIO(piece), formats=("WEBP",)) as image:
        if (image.height, image.width) != shape[:2]:  # before it is decoded: it could be of any size
            raise OSError("a strip or tile has another size than the directory states")
        samples = np.asarray(image.convert("RGBA" if shape[2] == 4 else "RGB"))
    return samples.tobytes()
