"""Patches: aligned, augmented, and the same for the same index."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from hfsr.data import Batches, ForeignSource, Imagestore, PatchCutter, pair_folders
from hfsr.data.datasets import PairedImageDataset, SampleImageDataset
from hfsr.errors import DataError, OptionsError

from .conftest import save

SQUARE = {"gt_size": 12, "use_hflip": True, "use_rot": True, "sampling": "picture", "seed": 1}


@pytest.fixture
def store(gt_folder):
    return Imagestore(pair_folders([gt_folder], [], place="d"), scale=2)


@pytest.fixture
def nearest(store):
    """LQ images whose pixels are exactly every second one of GT."""
    store.pairs = [(gt[::2, ::2], gt) for _, gt in store.pairs]
    return store


def test_shapes_range_and_type(store):
    batch = PatchCutter(store, **SQUARE).batch(0, np.arange(5))
    assert batch["lq"].shape == (5, 3, 6, 6)
    assert batch["gt"].shape == (5, 3, 12, 12)
    assert batch["gt"].dtype == torch.float32
    assert batch["gt"].min() >= 0
    assert batch["gt"].max() <= 1


def test_a_patch_depends_on_seed_epoch_and_index_alone(store):
    cutter = PatchCutter(store, **SQUARE)
    together = cutter.batch(3, np.arange(8))
    cutter.batch(0, np.arange(100))
    apart = PatchCutter(store, **SQUARE).batch(3, np.array([5, 2]))
    for key in ("lq", "gt"):
        assert torch.equal(apart[key], together[key][[5, 2]])
    assert not torch.equal(cutter.batch(4, np.arange(8))["gt"], together["gt"])
    assert not torch.equal(
        PatchCutter(store, **{**SQUARE, "seed": 2}).batch(3, np.arange(8))["gt"], together["gt"]
    )


def test_lq_and_gt_show_the_same_place(nearest):
    plain = {**SQUARE, "use_hflip": False, "use_rot": False}
    batch = PatchCutter(nearest, **plain).batch(0, np.arange(40))
    assert torch.equal(batch["lq"], batch["gt"][..., ::2, ::2])


def test_every_position_is_reached(nearest):
    lq, gt = nearest.pairs[1]
    marked = np.arange(lq.shape[0] * lq.shape[1], dtype=np.uint32).reshape(lq.shape[:2])
    coded = np.stack([marked % 256, marked // 256, marked * 0], -1).astype(np.uint8)
    nearest.pairs = [(coded, gt)]
    cutter = PatchCutter(nearest, **{**SQUARE, "use_hflip": False, "use_rot": False})
    corners = (cutter.batch(0, np.arange(3000))["lq"][:, :, 0, 0] * 255).round().long()
    reached = set((corners[:, 0] + 256 * corners[:, 1]).tolist())
    expected = {int(marked[y, x]) for y in range(lq.shape[0] - 5) for x in range(lq.shape[1] - 5)}
    assert reached == expected


@pytest.mark.parametrize(("hflip", "rot", "count"), [(False, False, 1), (True, False, 2), (True, True, 8)])
def test_symmetries(tmp_path, hflip, rot, count):
    save(tmp_path / "one.png", 12, 12)
    store = Imagestore(pair_folders([tmp_path], [], place="d"), scale=1)
    cutter = PatchCutter(store, **{**SQUARE, "use_hflip": hflip, "use_rot": rot})
    found = {patch.numpy().tobytes() for patch in cutter.batch(0, np.arange(80))["gt"].contiguous()}
    whole = torch.from_numpy(store.pairs[0][1].copy()).permute(2, 0, 1).float() / 255
    turned = [torch.rot90(t, k, (1, 2)) for t in (whole, whole.flip(2)) for k in range(4)]
    assert len(found) == count
    assert found <= {t.contiguous().numpy().tobytes() for t in turned}


def test_area_draws_in_proportion_to_the_pixels(tmp_path):
    save(tmp_path / "large.png", 60, 60)
    (tmp_path / "small.png").write_bytes((tmp_path / "large.png").read_bytes())
    save(tmp_path / "small.png", 20, 20, seed=1)
    store = Imagestore(pair_folders([tmp_path], [], place="d"), scale=2)
    store.pairs = [
        (np.full_like(lq, 255 * k), np.full_like(gt, 255 * k)) for k, (lq, gt) in enumerate(store.pairs)
    ]
    for sampling, share in (("area", 0.1), ("picture", 0.5)):
        cutter = PatchCutter(store, **{**SQUARE, "sampling": sampling})
        drawn = cutter.batch(0, np.arange(2000))["gt"][:, 0, 0, 0]
        assert float(drawn.mean()) == pytest.approx(share, abs=0.03)


def test_images_smaller_than_a_patch_are_left_out(store):
    cutter = PatchCutter(store, **{**SQUARE, "gt_size": 30})
    assert (len(cutter), cutter.left_out) == (2, 1)
    with pytest.raises(DataError, match="none of the 3 images is as large as gt_size 80"):
        PatchCutter(store, **{**SQUARE, "gt_size": 80})
    with pytest.raises(DataError, match="gt_size 13 is not a multiple of the scale 2; use 12"):
        PatchCutter(store, **{**SQUARE, "gt_size": 13})


class Numbers:
    """A source whose patches are their epoch and index."""

    left_out = 0

    def __len__(self):
        return 5

    def batch(self, epoch, indices):
        return {"gt": torch.tensor([[epoch, index] for index in indices.tolist()])}


def drawn(steps, **arguments):
    batches = Batches(Numbers(), **arguments)
    return [batches.at(step * batches.global_batch)["gt"].tolist() for step in range(steps)]


def test_epochs_follow_each_other_without_gap():
    flat = [tuple(pair) for batch in drawn(10, batch_size=3) for pair in batch]
    assert len(flat) == 30
    for epoch in range(6):
        assert {index for e, index in flat if e == epoch} == set(range(5))
    assert [e for e, _ in flat] == sorted(e for e, _ in flat)


def test_processes_share_what_one_would_see():
    alone = drawn(7, batch_size=4)
    first, second = (drawn(7, batch_size=2, rank=rank, world_size=2) for rank in (0, 1))
    assert [a + b for a, b in zip(first, second, strict=True)] == alone


def test_enlarging_makes_epochs_longer_and_order_can_be_kept():
    flat = [index for batch in drawn(5, batch_size=2, enlarge=2, shuffle=False) for _, index in batch]
    assert flat == list(range(10))
    assert Batches(Numbers(), batch_size=1, enlarge=2).epoch_of(19) == 1


class Theirs:
    """A data set as BasicSR has them: it draws from the global generators."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        import random

        value = torch.rand(3, 2, 2) + random.random() + np.random.rand()
        return {"lq": value, "gt": value.repeat(1, 2, 2), "gt_path": "x"}


