"""Finding, pairing and decoding images."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from hfsr.data import Imagestore, PairedFile, pair_folders
from hfsr.data.file_lists import as_folders, find_images, read_rgb
from hfsr.degradations import bicubic_down
from hfsr.errors import DataError, ImageError

from .conftest import save


def test_lq_is_the_bicubic_reduction_of_the_whole_cropped_image(gt_folder):
    files = pair_folders([gt_folder], [], place="datasets:train")
    store = Imagestore(files, scale=2)
    for file, (lq, gt) in zip(files, store.pairs, strict=True):
        whole = np.asarray(Image.open(file.gt))
        height, width = whole.shape[0] // 2 * 2, whole.shape[1] // 2 * 2
        assert np.array_equal(gt, whole[:height, :width])
        assert np.array_equal(lq, bicubic_down(whole[:height, :width], 2))


def test_what_does_not_fit_in_memory_is_mapped_from_a_file(gt_folder):
    files = pair_folders([gt_folder], [], place="datasets:train")
    in_memory, mapped = (Imagestore(files, scale=2, memory_limit=limit) for limit in (None, 0))
    some = Imagestore(files, scale=2, memory_limit=5000)
    assert not any(isinstance(array, np.memmap) for pair in in_memory.pairs for array in pair)
    assert all(isinstance(array, np.memmap) for pair in mapped.pairs for array in pair)
    for pairs in zip(in_memory.pairs, mapped.pairs, some.pairs, strict=True):
        for arrays in zip(*pairs, strict=True):
            assert all(np.array_equal(arrays[0], array) for array in arrays)


def test_progress_is_told(gt_folder):
    told = []
    files = pair_folders([gt_folder], [], place="datasets:train")
    Imagestore(files, scale=2, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_given_lq_images_are_paired_by_name(tmp_path, gt_folder):
    for number, template in enumerate(["{}", "{}x2", "{}x2"]):
        height, width = np.asarray(Image.open(gt_folder / f"{number:02}.png")).shape[:2]
        save(
            tmp_path / "lq" / f"{template.format(f'{number:02}')}.png",
            height // 2,
            width // 2,
            seed=9 + number,
        )
    files = pair_folders([gt_folder], [tmp_path / "lq"], place="datasets:train", scale=2)
    assert [file.lq.name for file in files] == ["00.png", "01x2.png", "02x2.png"]
    store = Imagestore(files, scale=2)
    assert np.array_equal(store.pairs[1][0], np.asarray(Image.open(tmp_path / "lq" / "01x2.png")))


def test_a_template_names_the_lq_images(tmp_path, gt_folder):
    for number in range(3):
        save(tmp_path / "lq" / f"{number:02}_blur.png", 10, 10)
    files = pair_folders([gt_folder], [tmp_path / "lq"], place="d", template="{}_blur")
    assert [file.lq.name for file in files] == ["00_blur.png", "01_blur.png", "02_blur.png"]


def test_images_without_partner_are_named(tmp_path, gt_folder):
    save(tmp_path / "lq" / "01.png", 15, 15)
    with pytest.raises(DataError, match=r"datasets:train: dataroot_lq has no image for 00.png, 02.png"):
        pair_folders([gt_folder], [tmp_path / "lq"], place="datasets:train")
    with pytest.raises(DataError, match="1 folders in dataroot_gt need as many in dataroot_lq, not 2"):
        pair_folders([gt_folder], [gt_folder, gt_folder], place="d")


def test_sizes_that_do_not_fit_are_an_error(tmp_path, gt_folder):
    save(tmp_path / "lq" / "00.png", 16, 21)
    file = PairedFile(gt_folder / "00.png", tmp_path / "lq" / "00.png")
    with pytest.raises(DataError, match=r"00.png' has 21x16 px, but .* divided by 2 has 20x16"):
        Imagestore([file], scale=2)


def test_subfolders_are_searched_and_other_files_left_alone(tmp_path):
    save(tmp_path / "b" / "x.PNG", 8, 8)
    save(tmp_path / "a.jpg", 8, 8)
    (tmp_path / "notes.txt").write_text("no image")
    assert [p.name for p in find_images(tmp_path, "datasets:train:dataroot_gt")] == ["a.jpg", "x.PNG"]


def test_a_missing_folder_is_named_with_what_belongs_there(tmp_path):
    told = (
        r"datasets:train:dataroot_gt: there is no folder 'absent'.*ground truth.*--force_yml datasets:train"
    )
    with pytest.raises(DataError, match=told):
        find_images(as_folders("absent")[0], "datasets:train:dataroot_gt")
    with pytest.raises(DataError, match="holds no images"):
        find_images(tmp_path, "datasets:train:dataroot_gt")


@pytest.mark.parametrize("kind", ["text", "truncated"])
def test_an_unreadable_image_is_named(tmp_path, kind):
    path = tmp_path / "bad.png"
    save(path, 30, 30)
    path.write_bytes(b"no image" if kind == "text" else path.read_bytes()[:1000])
    with pytest.raises(ImageError, match=r"bad.png"):
        Imagestore([PairedFile(path)], scale=2)


def test_gray_is_repeated(tmp_path):
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "gray.png")
    pixels = read_rgb(tmp_path / "gray.png")
    assert pixels.shape == (8, 8, 3)
    assert np.array_equal(pixels[..., 0], pixels[..., 2])
