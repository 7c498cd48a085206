"""Mutated files of every format: an image or one line, quickly, in bounded memory, and no partial result.

100 files per format by default, 2,000 with `-m slow`; a failure names the format and the number of the file.
"""

from __future__ import annotations

import importlib
import io
import resource
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

import hfsr
from hfsr.errors import HfsrError, ImageError
from hfsr.images import LoadedImage, image_bits, image_size, read_image, write_image
from hfsr.images.compression import read_compression
from hfsr.inference import Upscaler

from .tiff_files import encode

SHAPE = (18, 22)
MAX_PIXELS = 1 << 18
SECONDS = 20  # for one file, on a machine that does other things too
MEMORY = 400 << 20  # beyond what the process takes before


def smooth(channels: int = 3) -> np.ndarray:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    planes = [x * 9, y * 12, (x + y) * 5, 255 - x * 9][:channels]
    return np.stack(planes, -1).astype(np.uint8)


def saved(kind: str, mode: str = "RGB", **options: object) -> bytes:
    exif = Image.Exif()
    exif[271], exif[274] = "Maker", 6
    if kind != "TIFF":  # Pillow cannot compress one with this
        exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0a comment"
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    more = {} if kind in {"BMP", "GIF", "PPM"} else {"exif": exif.tobytes(), "icc_profile": icc}
    image = Image.fromarray(smooth(4 if mode == "RGBA" else 3)).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, kind, **more, **options)
    return buffer.getvalue()


def written(suffix: str, pixels: np.ndarray) -> Callable[[Path], bytes]:
    def make(folder: Path) -> bytes:
        write_image(LoadedImage(pixels), folder / f"a{suffix}")
        return (folder / f"a{suffix}").read_bytes()

    return make


def by_package(name: str, make: Callable[[], bytes]) -> Callable[[Path], bytes]:
    def checked(_: Path) -> bytes:
        pytest.importorskip(name)
        return make()

    return checked


def jxl() -> bytes:
    return importlib.import_module("imagecodecs").jpegxl_encode(smooth(), lossless=False, usecontainer=True)


def deep_avif() -> bytes:
    codec = importlib.import_module("imagecodecs")
    return codec.avif_encode(smooth().astype("u2") * 4, bitspersample=10)


def heic() -> bytes:
    buffer = io.BytesIO()
    importlib.import_module("pillow_heif").from_pillow(Image.fromarray(smooth())).save(buffer)
    return buffer.getvalue()


