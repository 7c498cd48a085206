"""A TIFF that ends before its strips or tiles do is refused, whatever decodes it."""

from __future__ import annotations

import io
import re
import warnings

import numpy as np
import pytest
from PIL import Image

from hfsr.errors import ImageError
from hfsr.images import read_image

from .tiff_files import encode

SHAPE = (20, 24)


def samples_of(rng, kind: str, channels: int = 3) -> np.ndarray:
    if kind == "f":
        return rng.random((*SHAPE, channels)).astype(np.float32)
    return rng.integers(0, 256 ** int(kind), (*SHAPE, channels), f"u{kind}")


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("kind", ["1", "2", "f"])
@pytest.mark.parametrize(
    "options",
    [
        {}, {"strip_rows": 7}, {"planes": True}, {"tile": (16, 16)}, {"deflate": True},
        {"tile": (16, 16), "planes": True, "deflate": True}, {"order": ">"},
        {"tags": {34675: (7, bytes(3500))}},
    ],
)  # fmt: skip
def test_missing_bytes_are_noticed(rng, big, kind, options):
    samples = samples_of(rng, kind)
    bits = 32 if kind == "f" else 8 * int(kind)
    data = encode(samples, bits, big=big, kind=3 if kind == "f" else 1, directory_first=True, **options)
    whole = read_image(data, floats=True)
    np.testing.assert_array_equal(whole.pixels, samples)
    for missing in (2, 60, 500):  # the last byte may be padding
        with pytest.raises(ImageError, match="is damaged or cut short"):
            read_image(data[:-missing], floats=True)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "jpeg", "raw"])
def test_a_directory_that_was_cut_off_is_named(rng, capfd, compression):
    file = io.BytesIO()
    Image.fromarray(samples_of(rng, "1")).save(file, "TIFF", compression=compression)
    data = file.getvalue()
    for length in (9, len(data) // 2, len(data) * 9 // 10, len(data) - 20):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(ImageError, match="is damaged or cut short"):
                read_image(data[:length])
    assert capfd.readouterr() == ("", "")  # nothing of libtiff's either


def test_a_cut_software_tag_is_no_warning(rng):
    """Its pixels are whole."""
    samples = samples_of(rng, "1")
    data = encode(samples, 8, tags={305: (2, b"a program of a long name\0")})
    at = data.index(b"a program")
    assert at > len(data) - 30
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = read_image(data[: at + 3])
    np.testing.assert_array_equal(image.pixels, samples)


@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_left_out_pieces_are_refused(rng, tile):
    offsets = 273 if tile is None else 324
    options = {"deflate": True, "strip_rows": 5, "tile": tile}
    read_image(encode(samples_of(rng, "1"), 8, **options))
    data = encode(samples_of(rng, "1"), 8, **options, tags={offsets: (4, [8, 0, 0, 0])})
    with pytest.raises(ImageError, match=re.escape("left out (a sparse TIFF)")):
        read_image(data)
    with pytest.raises(ImageError, match="lists 2 of 4 strips or tiles"):
        read_image(encode(samples_of(rng, "1"), 8, strip_rows=5, tile=tile, tags={offsets: (4, [8, 8])}))


def test_uncompressed_counts_need_not_be_right(rng):
    """Programs write the bytes of a whole strip for a shorter last one, or none."""
    samples = samples_of(rng, "1")
    for counts in ([504, 504, 504], [0, 0, 0]):
        image = read_image(encode(samples, 8, strip_rows=7, tags={279: (4, counts)}))
        np.testing.assert_array_equal(image.pixels, samples)