def test_foreign_data_sets_are_made_a_function_of_the_index():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    source = ForeignSource(Theirs(), seed=1)
    together = source.batch(2, np.arange(6))
    assert torch.equal(source.batch(2, np.array([4]))["lq"], together["lq"][[4]])
    assert len(together["lq"].unique()) == 6 * 12
    assert torch.equal(torch.get_rng_state(), before)
    assert together.keys() == {"lq", "gt"}


def test_a_data_set_without_ground_truth_cannot_train():
    class Single(Theirs):
        def __getitem__(self, index):
            return {"lq": torch.zeros(3, 2, 2)}

    with pytest.raises(DataError, match="Single returns no 'gt'"):
        ForeignSource(Single(), seed=0).batch(0, np.arange(2))


def test_folders_of_an_option_file(gt_folder, tmp_path):
    save(tmp_path / "more" / "x.png", 40, 40)
    dataset = PairedImageDataset(dataroot_gt=[str(gt_folder), str(tmp_path / "more")], gt_size=16, scale=2)
    assert len(dataset.files) == 4
    assert len(dataset.patches(0)) == 4
    with pytest.raises(OptionsError, match="gt_size"):
        PairedImageDataset(dataroot_gt=str(gt_folder), scale=2).patches(0)
    with pytest.raises(OptionsError, match="'memcached' is not supported; allowed: disk, lmdb, hdf5"):
        PairedImageDataset(dataroot_gt=str(gt_folder), io_backend={"type": "memcached"})


def test_a_meta_information_file_chooses(gt_folder, tmp_path):
    listing = tmp_path / "meta.txt"
    listing.write_text("00.png (33,40,3)\n02.png (64,29,3)\n")
    dataset = PairedImageDataset(dataroot_gt=str(gt_folder), meta_info_file=str(listing))
    assert [file.gt.name for file in dataset.files] == ["00.png", "02.png"]
    listing.write_text("00.png\n07.png\n")
    with pytest.raises(DataError, match=r"names 1 images that are not in dataroot_gt: 07.png; write"):
        PairedImageDataset(dataroot_gt=str(gt_folder), meta_info_file=str(listing))


def test_photographs_of_scikit_image_need_no_download():
    dataset = SampleImageDataset(names=["coffee.png"], gt_size=32, scale=2)
    assert dataset.patches(0).batch(0, np.arange(2))["gt"].shape == (2, 3, 32, 32)
    with pytest.raises(DataError, match=r"has no image 'cofee.png'; did you mean 'coffee.png'"):
        SampleImageDataset(names=["cofee.png"])


