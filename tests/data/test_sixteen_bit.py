"""Images of 16 bits keep them from the file to the patch, in every kind of store."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hfsr.data import Imagestore, PairedImageDataset, SingleImageDataset, pair_folders
from hfsr.data.file_lists import read_rgb, read_rgb_8bit
from hfsr.data.pack import Pack, writing_pack
from hfsr.data.prepare import lr_images, pack_crops, run_tasks, subimages, to_h5, to_lmdb
from hfsr.data.prepare.parallel_files import write_png
from hfsr.degradations import bicubic_down
from hfsr.images import read_image

from .conftest import save


def deep(path: Path, side: int, seed: int) -> np.ndarray:
    """Writes an image of 16 bits in which every low byte occurs; returns its pixels."""
    pixels = np.random.default_rng(seed).integers(0, 1 << 16, (side, side, 3), dtype=np.uint16)
    write_png(path, pixels)
    assert np.array_equal(read_image(path).pixels, pixels)
    return pixels


@pytest.fixture
def roots(tmp_path: Path) -> tuple[Path, Path]:
    for number in range(3):
        deep(tmp_path / "gt" / f"{number}.png", 16, number)
        deep(tmp_path / "lq" / f"{number}.png", 8, 10 + number)
    return tmp_path / "gt", tmp_path / "lq"


def assert_deep(gt: Path, lq: Path, roots: tuple[Path, Path], **words: object) -> None:
    """Whole images as patches are the float32 quotients of the files' integers."""
    common = {"scale": 2, "gt_size": 16, "use_hflip": False, "use_rot": False}
    dataset = PairedImageDataset(dataroot_gt=str(gt), dataroot_lq=str(lq), **common, **words)
    source = dataset.patches(0)
    assert source.deep == 3
    batch = source.batch(0, np.arange(3))
    for kind, root in zip(("gt", "lq"), roots, strict=True):
        files = np.stack([read_image(path).pixels for path in sorted(root.iterdir())])
        expected = files / np.float32(65535)
        assert batch[kind].dtype.is_floating_point
        np.testing.assert_array_equal(batch[kind].permute(0, 2, 3, 1).numpy(), expected.astype(np.float32))


def test_pairs_of_files_train_with_16_bits(roots):
    assert_deep(*roots, roots)


def test_a_cache_keeps_16_bits_when_written_and_when_read(roots, tmp_path):
    for _ in range(2):
        assert_deep(*roots, roots, cache=str(tmp_path / "cache"))
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_containers_keep_16_bits(roots, tmp_path):
    gt, lq = roots
    to_lmdb(gt, tmp_path / "gt.lmdb")
    to_h5({"gt": gt, "lq": lq}, tmp_path / "both.h5")
    with writing_pack(tmp_path / "lq.pack", {}) as writer:
        for path in sorted(lq.iterdir()):
            writer.add(path.stem, read_rgb(path))
    assert_deep(tmp_path / "both.h5", tmp_path / "both.h5", roots)
    assert_deep(tmp_path / "gt.lmdb", tmp_path / "lq.pack", roots)


def test_a_pack_of_both_depths_gives_back_what_it_was_given(tmp_path):
    images = {
        name: np.random.default_rng(3).integers(0, np.iinfo(dtype).max, (5, 7, 3), dtype)
        for name, dtype in (("a", np.uint8), ("b", np.uint16), ("c", np.uint8))
    }
    for names, version in (("ac", 1), ("abc", 2)):
        with writing_pack(tmp_path / "x.pack", {}) as writer:
            for name in names:
                writer.add(name, images[name])
        pack = Pack(tmp_path / "x.pack")
        assert (tmp_path / "x.pack").read_bytes()[8] == version
        for name in names:
            assert pack.read(name).dtype == images[name].dtype
            assert np.array_equal(pack.read(name), images[name])


