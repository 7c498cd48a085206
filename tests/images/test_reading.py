"""What is read is what the file holds; what cannot be read is one line."""

from __future__ import annotations

import io
import threading
import warnings

import numpy as np
import pytest
from PIL import Image, ImageOps

from hfsr.errors import ImageError
from hfsr.images import (
    LoadedImage,
    image_bits,
    image_from_pil,
    image_size,
    list_images,
    read_image,
    write_image,
)

from . import profiles
from .conftest import chunk, encode_png, encode_tiff


def _array(rng, *shape, dtype=np.uint8):
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def _saved(path, image, **options):
    image.save(path, **options)
    return path


# 8 bit


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.ppm", "a.webp"])
def test_rgb(tmp_path, rng, name):
    pixels = _array(rng, 5, 7, 3)
    options = {"lossless": True} if name.endswith("webp") else {}
    image = read_image(_saved(tmp_path / name, Image.fromarray(pixels), **options))
    np.testing.assert_array_equal(image.pixels, pixels)
    assert image.alpha is None
    assert (image.height, image.width, image.bits, image.is_gray) == (5, 7, 8, False)
    assert image.pixels.flags.c_contiguous
    assert image.notes == ()


@pytest.mark.parametrize(
    ("name", "kind"), [("a.png", "PNG"), ("a.jpg", "JPEG"), ("a.tif", "TIFF"), ("a.gif", "GIF")]
)
def test_gray_stays_gray(tmp_path, rng, name, kind):
    pixels = np.full((6, 4), 77, np.uint8)
    image = read_image(_saved(tmp_path / name, Image.fromarray(pixels)))
    assert image.format == kind
    if kind == "GIF":  # a palette by nature
        assert not image.is_gray
        np.testing.assert_array_equal(image.pixels, np.dstack([pixels] * 3))
    else:
        assert image.is_gray
        assert np.abs(image.pixels.astype(int) - 77).max() <= 1


def test_alpha_is_apart(tmp_path, rng):
    rgba, la = _array(rng, 5, 7, 4), _array(rng, 5, 7, 2)
    color = read_image(_saved(tmp_path / "c.png", Image.fromarray(rgba)))
    np.testing.assert_array_equal(color.pixels, rgba[..., :3])
    np.testing.assert_array_equal(color.alpha, rgba[..., 3])
    gray = read_image(_saved(tmp_path / "g.png", Image.fromarray(la)))
    np.testing.assert_array_equal(gray.pixels, la[..., 0])
    np.testing.assert_array_equal(gray.alpha, la[..., 1])


def test_palette_one_bit_and_transparent_colors(tmp_path):
    pixels = np.array([[0, 1], [2, 1]], np.uint8)
    palette = Image.fromarray(pixels)
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    plain = read_image(_saved(tmp_path / "p.png", palette))
    assert plain.pixels.tolist() == [[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [0, 255, 0]]]
    assert plain.alpha is None
    keyed = read_image(_saved(tmp_path / "k.png", palette, transparency=1))
    assert keyed.alpha.tolist() == [[255, 0], [255, 0]]
    many = read_image(_saved(tmp_path / "m.png", palette, transparency=bytes([9, 100, 255])))
    assert many.alpha.tolist() == [[9, 100], [255, 100]]
    bits = read_image(_saved(tmp_path / "b.png", Image.fromarray(pixels == 1)))
    assert bits.is_gray
    assert bits.pixels.tolist() == [[0, 255], [0, 255]]
    gray = read_image(_saved(tmp_path / "t.png", Image.fromarray(pixels), transparency=2))
    assert gray.pixels.tolist() == pixels.tolist()
    assert gray.alpha.tolist() == [[255, 255], [0, 255]]
    rgb = read_image(
        _saved(tmp_path / "c.png", Image.fromarray(np.dstack([pixels] * 3)), transparency=(0, 0, 0))
    )
    assert rgb.alpha.tolist() == [[0, 255], [255, 255]]


@pytest.mark.parametrize("name", ["a.tif", "a.jpg"])
def test_inks_become_light_by_their_profile(tmp_path, name):
    for inks, expected in (((255, 0, 0, 0), (255, 0, 0)), ((0, 0, 0, 255), (0, 0, 0))):
        cmyk = Image.new("CMYK", (8, 8), inks)
        image = read_image(_saved(tmp_path / name, cmyk, icc_profile=profiles.red_cyan()))
        assert np.abs(image.pixels.astype(int) - expected).max() <= 3
        assert image.icc is None
        assert image.notes == ("CMYK was converted to sRGB by its color profile",)