def test_noise_is_drawn_anew_for_each_patch_and_is_the_same_for_the_same_index(gt_folder):
    words = {"type": "GaussianNoise", "sigma": [0, 50]}
    dataset = PairedImageDataset(dataroot_gt=str(gt_folder), gt_size=16, degradation=words)
    source = dataset.patches(4)
    assert all(low is high for low, high in source.pairs)
    first = source.batch(1, np.arange(6))
    again = dataset.patches(4).batch(1, np.array([3, 0]))
    for key in ("lq", "gt"):
        assert torch.equal(again[key], first[key][[3, 0]])
    noise = (first["lq"] - first["gt"]).flatten(1)
    assert len({round(float(level), 5) for level in noise.std(1)}) == 6
    later = source.batch(2, np.arange(6))
    assert not torch.equal((later["lq"] - later["gt"]).flatten(1), noise)
    plain = PairedImageDataset(dataroot_gt=str(gt_folder), gt_size=16).patches(4).batch(1, np.arange(6))
    assert torch.equal(plain["gt"], first["gt"])
    assert torch.equal(plain["lq"], plain["gt"])


def test_unrounded_noise_reaches_the_network_as_it_is(gt_folder):
    words = {"type": "GaussianNoise", "sigma": 50, "clip": False}
    dataset = PairedImageDataset(dataroot_gt=str(gt_folder), gt_size=16, degradation=words)
    lq = dataset.patches(0).batch(0, np.arange(4))["lq"]
    assert lq.dtype == torch.float32
    assert lq.min() < 0
    assert lq.max() > 1


def test_lq_images_are_given_or_made(gt_folder):
    with pytest.raises(OptionsError, match=r"datasets.train: dataroot_lq names LQ images"):
        PairedImageDataset(
            dataroot_gt=str(gt_folder), dataroot_lq=str(gt_folder), degradation={"type": "Jpeg"}
        )


def windows(image, side):
    """Every patch of an image, turned in every way."""
    whole = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float() / 255
    turned = [torch.rot90(t, k, (1, 2)) for t in (whole, whole.flip(2)) for k in range(4)]
    return {
        patch.contiguous().numpy().tobytes()
        for t in turned
        for patch in t.unfold(1, side, 1).unfold(2, side, 1).permute(1, 2, 0, 3, 4).flatten(0, 1)
    }


@pytest.mark.parametrize(("beforehand", "scale"), [(True, 3), (False, 3), (False, 1)])
def test_patches_are_degraded_as_the_whole_image_is(tmp_path, beforehand, scale):
    """A symmetric blur and a shrinking: what surrounds the patch is seen, and nothing that is not there."""
    pixels = save(tmp_path / "one.png", 36, 30)
    steps = [{"type": "GaussianBlur", "kernel_size": 5, "sigma": 1.2}]
    steps += [{"type": "Bicubic"}] if scale > 1 else []
    dataset = PairedImageDataset(dataroot_gt=str(tmp_path), degradation=steps, scale=scale, gt_size=12)
    for step in dataset.chain.steps:
        step.beforehand = beforehand
    cutter = dataset.patches(0)
    assert len(cutter.degradation.steps) == (0 if beforehand else len(steps))
    expected = windows(dataset.chain(pixels, np.random.default_rng(0)), 12 // scale)
    batch = cutter.batch(0, np.arange(200))
    found = {patch.contiguous().numpy().tobytes() for patch in batch["lq"]}
    # MATLAB's rounding between heights and widths does not commute with turning an image by 90 degrees.
    assert len(found & expected) >= (0.4 if scale > 1 and not beforehand else 1) * len(found)
    assert len(found) > 20


def test_the_mosaic_of_a_turned_patch_begins_as_every_mosaic_does(gt_folder):
    words = {"type": "Mosaic", "pattern": "RGGB"}
    dataset = PairedImageDataset(dataroot_gt=str(gt_folder), gt_size=15, degradation=words)
    batch = dataset.patches(0).batch(0, np.arange(40))
    for channel, rows, columns in ((0, 0, 0), (1, 0, 1), (1, 1, 0), (2, 1, 1)):
        spot = (slice(None), channel, slice(rows, None, 2), slice(columns, None, 2))
        assert torch.equal(batch["lq"][spot], batch["gt"][spot])
    assert int((batch["lq"] != 0).sum(dim=1).max()) == 1


def test_a_chain_that_shrinks_at_random_keeps_its_place(tmp_path):
    """The patch lies where its GT lies, also in the corners of an image and however it is turned."""
    ramp = np.zeros((96, 64, 3), np.uint8)
    ramp[..., 0] = np.arange(96)[:, None] * 2
    ramp[..., 1] = np.arange(64)[None] * 3
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    steps = [{"type": "GaussianBlur", "kernel_size": 5, "sigma": [0.5, 1.0]}, {"type": "Bicubic"}]
    dataset = PairedImageDataset(dataroot_gt=str(tmp_path), degradation=steps, scale=2, gt_size=24)
    batch = dataset.patches(0).batch(0, np.arange(60))
    mean = torch.nn.functional.avg_pool2d(batch["gt"], 2)
    assert float((batch["lq"] - mean)[:, :2].abs().max()) < 4 / 255