def test_what_does_not_fit_in_memory_keeps_16_bits_beside_odd_sizes(tmp_path):
    small = save(tmp_path / "a.png", 5, 7)  # an odd number of bytes before the uint16 values
    large = deep(tmp_path / "b.png", 9, 4)
    store = Imagestore(pair_folders([tmp_path], [], place="d"), scale=1, memory_limit=0)
    assert isinstance(store.pairs[1][1], np.memmap)
    assert np.array_equal(store.pairs[0][1], small)
    assert np.array_equal(store.pairs[1][1], large)


def test_lq_made_from_16_bits_has_16_bits(tmp_path):
    gt = deep(tmp_path / "0.png", 32, 0)
    store = Imagestore(pair_folders([tmp_path], [], place="d"), scale=2)
    assert np.array_equal(store.pairs[0][0], bicubic_down(gt, 2))
    assert store.pairs[0][0].dtype == np.uint16


def test_a_batch_of_both_depths_is_scaled_image_by_image(tmp_path):
    plain = save(tmp_path / "gt" / "0.png", 16, 16)
    fine = deep(tmp_path / "gt" / "1.png", 16, 1)
    words = {"gt_size": 16, "use_hflip": False, "use_rot": False}
    source = PairedImageDataset(dataroot_gt=str(tmp_path / "gt"), **words).patches(0)
    batch = source.batch(0, np.arange(2))["gt"].permute(0, 2, 3, 1).numpy()
    assert source.deep == 1
    np.testing.assert_array_equal(batch[0], plain / np.float32(255))
    np.testing.assert_array_equal(batch[1], fine / np.float32(65535))


def test_degradations_that_give_8_bits_round_and_do_not_clamp(tmp_path):
    write_png(tmp_path / "0.png", np.full((32, 32, 3), 100 * 257, np.uint16))
    words = {"gt_size": 16, "degradation": [{"type": "Jpeg", "quality": 95}]}
    batch = PairedImageDataset(dataroot_gt=str(tmp_path), **words).patches(0).batch(0, np.arange(2))
    np.testing.assert_allclose(batch["lq"].numpy(), 100 / 255, atol=1.5 / 255)
    np.testing.assert_allclose(batch["gt"].numpy(), 100 / 255, rtol=1e-6)


def test_gray_and_unpaired_images_keep_16_bits(tmp_path):
    gray = np.random.default_rng(0).integers(0, 1 << 16, (12, 12), dtype=np.uint16)
    Image.fromarray(gray).save(tmp_path / "0.png")
    assert np.array_equal(read_rgb(tmp_path / "0.png"), np.repeat(gray[..., None], 3, axis=2))
    assert read_rgb_8bit(tmp_path / "0.png").dtype == np.uint8
    source = SingleImageDataset(dataroot_lq=str(tmp_path), lq_size=12, use_hflip=False, use_rot=False)
    batch = source.patches(0).batch(0, np.arange(1))
    np.testing.assert_array_equal(batch["gt"][0, 0].numpy(), gray / np.float32(65535))


def test_prepared_files_keep_16_bits(tmp_path):
    pixels = deep(tmp_path / "hr" / "a.png", 24, 0)
    run_tasks(subimages(tmp_path / "hr", tmp_path / "sub", size=12, step=12))
    run_tasks(lr_images(tmp_path / "hr", tmp_path / "lr", scales=[2]))
    assert np.array_equal(read_image(tmp_path / "sub" / "a_s004.png").pixels, pixels[12:, 12:])
    assert np.array_equal(read_image(tmp_path / "lr" / "X2" / "ax2.png").pixels, bicubic_down(pixels, 2))


def test_a_pack_of_crops_says_that_it_holds_8_bits(tmp_path, caplog):
    deep(tmp_path / "hr" / "a.png", 24, 0)
    save(tmp_path / "hr" / "b.png", 24, 24)
    with caplog.at_level(logging.WARNING, logger="hfsr"):
        assert pack_crops([tmp_path / "hr"], tmp_path / "a.pack", size=12) == 8
    assert "1 images of 16 bits are rounded to 8 bits in " in caplog.text
    pack = Pack(tmp_path / "a.pack")
    assert {pack.read(name).dtype for name in pack.names} == {np.dtype(np.uint8)}
