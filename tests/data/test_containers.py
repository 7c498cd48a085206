"""Packs, LMDB and HDF5, the cache on disk, what cannot be read, and batches of different scales."""

from __future__ import annotations

import io
import logging

import numpy as np
import pytest
import torch
from PIL import Image

from hfsr.data import Batches, Imagestore, pair_folders
from hfsr.data.cache import ImageCache
from hfsr.data.containers import open_container
from hfsr.data.datasets import PairedImageDataset
from hfsr.data.file_lists import read_rgb
from hfsr.data.pack import Pack, writing_pack
from hfsr.degradations import bicubic_down
from hfsr.errors import DataError, ImageError, OptionsError

from .conftest import save


@pytest.fixture
def images(gt_folder):
    return {path.stem: np.asarray(Image.open(path)) for path in sorted(gt_folder.iterdir())}


@pytest.fixture(params=["pack", "lmdb", "h5"])
def container(request, tmp_path, images):
    path = tmp_path / f"crops.{request.param}"
    if request.param == "pack":
        with writing_pack(path, {"source": "a test"}) as writer:
            for name, pixels in images.items():
                writer.add(name, pixels)
    elif request.param == "h5":
        import h5py

        with h5py.File(path, "w") as file:
            for name, pixels in images.items():
                file[f"gt/{name}"] = pixels
    else:
        import lmdb

        with lmdb.open(str(path), map_size=1 << 20) as database, database.begin(write=True) as transaction:
            for name, pixels in images.items():
                encoded = io.BytesIO()
                Image.fromarray(pixels).save(encoded, "PNG")
                transaction.put(name.encode(), encoded.getvalue())
        (path / "meta_info.txt").write_text("".join(f"{name}.png (1,1,3) 1\n" for name in images))
    return path


def test_a_container_trains_as_its_folder_does(container, gt_folder):
    words = {"gt_size": 16, "scale": 2}
    first, second = (
        PairedImageDataset(dataroot_gt=str(root), **words).patches(3).batch(0, np.arange(5))
        for root in (container, gt_folder)
    )
    assert torch.equal(first["gt"], second["gt"])
    assert torch.equal(first["lq"], second["lq"])
    measured = PairedImageDataset(dataroot_gt=str(container), scale=2, phase="val").files
    assert [file.name for file in measured] == ["00", "01", "02"]


def test_a_container_pairs_with_a_folder_by_name(container, gt_folder):
    pairs = pair_folders([container], [gt_folder], place="d")
    assert [(pair.name, pair.lq.name) for pair in pairs] == [(n, f"{n}.png") for n in ("00", "01", "02")]
    for pair in pairs:
        np.testing.assert_array_equal(read_rgb(pair.gt), read_rgb(pair.lq))


def test_images_of_a_pack_are_views_of_the_file(tmp_path, images):
    with writing_pack(tmp_path / "a.pack", {"crop": 480}) as writer:
        for name, pixels in images.items():
            writer.add(name, pixels)
    pack = Pack(tmp_path / "a.pack")
    assert pack.made == {"crop": 480}
    assert isinstance(pack.read("01"), np.memmap)
    store = Imagestore(pair_folders([tmp_path / "a.pack"], [], place="d"), scale=1, memory_limit=0)
    for _, gt in store.pairs:
        assert gt.base is not None
        assert isinstance(gt, np.memmap)
        assert gt.filename == tmp_path / "a.pack"


def test_what_is_no_container_is_told_with_what_to_do(tmp_path):
    (tmp_path / "a.pack").write_bytes(b"HFSRPACKnothing")
    (tmp_path / "b.pack").write_bytes(b"")
    (tmp_path / "c.h5").write_bytes(b"nothing")
    for name in ("a.pack", "b.pack", "absent.pack", "c.h5", "d.lmdb"):
        with pytest.raises(DataError, match=rf"{name}.*create one: hfsr prepare") as caught:
            open_container(tmp_path / name)
        assert "\n" not in str(caught.value)
    with writing_pack(tmp_path / "cut.pack", {}) as writer:
        writer.add("x", np.zeros((50, 50, 3), np.uint8))
    whole = (tmp_path / "cut.pack").read_bytes()
    (tmp_path / "cut.pack").write_bytes(whole[:3000])
    with pytest.raises(DataError, match="is no pack"):
        Pack(tmp_path / "cut.pack")