@pytest.mark.parametrize(
    ("icc", "why"), [(None, "it has no color profile"), (b"of inks", "its color profile cannot be used")]
)
def test_inks_without_a_profile_that_helps(tmp_path, icc, why):
    cmyk = Image.new("CMYK", (4, 3), (0, 255, 255, 0))
    exif = Image.Exif()
    exif[0x0112] = 6
    image = read_image(_saved(tmp_path / "a.jpg", cmyk, icc_profile=icc, exif=exif, quality=100))
    assert (image.width, image.height) == (3, 4)
    assert np.abs(image.pixels[0, 0].astype(int) - [255, 0, 0]).max() <= 2
    assert image.icc is None
    assert image.notes == (f"CMYK was converted to RGB approximately, because {why}",)


def test_lab(tmp_path):
    image = read_image(_saved(tmp_path / "a.tif", Image.new("LAB", (4, 3), (255, 128, 128))))
    assert image.pixels.min() >= 254
    assert image.notes == ("Lab was converted to sRGB",)


# 16 bit


@pytest.mark.parametrize(("color_type", "channels"), [(0, 1), (4, 2), (2, 3), (6, 4)])
def test_png_of_sixteen_bit_keeps_every_bit(tmp_path, rng, color_type, channels):
    samples = _array(rng, 11, 6, channels, dtype=np.uint16)
    path = tmp_path / "deep.png"
    path.write_bytes(encode_png(samples, color_type))
    image = read_image(path)
    assert image.bits == 16
    assert image.is_gray == (channels < 3)
    color = samples[..., 0] if channels < 3 else samples[..., :3]
    np.testing.assert_array_equal(image.pixels, color)
    if channels in (2, 4):
        np.testing.assert_array_equal(image.alpha, samples[..., -1])
    else:
        assert image.alpha is None


def test_sixteen_bit_color_key_is_exact(tmp_path):
    samples = np.array([[[300, 2, 3], [301, 2, 3]]], np.uint16)
    path = tmp_path / "key.png"
    path.write_bytes(encode_png(samples, 2, extra=chunk(b"tRNS", bytes([1, 44, 0, 2, 0, 3]))))
    assert read_image(path).alpha.tolist() == [[0, 65535]]
    path.write_bytes(encode_png(samples[..., :1], 0, extra=chunk(b"tRNS", bytes([1, 45]))))
    assert read_image(path).alpha.tolist() == [[65535, 0]]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("channels", "extra"), [(3, None), (4, 2), (4, 0)])
def test_tiff_of_sixteen_bit_keeps_every_bit(tmp_path, rng, order, channels, extra):
    samples = _array(rng, 5, 6, channels, dtype=np.uint16)
    path = tmp_path / "deep.tif"
    path.write_bytes(encode_tiff(samples, order, extra=extra))
    image = read_image(path)
    np.testing.assert_array_equal(image.pixels, samples[..., :3])
    if extra == 2:
        np.testing.assert_array_equal(image.alpha, samples[..., 3])
    else:
        assert image.alpha is None
    assert image.exif is None  # its tags are all about its own layout


def test_premultiplied_tiff_is_divided_in_sixteen_bit(tmp_path, rng):
    color, alpha = _array(rng, 5, 6, 3, dtype=np.uint16), _array(rng, 5, 6, 1, dtype=np.uint16)
    alpha = np.maximum(alpha, 20_000)
    samples = np.dstack([np.round(color * (alpha / 65535)), alpha]).astype(np.uint16)
    path = tmp_path / "premultiplied.tif"
    path.write_bytes(encode_tiff(samples, "<", extra=1))
    image = read_image(path)
    np.testing.assert_array_equal(image.alpha, alpha[..., 0])
    assert np.abs(image.pixels.astype(int) - color).max() <= 2


@pytest.mark.parametrize("order", ["<", ">"])
def test_gray_tiff_of_sixteen_bit(tmp_path, rng, order):
    gray = _array(rng, 5, 6, dtype=np.uint16)
    path = tmp_path / "gray.tif"
    path.write_bytes(encode_tiff(gray, order))
    image = read_image(path)
    np.testing.assert_array_equal(image.pixels, gray)
    assert image.pixels.dtype.isnative
    path.write_bytes(encode_tiff(gray, order, white=True))
    np.testing.assert_array_equal(read_image(path).pixels, 65535 - gray)


