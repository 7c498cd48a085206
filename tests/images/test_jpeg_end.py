"""A JPEG that lacks nothing but its last bytes is read, one that lacks pixels is not."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, features

from hfsr.errors import ImageError
from hfsr.images import read_image

PIXELS = np.random.default_rng(0).integers(0, 256, (45, 61, 3), np.uint8)
NOTE = "its last bytes are missing, but none of its pixels are"


def jpeg(**options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"quality": 30}, {"quality": 100, "subsampling": 0}]
)
@pytest.mark.parametrize("missing", [1, 2])
def test_a_missing_end_marker_costs_nothing(tmp_path, options, missing):
    data = jpeg(**options)
    (tmp_path / "whole.jpg").write_bytes(data)
    (tmp_path / "cut.jpg").write_bytes(data[:-missing])
    whole, cut = read_image(tmp_path / "whole.jpg"), read_image(tmp_path / "cut.jpg")
    np.testing.assert_array_equal(cut.pixels, whole.pixels)
    assert whole.notes == ()
    # where the last row is complete, the decoder does not even look for the end
    assert cut.notes == (NOTE,) if options else cut.notes in ((), (NOTE,))


@pytest.mark.parametrize("missing", [8, 12, 40, 400])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 30}])
def test_missing_pixels_are_an_error(tmp_path, options, missing):
    (tmp_path / "cut.jpg").write_bytes(jpeg(**options)[:-missing])
    with pytest.raises(ImageError, match="damaged or cut short"):
        read_image(tmp_path / "cut.jpg")


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_whatever_a_decoder_raises_is_the_file_s_error(tmp_path, monkeypatch):
    buffer = io.BytesIO()
    Image.fromarray(np.tile(PIXELS, (2, 2, 1))).save(buffer, "AVIF")
    data = buffer.getvalue()
    at = data.index(b"mdat") + 4
    (tmp_path / "a.avif").write_bytes(data[:at] + bytes(len(data) - at))
    with pytest.raises(ImageError, match=r"a\.avif' is (damaged|no image)"):
        read_image(tmp_path / "a.avif")


@pytest.mark.parametrize(
    "error", [RuntimeError, AttributeError, ZeroDivisionError, RecursionError, AssertionError]
)
@pytest.mark.parametrize("place", ["open", "load"])
def test_of_any_kind(tmp_path, monkeypatch, error, place):
    def fail(*_: object, **__: object) -> None:
        raise error("of the decoder")

    path = tmp_path / "a.png"
    Image.fromarray(PIXELS).save(path)
    target = (Image, "open") if place == "open" else (Image.Image, "load")
    if place == "load":
        from PIL import ImageFile

        target = (ImageFile.ImageFile, "load")
    monkeypatch.setattr(*target, fail)
    with pytest.raises(ImageError) as caught:
        read_image(path)
    assert str(path) in str(caught.value)


def test_too_little_memory_is_said_so(tmp_path, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(ImageError, match="does not fit into memory"):
        read_image(tmp_path / "a.png")
