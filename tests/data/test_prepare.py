"""`hfsr prepare`: what it makes, that it goes on where it stopped, and that BasicSR reads it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from hfsr.data import PairedImageDataset, pair_folders
from hfsr.data.containers import open_container
from hfsr.data.pack import Pack
from hfsr.data.prepare import (
    find_layout,
    link_pairs,
    lr_images,
    pack_crops,
    run_tasks,
    subimages,
    to_h5,
    to_lmdb,
    write_meta_info,
)
from hfsr.degradations import bicubic_down, modcrop
from hfsr.errors import DataError, ImageError, OptionsError

from .conftest import save


def pixels_of(path):
    return np.asarray(Image.open(path))


def test_crops_lie_on_the_grid_and_at_the_far_edges(tmp_path):
    whole = save(tmp_path / "hr" / "a" / "0001.png", 50, 41)
    outcome = run_tasks(subimages(tmp_path / "hr", tmp_path / "sub", size=20, step=10, thresh_size=0))
    made = sorted((tmp_path / "sub" / "a").iterdir())
    corners = [(top, left) for top in (0, 10, 20, 30) for left in (0, 10, 20, 21)]
    assert [path.name for path in made] == [f"0001_s{k:03}.png" for k in range(1, 17)]
    for path, (top, left) in zip(made, corners, strict=True):
        np.testing.assert_array_equal(pixels_of(path), whole[top : top + 20, left : left + 20])
    assert (outcome.made, outcome.kept, outcome.too_small) == (16, 0, [])
    left_out = subimages(tmp_path / "hr", tmp_path / "sub", size=20, step=10, thresh_size=1)
    assert len(left_out[0].targets) == 12


def test_lr_crops_pair_with_hr_crops(tmp_path):
    save(tmp_path / "hr" / "0001.png", 48, 60)
    run_tasks(lr_images(tmp_path / "hr", tmp_path / "lr", scales=[2, 3]))
    run_tasks(subimages(tmp_path / "hr", tmp_path / "hr_sub", size=24, step=12))
    run_tasks(subimages(tmp_path / "lr" / "X2", tmp_path / "lr_sub", size=12, step=6))
    pairs = pair_folders([tmp_path / "hr_sub"], [tmp_path / "lr_sub"], place="d", scale=2)
    assert len(pairs) == 12
    words = {"dataroot_gt": str(tmp_path / "hr_sub"), "dataroot_lq": str(tmp_path / "lr_sub")}
    assert len(PairedImageDataset(**words, scale=2, gt_size=16).patches(0)) == 12


def test_lr_images_are_matlabs_and_a_second_run_makes_what_is_missing(tmp_path, gt_folder):
    tasks = lr_images(gt_folder, tmp_path / "lr", scales=[2, 4])
    assert run_tasks(tasks).made == 6
    for path in gt_folder.iterdir():
        expected = bicubic_down(modcrop(pixels_of(path), 4), 4)
        np.testing.assert_array_equal(pixels_of(tmp_path / "lr" / "X4" / f"{path.stem}x4.png"), expected)
    (tmp_path / "lr" / "X2" / "01x2.png").unlink()
    told = []
    again = run_tasks(tasks, progress=lambda *numbers: told.append(numbers))
    assert (again.made, again.kept) == (2, 4)
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert run_tasks(tasks, overwrite=True).made == 6
    assert not list(tmp_path.rglob("*.part*"))


def test_what_cannot_be_read_or_is_too_small(tmp_path, gt_folder):
    (gt_folder / "bad.png").write_bytes((gt_folder / "00.png").read_bytes()[:900])
    tasks = lr_images(gt_folder, tmp_path / "lr", scales=[2])
    with pytest.raises(ImageError, match=r"bad.png"):
        run_tasks(tasks)
    outcome = run_tasks(tasks, skip_unreadable=True)
    assert len(outcome.unreadable) == 1
    (gt_folder / "bad.png").unlink()
    assert run_tasks(subimages(gt_folder, tmp_path / "s", size=31, step=31)).too_small == ["01.png", "02.png"]
    with pytest.raises(DataError, match="there is no folder"):
        lr_images(tmp_path / "absent", tmp_path, scales=[2])
    (gt_folder / "00.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="several images of one name: 00"):
        lr_images(gt_folder, tmp_path, scales=[2])


def test_a_list_names_every_image(tmp_path, gt_folder):
    assert write_meta_info(gt_folder, tmp_path / "meta.txt") == 3
    assert (tmp_path / "meta.txt").read_text().splitlines()[1] == "01.png (30,31,3)"
    listed = PairedImageDataset(dataroot_gt=str(gt_folder), meta_info_file=str(tmp_path / "meta.txt"))
    assert len(listed.files) == 3


def test_lmdb_and_h5_hold_the_images(tmp_path, gt_folder):
    assert to_lmdb(gt_folder, tmp_path / "gt.lmdb") == 3
    assert to_h5({"gt": gt_folder, "lq": gt_folder}, tmp_path / "both.h5") == 6
    assert sorted(p.name for p in (tmp_path / "gt.lmdb").iterdir()) == [
        "data.mdb",
        "lock.mdb",
        "meta_info.txt",
    ]
    assert "00.png (33,40,3) 1" in (tmp_path / "gt.lmdb" / "meta_info.txt").read_text()
    stored = open_container(tmp_path / "gt.lmdb"), open_container(tmp_path / "both.h5")
    for path in gt_folder.iterdir():
        for container, name in zip(stored, (f"{path.stem}.png", f"lq/{path.stem}"), strict=True):
            np.testing.assert_array_equal(container.read(name), pixels_of(path))
    root = str(tmp_path / "both.h5")
    assert len(PairedImageDataset(dataroot_gt=root, dataroot_lq=root, gt_size=16).patches(0)) == 3
    with pytest.raises(DataError, match="exists already"):
        to_lmdb(gt_folder, tmp_path / "gt.lmdb")
    with pytest.raises(DataError, match=r"must end with .lmdb"):
        to_lmdb(gt_folder, tmp_path / "gt")


def test_basicsr_reads_the_lmdb(tmp_path, gt_folder):
    from hfsr import bridge

    bridge.install()
    from basicsr.utils import FileClient, imfrombytes

    to_lmdb(gt_folder, tmp_path / "gt.lmdb")
    client = FileClient("lmdb", db_paths=[str(tmp_path / "gt.lmdb")], client_keys=["gt"])
    bgr = imfrombytes(client.get("01", "gt"))
    np.testing.assert_array_equal(bgr[..., ::-1], pixels_of(gt_folder / "01.png"))


def test_a_pack_holds_the_richest_crops_within_its_size(tmp_path):
    flat = np.full((64, 96, 3), 90, np.uint8)
    for number in range(3):
        image = flat.copy()
        rich = np.random.default_rng(number).integers(0, 256, (32, 32, 3))
        image[32:, 32 * number : 32 * number + 32] = rich
        (tmp_path / "hr").mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / "hr" / f"{number}.png")
    target = tmp_path / "crops.pack"
    limit = 3 * 3 * 32 * 32 + 5000
    assert pack_crops([tmp_path / "hr"], target, size=32, megabytes=limit / 1e6) == 3
    assert target.stat().st_size <= limit
    assert Pack(target).names == ["0_32_0", "1_32_32", "2_32_64"]
    assert Pack(target).read("1_32_32").std() > 50
    first = target.read_bytes()
    assert pack_crops([tmp_path / "hr"], target, size=32, megabytes=limit / 1e6) == 3
    assert target.read_bytes() == first
    batch = PairedImageDataset(dataroot_gt=str(target), scale=2, gt_size=32).patches(0)
    assert len(batch) == 3
    with pytest.raises(DataError, match="no crop of 99 px"):
        pack_crops([tmp_path / "hr"], target, size=99)


LAID_OUT = {
    "DIV2K": (
        ["DIV2K_train_HR/0001.png", "DIV2K_train_HR/0002.png", "DIV2K_train_LR_bicubic/X2/0001x2.png"],
        "train_x2",
        799,
        ["0002"],
    ),
    "SIDD": (
        [f"Data/0001_001_S6/0001_{kind}_SRGB_010.PNG" for kind in ("GT", "NOISY")]
        + ["Data/0002_001_S6/0002_GT_SRGB_011.PNG"],
        "train",
        0,
        ["0002_001_S6_011"],
    ),
    "RealSR": (
        [f"RealSR(V3)/Nikon/Train/3/Nikon_012_{kind}.png" for kind in ("HR", "LR3")]
        + ["RealSR(V3)/Canon/Train/3/Canon_012_HR.png"],
        "train_x3",
        0,
        ["Canon_012"],
    ),
    "LoL": (["our485/high/2.png", "our485/low/2.png", "our485/high/5.png"], "train", 484, ["5"]),
    "FiveK": (["input/a0001.jpg", "expertC/a0001.png", "expertC/a0002.png"], "expertC", 4999, ["a0002"]),
}


@pytest.mark.parametrize("name", LAID_OUT)
def test_pairs_of_published_sets_are_found_and_what_is_missing_is_said(name, tmp_path):
    files, part, missing, alone = LAID_OUT[name]
    for file in files:
        save(tmp_path / "set" / file, 8, 8)
    found = {f.part.name: f for f in find_layout(name.lower(), tmp_path / "set")}[part]
    assert len(found.pairs) == 1
    assert found.missing == missing
    assert list(found.without_lq) == alone
    assert found.without_gt == ()
    for _ in range(2):
        folders = link_pairs(found, tmp_path / "linked")
    (pair,) = pair_folders([folders[0]], [folders[1]], place="d")
    assert pair.gt.resolve() == found.pairs[0][1].resolve()
    assert pair.lq.resolve() == found.pairs[0][2].resolve()


def test_an_unknown_or_absent_set(tmp_path):
    with pytest.raises(OptionsError, match="did you mean 'RealSR'"):
        find_layout("realsrr", tmp_path)
    with pytest.raises(DataError, match=r"contains no pair of LoL; expected files: our485/high"):
        find_layout("LoL", tmp_path)
    with pytest.raises(DataError, match="there is no folder"):
        find_layout("LoL", tmp_path / "absent")