def test_pgm_of_sixteen_bit_is_kept_and_ppm_refused(tmp_path, rng):
    samples = _array(rng, 2, 3, 3, dtype=np.uint16)
    gray, color = tmp_path / "a.pgm", tmp_path / "a.ppm"
    gray.write_bytes(b"P5 3 2 65535\n" + samples[..., 0].astype(">u2").tobytes())
    np.testing.assert_array_equal(read_image(gray).pixels, samples[..., 0])
    color.write_bytes(b"P6 3 2 65535\n" + samples.astype(">u2").tobytes())
    with pytest.raises(ImageError, match="PPM of 16 bit in color; save it as PNG"):
        read_image(color)


# What travels beside the pixels


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif"])
def test_orientation_is_applied_and_reset(tmp_path, rng, name, orientation):
    image = Image.fromarray(_array(rng, 4, 6, 4))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = orientation, "a description"
    options = {"lossless": True, "exact": True} if name.endswith("webp") else {}
    path = _saved(tmp_path / name, image, exif=exif, **options)
    upright = image.copy()
    upright.getexif()[0x0112] = orientation
    upright = np.asarray(ImageOps.exif_transpose(upright))
    loaded = read_image(path)
    np.testing.assert_array_equal(loaded.pixels, upright[..., :3])
    np.testing.assert_array_equal(loaded.alpha, upright[..., 3])
    assert image_size(path) == (loaded.width, loaded.height)
    kept = Image.Exif()
    kept.load(loaded.exif)
    assert kept[0x010E] == "a description"
    assert kept.get(0x0112, 1) == 1


def test_profile_and_camera_data_are_kept(tmp_path, rng):
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif.get_ifd(0x8769).update({0x829A: 1 / 250, 0xA002: 8, 0xA003: 8})
    path = tmp_path / "a.jpg"
    Image.fromarray(_array(rng, 8, 8, 3)).save(path, icc_profile=b"a profile", exif=exif)
    image = read_image(path)
    assert image.icc == b"a profile"
    kept = Image.Exif()
    kept.load(image.exif)
    assert kept[0x010F] == "Maker"
    camera = kept.get_ifd(0x8769)
    assert float(camera.pop(0x829A)) == pytest.approx(1 / 250)
    assert camera == {}  # the size, which an enlarged image no longer has, is left out


