"""Pairs by relative path: subfolders, templates, file types, containers, and what is ambiguous."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hfsr.data import Imagestore, PairedImageDataset, SampleImageDataset, pair_folders
from hfsr.data.meta_info import pairs_of_list
from hfsr.data.pack import writing_pack
from hfsr.errors import DataError, OptionsError

from .conftest import save


def make(root: Path, *paths: str, side: int = 8) -> Path:
    """Images of which no two are equal."""
    for path in paths:
        save(root / path, side, side, seed=len(path) * 1000 + sum(map(ord, path)))
    return root


def paired(gt: Path, lq: Path, **words: object) -> dict[str, str]:
    """LQ by GT, both relative to their roots."""
    pairs = pair_folders([gt], [lq], place="datasets:train", **words)
    return {str(p.gt.relative_to(gt)): str(p.lq.relative_to(lq)) for p in pairs}


def test_equal_names_in_subfolders_pair_by_their_paths(tmp_path):
    paths = ["a/im0.png", "a/im1.png", "b/im0.png", "b/im1.png", "x/y/z/im0.png", "im0.png"]
    gt, lq = make(tmp_path / "gt", *paths), make(tmp_path / "lq", *paths)
    assert paired(gt, lq) == {path: path for path in paths}


def test_the_template_and_the_scale_belong_to_the_last_part_of_the_path(tmp_path):
    gt = make(tmp_path / "gt", "a/im0.png", "b/im0.png")
    lq = make(tmp_path / "lq", "a/im0_blur.png", "b/im0_blur.png")
    expected = {"a/im0.png": "a/im0_blur.png", "b/im0.png": "b/im0_blur.png"}
    assert paired(gt, lq, template="{}_blur") == expected
    x2 = make(tmp_path / "x2", "a/im0x2.png", "b/im0x2.png")
    assert paired(gt, x2, scale=2) == {"a/im0.png": "a/im0x2.png", "b/im0.png": "b/im0x2.png"}


def test_a_name_that_exists_once_pairs_from_another_subfolder(tmp_path):
    gt = make(tmp_path / "gt", "train/im0.png", "train/im1.png")
    lq = make(tmp_path / "lq", "X2/im0x2.png", "X2/im1x2.png", "X3/im0x3.png")
    assert paired(gt, lq, scale=2) == {"train/im0.png": "X2/im0x2.png", "train/im1.png": "X2/im1x2.png"}


@pytest.mark.parametrize(
    ("gt", "lq", "named"),
    [
        (["im0.png"], ["a/im0.png", "b/im0.png"], r"im0.png \(LQ a/im0.png or b/im0.png\)"),
        (["a/im0.png", "b/im0.png"], ["im0.png"], r"a/im0.png \(LQ im0.png, for 2 GT images\)"),
        (
            ["a/im0.png", "b/im0.png"],
            ["a/im0.png", "c/im0.png"],
            r"b/im0.png \(LQ a/im0.png or c/im0.png, ",
        ),
        (["im0.png", "im0.jpg"], ["im0.png"], r"LQ \S*im0.png \(GT im0.jpg or im0.png\)"),
        (["im0.webp"], ["im0.png", "im0.jpg"], r"im0.webp \(LQ im0.jpg or im0.png\)"),
        (["im0.png", "im0x2.png"], ["im0x2.png"], r"LQ \S*im0x2.png \(GT im0.png or im0x2.png\)"),
    ],
)
def test_ambiguous_pairs_are_refused_with_their_names(tmp_path, gt, lq, named):
    roots = make(tmp_path / "gt", *gt), make(tmp_path / "lq", *lq)
    with pytest.raises(DataError, match=f"datasets:train: the pairs are ambiguous: .*{named}") as caught:
        pair_folders([roots[0]], [roots[1]], place="datasets:train", scale=2)
    assert "use the same subfolders" in str(caught.value)


def test_equal_names_of_several_file_types_pair_within_their_type(tmp_path):
    gt, lq = (make(tmp_path / root, "im0.png", "im0.jpg") for root in ("gt", "lq"))
    assert paired(gt, lq) == {"im0.png": "im0.png", "im0.jpg": "im0.jpg"}


def test_a_dot_in_a_name_without_file_type_belongs_to_the_name(tmp_path):
    for root in ("gt", "lq"):
        with writing_pack(tmp_path / f"{root}.pack", {}) as writer:
            for number in (1, 2):
                value = number * 10 + (root == "gt")
                writer.add(f"shot.{number}", np.full((8, 8, 3), value, np.uint8))
    pairs = pair_folders([tmp_path / "gt.pack"], [tmp_path / "lq.pack"], place="d")
    store = Imagestore(pairs, scale=1)
    assert [(lq.max(), gt.max()) for lq, gt in store.pairs] == [(10, 11), (20, 21)]


def test_every_image_of_a_set_has_a_name_of_its_own(tmp_path):
    first = make(tmp_path / "first", "im0.png", "a/im0.png", "b/im0.png", "im1.png", "im1.jpg")
    second = make(tmp_path / "second", "im0.png", "c/im2.png")
    third = make(tmp_path / "deeper" / "second", "im0.png")
    names = [pair.name for pair in pair_folders([first, second, third], [], place="d")]
    assert len(set(names)) == len(names) == 8
    assert {"a/im0", "b/im0", "c/im2", "im1.png", "im1.jpg", "first/im0.png"} < set(names)


def test_flat_folders_and_samples_are_named_by_their_stems(tmp_path):
    dataset = PairedImageDataset(dataroot_gt=str(make(tmp_path, "im0.png", "im1.png")), phase="val")
    assert [file.name for file in dataset.files] == ["im0", "im1"]
    samples = SampleImageDataset(names=["coffee.png", "rocket.jpg"], phase="val")
    assert [file.name for file in samples.files] == ["coffee", "rocket"]


def listed(gt: Path, tmp_path: Path, text: str) -> list[str]:
    (tmp_path / "meta.txt").write_text(text, encoding="utf-8")
    dataset = PairedImageDataset(dataroot_gt=str(gt), meta_info_file=str(tmp_path / "meta.txt"))
    return [str(file.gt.relative_to(gt)) for file in dataset.files]


def test_names_of_a_list_may_contain_spaces_and_sizes_are_optional(tmp_path):
    paths = ["my photo 1.png", "my photo 2.png", "my photo (3).png", "plain.png", "sub dir/4.png", "left.png"]
    gt = make(tmp_path / "gt", *paths)
    text = (
        "my photo 1.png (96,96,3)\r\nmy photo 2.png\nmy photo (3).png (96, 96, 3)\n"
        "plain.png (96,96,3) 1\n\n./sub dir/4.png\n"
    )
    assert listed(gt, tmp_path, text) == sorted(set(paths) - {"left.png"})


def test_an_image_is_drawn_as_often_as_a_list_names_it(tmp_path):
    """Whatever it is called there, and decoded once."""
    gt = make(tmp_path / "gt", "a/im0.png", "im1.png", "im2.png")
    assert listed(gt, tmp_path, "im0.png\nim1.png\na/im0.png\nim0.png (8,8,3)\n") == [
        *["a/im0.png"] * 3,
        "im1.png",
    ]
    (tmp_path / "pairs.txt").write_text("im1.png, im1.png\nim2.png, im2.png\nim1.png, im1.png\n")
    pairs = pairs_of_list(tmp_path / "pairs.txt", [gt], [gt], "datasets.train")
    progress = []
    store = Imagestore(pairs, scale=1, progress=lambda done, total: progress.append(total))
    assert len(store) == 3
    assert store.pairs[0][1] is store.pairs[2][1]
    assert progress == [2, 2]


def test_a_list_may_begin_with_a_byte_order_mark(tmp_path):
    gt = make(tmp_path / "gt", "im0.png", "im1.png")
    assert listed(gt, tmp_path, "\ufeffim0.png\n") == ["im0.png"]
    (tmp_path / "pairs.txt").write_text("\ufeffim0.png, im0.png\n", encoding="utf-8")
    assert len(pairs_of_list(tmp_path / "pairs.txt", [gt], [gt], "datasets.train")) == 1


def test_names_of_results_stay_below_their_folder(tmp_path):
    gt = make(tmp_path / "gt", "im0.png", "im1.png")
    (tmp_path / "pairs.txt").write_text(f"../gt/im0.png, im0.png\n{gt}/im1.png, im1.png\n")
    pairs = pairs_of_list(tmp_path / "pairs.txt", [gt], [gt], "datasets.train")
    assert [pair.name for pair in pairs] == ["gt/im0", f"{str(gt).removeprefix('/')}/im1"]


@pytest.mark.parametrize("template", ["{}x{scale}", "{}_{}", "{:d}", "{0.x}", "{", "fixed", "", "X2/{}"])
def test_what_is_no_template_is_one_line(tmp_path, template):
    gt = make(tmp_path / "gt", "im0.png")
    with pytest.raises(OptionsError, match=r"filename_tmpl .* stands once for the n") as caught:
        paired(gt, gt, template=template)
    assert "\n" not in str(caught.value)


def test_a_list_chooses_by_path_where_names_are_equal(tmp_path):
    gt = make(tmp_path / "gt", "a/im0.png", "b/im0.png", "im0.png", "b/im1.png")
    assert listed(gt, tmp_path, "b/im0.png (8,8,3)\nim1.png\n") == ["b/im0.png", "b/im1.png"]
    assert listed(gt, tmp_path, "im0.png\n") == ["im0.png"]
    (gt / "im0.png").unlink()
    with pytest.raises(
        DataError, match=r"exist several times in dataroot_gt: im0.png; write them with their"
    ):
        listed(gt, tmp_path, "im0.png\n")


def test_a_list_that_names_nothing_or_is_no_text_is_refused(tmp_path):
    gt = make(tmp_path / "gt", "im0.png")
    with pytest.raises(DataError, match="names no images; write one path per line"):
        listed(gt, tmp_path, "\n")
    (tmp_path / "meta.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"datasets.train.meta_info_file: .* is not a text file in UTF-8"):
        PairedImageDataset(dataroot_gt=str(gt), meta_info_file=str(tmp_path / "meta.txt"))
