"""Which images pair, and what is said when they do not."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from hfsr.degradations import Bicubic, GaussianNoise, Seeded, bicubic_down
from hfsr.errors import DataError
from hfsr.evaluation import Pair, find_pairs, name_of_set


@pytest.fixture
def folders(tmp_path):
    for name in ("gt", "lq"):
        (tmp_path / name).mkdir()
    return tmp_path / "gt", tmp_path / "lq"


def _fill(folder, *names, size=(8, 8)):
    for name in names:
        Image.new("RGB", size).save(folder / name)


@pytest.mark.parametrize("pattern", ["{}.png", "{}x2.png", "{}_LRBIx2.png", "{}_x2.png", "{}_LRBI_x2.bmp"])
def test_the_names_that_pair(folders, pattern):
    gt, lq = folders
    _fill(gt, "b.png", "a.jpg", "0801x.png")
    _fill(lq, *(pattern.format(stem) for stem in ("a", "b", "0801x")))
    pairs = find_pairs(gt, lq, 2)
    assert [(pair.name, pair.lq.name) for pair in pairs] == [
        (stem, pattern.format(stem)) for stem in ("0801x", "a", "b")
    ]
    assert [pair.lq for pair in find_pairs(gt, scale=2)] == [None, None, None]


def test_a_folder_of_several_scales_gives_the_one_asked_for(folders):
    gt, lq = folders
    _fill(gt, "a.png")
    _fill(lq, "ax2.png", "ax3.png", "a_LRBIx4.png", "a.png")
    assert [find_pairs(gt, lq, scale)[0].lq.name for scale in (2, 3, 4, 8)] == [
        *("ax2.png", "ax3.png", "a_LRBIx4.png", "a.png")
    ]


def test_an_lq_image_of_two_gt_images_is_refused(folders):
    gt, lq = folders
    _fill(gt, "a.png", "ax2.png")
    _fill(lq, "a.png", "ax2.png")
    with pytest.raises(
        DataError, match=r"the pairs are ambiguous: LQ ax2.png \(GT a.png or ax2.png\); rename"
    ):
        find_pairs(gt, lq, 2)


def test_two_single_images_pair_whatever_their_names(folders):
    gt, lq = folders
    _fill(gt, "good.png")
    _fill(lq, "bad.png")
    pair = find_pairs(gt / "good.png", lq / "bad.png", 4)[0]
    assert (pair.name, pair.lq) == ("good", lq / "bad.png")


def test_the_lonely_are_named_up_to_five(folders):
    gt, lq = folders
    _fill(gt, *(f"{k}.png" for k in range(7)))
    _fill(lq, "3x2.png")
    with pytest.raises(
        DataError, match=r"6 images have no partner in the LQ folder: 0.png, .*\(6 in all\)"
    ) as caught:
        find_pairs(gt, lq, 2)
    assert "6.png" not in str(caught.value)
    _fill(lq, *(f"{k}x2.png" for k in range(7)), "otherx2.png")
    with pytest.raises(DataError, match=r"1 images have no partner in the GT folder: otherx2.png"):
        find_pairs(gt, lq, 2)


def test_missing_empty_and_ambiguous_folders(folders):
    gt, _ = folders
    with pytest.raises(DataError, match=r"GT folder '.*' holds no images"):
        find_pairs(gt)
    _fill(gt, "a.png")
    with pytest.raises(DataError, match=r"LQ folder .* is not there"):
        find_pairs(gt, gt / "nowhere", 2)
    _fill(gt, "a.jpg")
    with pytest.raises(DataError, match="several images of one name: a"):
        find_pairs(gt)


def test_loading_crops_gt_and_makes_what_is_missing():
    gt = np.random.default_rng(0).integers(0, 256, (13, 11, 3), np.uint8)
    lq, cropped = Pair("a", gt).load(Seeded(Bicubic(scale=4)), 4)
    np.testing.assert_array_equal(cropped, gt[:12, :8])
    np.testing.assert_array_equal(lq, bicubic_down(gt[:12, :8], 4))
    same, _ = Pair("a", gt, lq).load(Seeded(GaussianNoise()), 4)
    assert same is lq


def test_files_are_read_as_eight_bit_without_alpha(tmp_path):
    Image.fromarray(np.full((4, 4), 257 * 9, np.uint16)).save(tmp_path / "deep.png")
    Image.new("RGBA", (4, 4), (1, 2, 3, 4)).save(tmp_path / "clear.png")
    deep = find_pairs(tmp_path / "deep.png")[0].load(Seeded(Bicubic()), 1)[1]
    assert (deep.dtype, deep.shape, deep[0, 0]) == (np.uint8, (4, 4), 9)
    assert find_pairs(tmp_path / "clear.png")[0].load(Seeded(Bicubic()), 1)[1][0, 0].tolist() == [1, 2, 3]


def test_an_lq_image_of_another_scale_is_refused():
    gt, lq = np.zeros((12, 8, 3), np.uint8), np.zeros((6, 4, 3), np.uint8)
    with pytest.raises(DataError, match="'a': LQ has 4x6 px, but GT divided by 4 has 2x3"):
        Pair("a", gt, lq).load(Seeded(Bicubic(scale=4)), 4)


def test_names_of_sets(tmp_path):
    for name in ("Set5/HR", "Urban100", "Set14/original"):
        (tmp_path / name).mkdir(parents=True)
    assert name_of_set(tmp_path / "Set5" / "HR") == "Set5"
    assert name_of_set(tmp_path / "Urban100") == "Urban100"
    assert name_of_set(tmp_path / "Set14" / "original") == "Set14"
    _fill(tmp_path, "photo.png")
    assert name_of_set(tmp_path / "photo.png") == "photo"
