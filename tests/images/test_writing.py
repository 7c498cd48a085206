"""What is written is read back equal; what cannot be written leaves the folder as it was."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image, features

from hfsr.errors import ImageError
from hfsr.images import LoadedImage, image_to_pil, open_new, output_format, read_image, write_image

from . import profiles


def _image(rng, *, gray=False, alpha=False, dtype=np.uint8, height=9, width=13, **more) -> LoadedImage:
    peak = np.iinfo(dtype).max
    shape = (height, width) if gray else (height, width, 3)
    opacity = rng.integers(0, peak, (height, width), dtype, endpoint=True) if alpha else None
    return LoadedImage(rng.integers(0, peak, shape, dtype, endpoint=True), opacity, **more)


def _exif() -> bytes:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    return exif.tobytes()


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize(
    ("ending", "dtype"),
    [("png", np.uint8), ("png", np.uint16), ("tif", np.uint8), ("tif", np.uint16), ("webp", np.uint8)],
)
def test_lossless_round_trip(tmp_path, rng, ending, dtype, gray, alpha):
    image = _image(rng, gray=gray, alpha=alpha, dtype=dtype, icc=b"a profile" * 40, exif=_exif())
    write_image(image, tmp_path / f"a.{ending}")
    back = read_image(tmp_path / f"a.{ending}")
    pixels = image.pixels
    if gray and ending == "webp":  # which has no gray
        pixels = np.dstack([pixels] * 3)
    np.testing.assert_array_equal(back.pixels, pixels)
    if alpha:
        np.testing.assert_array_equal(back.alpha, image.alpha)
    else:
        assert back.alpha is None
    assert back.icc == image.icc
    kept = Image.Exif()
    kept.load(back.exif)
    assert kept[0x010F] == "Maker"


@pytest.mark.parametrize("ending", ["webp", "avif"])
def test_a_profile_of_gray_is_applied_where_the_format_has_no_gray(tmp_path, ending):
    if not features.check(ending):
        pytest.skip(f"this Pillow has no {ending}")
    half = np.full((16, 16), 128, np.uint8)
    for alpha in (None, half):
        write_image(LoadedImage(half, alpha, icc=profiles.linear_gray()), tmp_path / f"a.{ending}")
        back = read_image(tmp_path / f"a.{ending}")
        assert back.icc is None
        assert np.abs(back.pixels.astype(int) - 188).max() <= 1
        assert (back.alpha is None) == (alpha is None)


def test_gray_tiff_stays_sixteen_bit(tmp_path, rng):
    image = _image(rng, gray=True, dtype=np.uint16)
    write_image(image, tmp_path / "a.tiff")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tiff").pixels, image.pixels)


@pytest.mark.parametrize("ending", ["jpg", "webp", "bmp"])
def test_sixteen_bit_is_rounded_where_the_format_has_eight(tmp_path, ending):
    values = np.full((16, 16, 3), 257 * 100 + 128, np.uint16)
    write_image(LoadedImage(values), tmp_path / f"a.{ending}")
    back = read_image(tmp_path / f"a.{ending}")
    assert back.bits == 8
    assert np.abs(back.pixels.astype(int) - 100).max() <= 1
    write_image(LoadedImage(values + 2), tmp_path / "b.bmp")
    assert read_image(tmp_path / "b.bmp").pixels[0, 0, 0] == 101


def test_jpeg_quality_counts(tmp_path, rng):
    image = _image(rng, height=64, width=64, icc=b"p", exif=_exif())
    sizes = []
    for quality in (10, 60, 95):
        write_image(image, tmp_path / "a.jpg", jpeg_quality=quality)
        sizes.append((tmp_path / "a.jpg").stat().st_size)
    assert sizes == sorted(set(sizes))
    back = read_image(tmp_path / "a.jpg")
    assert back.icc == b"p"
    assert back.exif is not None
    assert np.mean(np.abs(back.pixels.astype(float) - image.pixels)) < 6


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_avif(tmp_path):
    write_image(LoadedImage(np.full((16, 16, 3), 90, np.uint8)), tmp_path / "a.avif")
    assert np.abs(read_image(tmp_path / "a.avif").pixels.astype(int) - 90).max() <= 2


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.jpg", {"alpha": True}, "transparency, which JPEG cannot hold; choose .png"),
        ("a.bmp", {"alpha": True}, "which BMP cannot hold"),
        (
            "a.webp",
            {"width": 16_384, "height": 1},
            "WEBP holds at most 16383 px per side, the image is 16384x1",
        ),
        ("a.xyz", {}, r"ends in '.xyz'; hfsr writes .avif, .bmp, .jfif, .jpe, .jpeg"),
        ("a", {}, "has no ending"),
        ("missing/a.png", {}, "there is no folder"),
        ("folder.png", {}, "is a folder"),
    ],
)
def test_what_cannot_be_written_leaves_nothing(tmp_path, rng, name, options, message):
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ImageError, match=message) as caught:
        write_image(_image(rng, **options), tmp_path / name)
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == ["folder.png"]


def test_quality_out_of_range(tmp_path, rng):
    with pytest.raises(ImageError, match="quality 101 is out of range"):
        write_image(_image(rng), tmp_path / "a.jpg", jpeg_quality=101)


def test_an_older_file_stays_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def fail_half_way() -> None:
        with open_new(path) as file:
            file.write(b"half")
            assert path.read_bytes() == b"old"
            raise KeyError

    with pytest.raises(KeyError):
        fail_half_way()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]
    with open_new(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    path = tmp_path / "a.png"
    with (
        pytest.raises(ImageError, match=r"cannot be written \(No space left on device\); check"),
        open_new(path),
    ):
        raise OSError(28, "No space left on device")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission(tmp_path, rng):
    tmp_path.chmod(0o500)
    with pytest.raises(ImageError, match="Permission denied"):
        write_image(_image(rng), tmp_path / "a.png")


def test_formats():
    assert output_format("x/Photo.JPG") == "JPEG"
    assert output_format("photo.tiff") == "TIFF"


def test_to_pillow(rng):
    color = _image(rng, alpha=True, icc=b"p", exif=_exif())
    image = image_to_pil(color)
    assert image.mode == "RGBA"
    assert image.info["icc_profile"] == b"p"
    assert image.getexif()[0x010F] == "Maker"
    np.testing.assert_array_equal(np.asarray(image), np.dstack([color.pixels, color.alpha]))
    deep = _image(rng, gray=True, dtype=np.uint16)
    assert image_to_pil(deep).mode == "L"
    assert image_to_pil(_image(rng, gray=True, alpha=True)).mode == "LA"


class TestLinks:
    @pytest.mark.parametrize("suffix", [".png", ".jpg"])
    @pytest.mark.parametrize("exists", [True, False])
    def test_the_file_behind_a_link_is_written(self, tmp_path, suffix, exists):
        (tmp_path / "album").mkdir()
        link, file = tmp_path / f"link{suffix}", tmp_path / "album" / f"file{suffix}"
        if exists:
            file.write_bytes(b"old")
        link.symlink_to(f"album/file{suffix}")
        write_image(LoadedImage(np.zeros((4, 6, 3), np.uint8)), link)
        assert link.is_symlink()
        assert not file.is_symlink()
        assert read_image(file).width == 6
        assert sorted(path.name for path in tmp_path.rglob("*")) == sorted(["album", file.name, link.name])

    def test_a_link_into_a_missing_folder_is_named(self, tmp_path):
        link = tmp_path / "link.png"
        link.symlink_to("missing/file.png")
        with pytest.raises(ImageError, match=r"there is no folder '.*missing'; create it first"):
            write_image(LoadedImage(np.zeros((4, 6, 3), np.uint8)), link)