def test_damaged_exif_costs_the_exif_alone(tmp_path, rng):
    path = tmp_path / "a.jpg"
    Image.fromarray(_array(rng, 8, 8, 3)).save(path, exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0\x0e\x01")
    image = read_image(path)
    assert image.pixels.shape == (8, 8, 3)
    assert image.exif is None


def test_first_page_and_first_image(tmp_path, rng):
    first, second = (Image.fromarray(_array(rng, 4, 4, 3)) for _ in range(2))
    pages = read_image(_saved(tmp_path / "a.tif", first, save_all=True, append_images=[second]))
    np.testing.assert_array_equal(pages.pixels, np.asarray(first))
    assert pages.notes == ("only the first of 2 pages was read",)
    phone = read_image(_saved(tmp_path / "a.jpg", first, format="MPO", save_all=True, append_images=[second]))
    assert phone.format == "JPEG"
    assert phone.pixels.shape == (4, 4, 3)


def test_from_pillow(rng):
    pixels = _array(rng, 4, 6, 4)
    image = Image.fromarray(pixels)
    image.getexif()[0x0112] = 3
    image.info["icc_profile"] = b"profile"
    loaded = image_from_pil(image)
    np.testing.assert_array_equal(loaded.pixels, pixels[::-1, ::-1, :3])
    np.testing.assert_array_equal(loaded.alpha, pixels[::-1, ::-1, 3])
    assert (loaded.icc, loaded.format) == (b"profile", "")
    deep = image_from_pil(Image.fromarray(_array(rng, 4, 6, dtype=np.uint16)))
    assert (deep.bits, deep.is_gray) == (16, True)
    with pytest.raises(ImageError, match="floating-point"):
        image_from_pil(Image.new("F", (3, 3)))
    with pytest.raises(ImageError, match="are from 70000 to 70000; need unsigned 8 or 16 bit"):
        image_from_pil(Image.new("I", (3, 3), 70000))


# Bad input


def _png() -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _animation(kind: str) -> bytes:
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (0, 90, 180)]
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def _of(kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def _single(mode: str, value: float) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (3, 3), value).save(buffer, "TIFF")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is empty \(0 bytes\)"),
        ("Nur Text, schön.\nZweite Zeile\n".encode(), "is not an image: it holds text"),
        (b"\x00\x01\x02binary" * 99, "is not an image: its format is unknown"),
        (_png()[:20], "damaged or cut short .it begins as a PNG.; get the file again"),
        (_png()[:5000], "damaged or cut short"),
        (_of("JPEG")[:800], "damaged or cut short"),
        (
            _of("WEBP")[:900],
            "damaged or cut short .a WebP of .* bytes, of which 900 are there.; get",
        ),
        (_of("TIFF", compression="tiff_adobe_deflate")[:900], "damaged or cut short|is not an image"),
        (_of("BMP")[:900], "damaged or cut short"),
        (_of("GIF")[:900], "damaged or cut short"),
        (_animation("GIF"), "is an animation of 3 frames"),
        (_animation("PNG"), "is an animation of 3 frames"),
        (_animation("WEBP"), "is an animation of 3 frames"),
        (_single("I", 70000), r"signed integers \(TIFF, gray, 32 bit\); convert it to unsigned 16-bit"),
        (_single("I", -1), "its samples are signed integers"),
        (_of("EPS"), "is not an image"),
        (_of("ICO"), "is not an image"),
    ],
)
def test_bad_files_are_one_line_that_names_them(tmp_path, content, message):
    path = tmp_path / "photo.png"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=message) as caught:
        read_image(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_and_folder(tmp_path):
    with pytest.raises(ImageError, match="is not there"):
        read_image(tmp_path / "nothing.png")
    with pytest.raises(ImageError, match="is a folder"):
        read_image(tmp_path)
    with pytest.raises(ImageError, match="is not a valid path"):
        read_image("a\0b.png")


def test_the_limit_is_ours_and_pillow_stays_silent(tmp_path, monkeypatch):
    path = _saved(tmp_path / "a.png", Image.new("L", (40, 30)))
    tall = _saved(tmp_path / "a.tif", Image.new("L", (40, 30)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow would raise from 200 px on
    for each in (path, tall):
        assert read_image(each).width == 40
        with pytest.raises(ImageError, match=r"40x30 = 1,200 px, over the limit of 1,199; raise the limit"):
            read_image(each, max_pixels=1199)
    assert Image.MAX_IMAGE_PIXELS == 100
    with pytest.raises(ImageError, match="damaged"):
        read_image(_cut(path))
    assert Image.MAX_IMAGE_PIXELS == 100


def _cut(path):
    path.write_bytes(path.read_bytes()[:50] + b"\0" * 9)
    return path


def test_threads_read_at_once_and_leave_no_trace(tmp_path, rng):
    pixels = _array(rng, 64, 64, 3)
    path = _saved(tmp_path / "a.png", Image.fromarray(pixels))
    limit, results = Image.MAX_IMAGE_PIXELS, []
    threads = [
        threading.Thread(target=lambda: results.extend(read_image(path).pixels for _ in range(5)))
        for _ in range(6)
    ]
    before = list(warnings.filters)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 30
    assert all(np.array_equal(each, pixels) for each in results)
    assert limit == Image.MAX_IMAGE_PIXELS
    assert warnings.filters == before


def test_images_of_a_folder(tmp_path):
    for name in ("b.PNG", "a.jpg", ".hidden.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in list_images(tmp_path)] == ["a.jpg", "b.PNG"]
    with pytest.raises(ImageError, match="is not there"):
        list_images(tmp_path / "missing")
    with pytest.raises(ImageError, match="is not a folder"):
        list_images(tmp_path / "a.jpg")


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_the_bits_are_told_without_decoding(tmp_path, rng, ending, dtype, channels):
    samples = rng.integers(0, 256, (5, 4, channels), dtype)
    color = samples[..., :3] if channels > 2 else samples[..., 0]
    alpha = samples[..., -1] if channels in (2, 4) else None
    write_image(LoadedImage(color, alpha), tmp_path / f"a.{ending}")
    assert image_bits(tmp_path / f"a.{ending}") == read_image(tmp_path / f"a.{ending}").bits