def test_a_pack_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), writing_pack(tmp_path / "a.pack", {}):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_decoded_images_are_kept_until_a_file_changes(tmp_path, gt_folder, monkeypatch):
    def build():
        dataset = PairedImageDataset(
            dataroot_gt=str(gt_folder), gt_size=16, scale=2, cache=str(tmp_path / "c")
        )
        return dataset.patches(0)

    first = build()
    assert all(isinstance(array, np.memmap) for pair in first.pairs for array in pair)
    monkeypatch.setattr("hfsr.data.decoded_images.read_rgb", lambda path: pytest.fail("decoded again"))
    again = build()
    for key in ("lq", "gt"):
        assert torch.equal(again.batch(0, np.arange(9))[key], first.batch(0, np.arange(9))[key])
    monkeypatch.undo()
    changed = save(gt_folder / "00.png", 40, 40, seed=8)
    np.testing.assert_array_equal(build().pairs[0][1], changed)
    assert len(list((tmp_path / "c").iterdir())) == 2
    damaged = max((tmp_path / "c").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    damaged.write_bytes(b"nothing")
    np.testing.assert_array_equal(build().pairs[0][1], changed)


def test_the_cache_has_a_limit(tmp_path, caplog):
    cache = ImageCache(tmp_path, 20_000)
    pairs = [(np.zeros((50, 50, 3), np.uint8), np.zeros((50, 50, 3), np.uint8))]
    with caplog.at_level(logging.WARNING):
        for name in ("a", "b"):
            assert isinstance(cache.store(name, pairs)[0][0], np.memmap)
        assert [path.name for path in tmp_path.iterdir()] == ["b.cache.pack"]
        assert not caplog.records
        assert cache.store("c", pairs * 2) == pairs * 2
    assert "are not cached: limit 0.0 GB" in caplog.text


def test_unreadable_images_stop_or_are_counted(gt_folder, caplog):
    (gt_folder / "bad.png").write_bytes(b"no image")
    (gt_folder / "worse.png").write_bytes((gt_folder / "00.png").read_bytes()[:500])
    with pytest.raises(ImageError, match=r"bad.png"):
        PairedImageDataset(dataroot_gt=str(gt_folder), gt_size=16).patches(0)
    with caplog.at_level(logging.WARNING):
        patches = PairedImageDataset(dataroot_gt=str(gt_folder), gt_size=16, unreadable="skip").patches(0)
    assert len(patches) == 3
    assert "2 images left out" in caplog.text
    for path in gt_folder.glob("0*.png"):
        path.unlink()
    with pytest.raises(DataError, match="none of the 2 images can be read"):
        PairedImageDataset(dataroot_gt=str(gt_folder), gt_size=16, unreadable="skip").patches(0)


def test_the_first_five_pairs_that_do_not_match_are_named(tmp_path):
    for number in range(7):
        save(tmp_path / "gt" / f"{number}.png", 20, 20)
        save(tmp_path / "lq" / f"{number}.png", 10, 9 if number else 10)
    files = pair_folders([tmp_path / "gt"], [tmp_path / "lq"], place="d")
    with pytest.raises(DataError, match=r"1.png' has 9x10 px, but .*5.png.*\(6 in all\)") as caught:
        Imagestore(files, scale=2)
    assert "6.png" not in str(caught.value)


def test_each_batch_has_one_scale_and_all_processes_the_same(gt_folder):
    scales = [1.5, 2, 3.3]
    dataset = PairedImageDataset(dataroot_gt=str(gt_folder), scales=scales, lq_size=8, scale=4)
    found = []
    for rank in (0, 1):
        batches = Batches(dataset.patches(5), batch_size=2, seed=5, rank=rank, world_size=2)
        found.append([batches.at(step * 4) for step in range(30)])
    for first, second in zip(*found, strict=True):
        scale = float(first["scale"][0, 0, 0, 0])
        assert torch.equal(first["scale"], second["scale"])
        assert first["lq"].shape == (2, 3, 8, 8)
        assert first["gt"].shape[-1] == int(8 * scale + 1e-6)
        gt = (first["gt"][0] * 255).round().byte().permute(1, 2, 0).numpy()
        lq = (first["lq"][0] * 255).round().byte().permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(bicubic_down(gt, round(scale, 5)), lq)
    assert {round(float(batch["scale"].max()), 3) for batch in found[0]} == set(scales)


def test_scales_of_one_gt_size(gt_folder):
    batches = Batches(
        PairedImageDataset(dataroot_gt=str(gt_folder), scales=[2, 3, 4], gt_size=29).patches(0), batch_size=1
    )
    sizes = {tuple(batches.at(step)[key].shape[-1] for key in ("lq", "gt")) for step in range(40)}
    assert sizes == {(14, 28), (9, 27), (7, 28)}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"scales": [2, 3]}, "give either gt_size or lq_size"),
        ({"scales": [0.5], "gt_size": 8}, r"scales: \[0.5\] is not allowed"),
        ({"scales": [2], "degradation": {"type": "Jpeg"}}, "scales makes the LQ"),
    ],
)
def test_bad_scales(gt_folder, words, told):
    with pytest.raises(OptionsError, match=told):
        PairedImageDataset(dataroot_gt=str(gt_folder), **words).patches(0)
