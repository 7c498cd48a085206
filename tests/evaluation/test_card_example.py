"""The image of before and after on cards."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from hfsr.degradations import bicubic_down, bicubic_up
from hfsr.evaluation import make_example_image, measure_seconds


def double(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


@pytest.fixture
def photo(tmp_path: Path) -> tuple[Path, NDArray]:
    """A smooth image with a patch of detail at the bottom right."""
    pixels = np.full((480, 640, 3), 120, np.uint8)
    pixels[160:464, 320:624] = np.random.default_rng(0).integers(0, 256, (304, 304, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png", pixels


def crops(webp: bytes, count: int) -> list[NDArray]:
    strip = np.asarray(Image.open(io.BytesIO(webp)))
    assert strip.shape == (256, count * 264 - 8, 3)
    return [strip[:, k * 264 : k * 264 + 256] for k in range(count)]


def test_bicubic_result_and_original_of_the_detailed_part(photo: tuple[Path, NDArray]) -> None:
    path, pixels = photo
    webp, words = make_example_image(double, path, scale=2)
    before, after, original = crops(webp, 3)
    part = pixels[160:464, 320:624]
    lq = bicubic_down(part, 2)
    assert np.array_equal(original, part[24:-24, 24:-24])
    assert np.array_equal(before, bicubic_up(lq, 2)[24:-24, 24:-24])
    assert np.array_equal(after, lq.repeat(2, 0).repeat(2, 1)[24:-24, 24:-24])
    assert words.endswith("enlarged 2 times by bicubic, this model, the original")


def test_a_image_without_original_is_enlarged(photo: tuple[Path, NDArray]) -> None:
    webp, words = make_example_image(double, photo[0], scale=2, is_lq=True)
    before, after = crops(webp, 2)
    assert before.std() > 20
    assert np.array_equal(after[::2, ::2], after[1::2, 1::2])
    assert words.endswith("by bicubic, this model")


def test_a_small_gray_image_is_shown_whole(tmp_path: Path) -> None:
    Image.new("L", (21, 33), 9).save(tmp_path / "gray.png")
    webp, words = make_example_image(lambda x: x, tmp_path / "gray.png", scale=1)
    assert Image.open(io.BytesIO(webp)).size == (3 * 21 + 2 * 8, 33)
    assert "the image as it was given, this model" in words


def test_the_speed_is_that_of_the_stated_size() -> None:
    seen = []

    def restore(x: Tensor) -> Tensor:
        seen.append(tuple(x.shape))
        return x

    assert measure_seconds(restore, scale=4) >= 0
    assert set(seen) == {(1, 3, 180, 320)}