DEEP = smooth().astype(np.uint16) * 257
FORMATS: dict[str, Callable[[Path], bytes]] = {
    "PNG": lambda _: saved("PNG", "RGBA", dpi=(300, 300)),
    "PNG, palette": lambda _: saved("PNG", "P", transparency=3),
    "PNG, 16 bit": written(".png", DEEP),
    "JPEG": lambda _: saved("JPEG", dpi=(72, 72), comment=b"a comment"),
    "JPEG, progressive": lambda _: saved("JPEG", progressive=True),
    "JPEG, CMYK": lambda _: saved("JPEG", "CMYK"),
    "MPO": lambda _: saved("MPO", save_all=True, append_images=[Image.fromarray(smooth())]),
    "WebP": lambda _: saved("WEBP", "RGBA"),
    "WebP, lossless": lambda _: saved("WEBP", lossless=True),
    "TIFF": lambda _: saved("TIFF", compression="tiff_adobe_deflate"),
    "TIFF, LZW": lambda _: saved("TIFF", compression="tiff_lzw"),
    "TIFF, 16 bit": written(".tif", DEEP),
    "TIFF, floats": written(".tif", smooth().astype(np.float32) / 255),
    "TIFF, big-endian BigTIFF, 12 bit": lambda _: encode(DEEP >> 4, 12, order=">", big=True),
    "TIFF, tiles": lambda _: encode(smooth(), 8, tile=(16, 16), deflate=True, predictor=True),
    "BMP": lambda _: saved("BMP"),
    "GIF": lambda _: saved("GIF"),
    "PPM": lambda _: saved("PPM"),
    "AVIF": lambda _: saved("AVIF", speed=10),
    "AVIF, 10 bit": by_package("imagecodecs", deep_avif),
    "JPEG XL": by_package("imagecodecs", jxl),
    "HEIC": by_package("pillow_heif", heic),
}


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Changes bytes, sets integers to extremes, cuts off the end, and doubles, drops or zeroes parts."""
    result = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        # the start holds most of what a decoder relies on
        end = len(result) if rng.random() < 0.5 else min(len(result), 200)
        at = int(rng.integers(0, max(end, 1)))
        length = int(rng.integers(1, 40))
        kind = int(rng.integers(0, 7))
        if kind == 0:
            for position in rng.integers(0, max(end, 1), 6):
                result[position : position + 1] = rng.bytes(1)
        elif kind == 1:
            result[at : at + 1] = bytes([result[at] ^ (1 << int(rng.integers(0, 8)))]) if result else b""
        elif kind == 2:
            extremes = (0, 1, 0x7F, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
            number = extremes[int(rng.integers(0, len(extremes)))]
            order = "big" if rng.random() < 0.5 else "little"
            result[at : at + 4] = number.to_bytes(4, order)
        elif kind == 3:
            del result[int(rng.integers(0, len(result) + 1)) :]
        elif kind == 4:
            result[at:at] = result[at : at + length]
        elif kind == 5:
            del result[at : at + length]
        else:
            result[at : at + length] = bytes(length)
        if not result:
            return b""
    return bytes(result)


@cache
def original(name: str, folder: Path) -> bytes:
    return FORMATS[name](folder)


def peak_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def check_reading(name: str, folder: Path, numbers: range) -> int:
    """Reads mutated files; returns how many of them still hold an image."""
    data = original(name, folder)
    read_image(data)
    before, good = peak_memory(), 0
    for number in numbers:
        broken = mutated(data, np.random.default_rng([number, len(name)]))
        started = time.monotonic()
        for call in (image_size, image_bits, read_compression, read_image):
            words = {"max_pixels": MAX_PIXELS} if call in (image_size, read_image) else {}
            try:
                call(broken, **words)
                good += call is read_image
            except ImageError as error:
                message = str(error)
                assert len(message) < 600, (name, number, message)
                assert message.startswith("'<bytes>'"), (name, number, message)
            except BaseException as error:
                raise AssertionError(f"{name}, file {number}, {call.__name__}: {error!r}") from error
        assert time.monotonic() - started < SECONDS, (name, number)
    assert peak_memory() - before < MEMORY, name
    return good


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("originals")


@pytest.mark.parametrize("name", FORMATS)
def test_100_mutated_files_are_read_or_refused_in_one_line(name, folder):
    assert check_reading(name, folder, range(100)) < 100


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_2000_mutated_files_are_read_or_refused_in_one_line(name, folder):
    check_reading(name, folder, range(100, 2100))


@pytest.mark.parametrize("name", FORMATS)
def test_whole_runs_leave_a_result_or_nothing(name, folder, tmp_path):
    torch.manual_seed(0)
    up = Upscaler(hfsr.create_model("espcn_tiny").eval(), device="cpu")
    data, results = original(name, folder), tmp_path / "results"
    results.mkdir()
    for number in range(6):
        broken = mutated(data, np.random.default_rng([number, 7]))
        target = results / f"{number}.{('png', 'tif', 'jpg')[number % 3]}"
        try:
            up.file(broken, target, max_pixels=1 << 14, truncated=number % 2 == 1)
        except HfsrError:
            assert not target.exists()
        else:
            image = read_image(target, max_pixels=1 << 16)
            assert (image.width, image.height) == tuple(2 * side for side in image_size(broken))
    assert all(path.stem.isdecimal() for path in results.iterdir())


def test_the_mutations_are_those_of_their_seed():
    data = saved("BMP")
    files = [mutated(data, np.random.default_rng(number)) for number in range(100)]
    assert files == [mutated(data, np.random.default_rng(number)) for number in range(100)]
    assert len(set(files)) > 90
