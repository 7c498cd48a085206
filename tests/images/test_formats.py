"""The table of formats agrees with Pillow, and everything that asks for a suffix asks the table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hfsr.images import LoadedImage, list_images, output_format, read_image, write_image
from hfsr.images.formats import (
    FORMATS,
    SUFFIXES,
    UNSUPPORTED_SUFFIXES,
    WRITE_SUFFIXES,
    count_suffixes,
    format_of_suffix,
    result_suffix,
)


def test_every_suffix_that_pillow_registers_for_a_format_is_in_the_table():
    Image.init()
    for name, each in FORMATS.items():
        registered = {suffix for suffix, owner in Image.registered_extensions().items() if owner == name}
        assert each.package or set(each.suffixes) >= registered, name
        assert set(each.writable) <= set(each.suffixes), name


def test_no_suffix_belongs_to_two_formats():
    listed = [suffix for each in FORMATS.values() for suffix in each.suffixes]
    readable = {suffix for each in FORMATS.values() if each.is_readable for suffix in each.suffixes}
    assert len(listed) == len(set(listed))
    assert readable == SUFFIXES
    assert not UNSUPPORTED_SUFFIXES & SUFFIXES


@pytest.mark.parametrize("suffix", WRITE_SUFFIXES)
def test_what_is_written_under_a_suffix_is_that_format(tmp_path, suffix):
    path = tmp_path / f"a{suffix.upper()}"
    pixels = np.full((9, 8, 3), 90, np.uint8)
    write_image(LoadedImage(pixels), path)
    found = read_image(path)
    assert found.format == output_format(path) == format_of_suffix(suffix).name
    assert np.abs(found.pixels.astype(int) - 90).max() <= 2


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("suffix", [each.writable[0] for each in FORMATS.values() if each.writable])
def test_the_table_says_what_a_format_holds(tmp_path, suffix, gray, bits):
    known = format_of_suffix(suffix)
    pixels = np.full((9, 8) if gray else (9, 8, 3), 90, f"uint{bits}")
    write_image(LoadedImage(pixels), tmp_path / f"a{suffix}")
    found = read_image(tmp_path / f"a{suffix}")
    assert found.bits == (bits if bits in known.bits else 8)
    if known.gray:  # some versions of Pillow store gray in AVIF, others do not
        assert found.is_gray == gray


def test_every_suffix_is_found_in_a_folder(tmp_path):
    for suffix in SUFFIXES:
        (tmp_path / f"a{suffix}").write_bytes(b"x")
        (tmp_path / f".hidden{suffix}").write_bytes(b"x")
    (tmp_path / "a.txt").write_bytes(b"x")
    assert {path.suffix for path in list_images(tmp_path)} == SUFFIXES


@pytest.mark.parametrize(
    ("source", "result"),
    [
        (".jfif", ".jfif"), (".JPE", ".JPE"), (".mpo", ".jpg"), (".gif", ".png"), (".pgm", ".png"),
        (".apng", ".png"), (".avifs", ".png"), (".raw", ".png"), ("", ".png"),
    ],
)  # fmt: skip
def test_the_suffix_of_a_result(source, result):
    assert result_suffix(source) == result


def test_suffixes_are_counted():
    names = [*(f"{k}.TXT" for k in range(3)), "a.heic", "Makefile", *(f"a.x{k}" for k in range(4))]
    assert count_suffixes(map(Path, names)) == ".txt (3), .heic, .x0, .x1, .x2 and 2 more"
