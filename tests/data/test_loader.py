"""Batches of stages that grow, and of a pool of pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from hfsr.data import Batches, PairedImageDataset, PairPool, Stages
from hfsr.degradations import sharpened
from hfsr.errors import DataError, OptionsError


@pytest.fixture
def source(tmp_path):
    rng = np.random.default_rng(0)
    for name in range(5):
        Image.fromarray(rng.integers(0, 256, (40, 44, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    return PairedImageDataset(dataroot_gt=str(tmp_path), gt_size=32, scale=2).patches(3)


class TestStages:
    def test_which_stage_an_iteration_belongs_to(self):
        stages = Stages([3, 2, 4], [8, 5, 1], [16, 24, 32])
        found = [stages.at(iteration) for iteration in (1, 3, 4, 5, 6, 9, 10, 99)]
        assert found == [(8, 16), (8, 16), (5, 24), (5, 24), *[(1, 32)] * 4]

    def test_patches_grow_while_batches_shrink(self, source):
        batches = Batches(source, batch_size=4, stages=Stages([2, 1], [4, 2], [16, 32]))
        shapes = [tuple(batches.at(seen)["gt"].shape) for seen in (0, 4, 8, 12)]
        assert shapes == [(4, 3, 16, 16), (4, 3, 16, 16), (2, 3, 32, 32), (2, 3, 32, 32)]
        assert batches.at(0)["lq"].shape == (4, 3, 8, 8)

    def test_iterations_are_counted_not_steps(self, source):
        batches = Batches(source, batch_size=4, stages=Stages([1, 1], [4, 2], [16, 32]), accum_iter=2)
        assert [len(batches.at(4 * step)["gt"]) for step in range(4)] == [4, 4, 2, 2]

    @pytest.mark.parametrize(("batch", "accum_iter"), [(2, 2), (8, 1), (3, 1)])
    def test_a_resumed_run_stays_in_its_stage_with_another_batch(self, source, batch, accum_iter):
        """After two iterations of 4 patches, the third one is of the second stage."""
        stages = Stages([2, 1], [9, 9], [16, 32])
        batches = Batches(source, batch_size=batch, stages=stages, accum_iter=accum_iter)
        batches.continue_from(8, 2)
        assert batches.at(8)["gt"].shape[-1] == 32

    def test_a_resumed_run_reaches_the_next_stage_after_its_iterations(self, source):
        batches = Batches(source, batch_size=2, stages=Stages([3, 1], [2, 2], [16, 32]), accum_iter=2)
        batches.continue_from(8, 2)
        sides = [batches.at(8 + 2 * step)["gt"].shape[-1] for step in range(4)]
        assert sides == [16, 16, 32, 32]

    def test_a_batch_is_never_larger_than_the_file_says(self, source):
        batches = Batches(source, batch_size=2, stages=Stages([1], [8], [16]))
        assert len(batches.at(0)["gt"]) == 2

    def test_small_patches_are_pairs(self, source):
        """The LQ patch is the reduction of the GT patch wherever that was cut."""
        full = Batches(source, batch_size=4, shuffle=False)
        small = Batches(source, batch_size=4, shuffle=False, stages=Stages([9], [4], [16]))
        for key in ("lq", "gt"):
            assert not torch.equal(full.at(0)[key][..., :8, :8], small.at(0)[key][..., :8, :8])
        up = torch.nn.functional.interpolate(small.at(0)["lq"], scale_factor=2)
        assert (up - small.at(0)["gt"]).abs().mean() < 0.3

    def test_other_sources_have_patches_of_one_size(self):
        class Other:
            def __len__(self):
                return 3

        with pytest.raises(
            OptionsError, match=r"datasets.train.gt_sizes: this data set provides patches of one"
        ):
            Batches(Other(), batch_size=1, stages=Stages([1], [1], [8]))


def basicsrs_pool(size, batch, steps, orders):
    """The pool as BasicSR keeps it, with numbers in the place of images."""
    pool, given = [], []
    for step in range(steps):
        new = list(range(step * batch, step * batch + batch))
        if len(pool) < size:
            pool += new
            given.append(new)
        else:
            pool = [pool[k] for k in orders(pool)]
            given.append(pool[:batch])
            pool = new + pool[batch:]
    return given


class TestPool:
    def test_it_hands_out_what_basicsrs_pool_would(self):
        rng = np.random.default_rng([7, 0x9001])

        def orders(pool):
            order = np.arange(len(pool))
            rng.shuffle(order)
            return order

        pool = PairPool(12, 4, 7)
        found = [pool.at(step).tolist() for step in range(40)]
        assert found == basicsrs_pool(12, 4, 40, orders)
        assert found[:3] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
        assert len({number // 4 for number in found[20]}) > 1

    def test_the_order_of_questions_does_not_matter(self):
        pool = PairPool(8, 2, 1)
        forward = [pool.at(step).tolist() for step in range(3000)]
        assert [pool.at(step).tolist() for step in (2999, 0, 1500)] == [forward[k] for k in (2999, 0, 1500)]
        assert PairPool(8, 2, 1).at(2999).tolist() == forward[2999]
        assert PairPool(8, 2, 2).at(2999).tolist() != forward[2999]

    def test_batches_mix_patches_of_several_iterations(self, source):
        plain = Batches(source, batch_size=2, seed=5)
        pooled = Batches(source, batch_size=2, seed=5, queue_size=4)
        for step in (0, 1):  # the pool is being filled
            assert torch.equal(plain.at(2 * step)["gt"], pooled.at(2 * step)["gt"])
        numbers = PairPool(4, 2, 5).at(9)
        expected = [plain.at(2 * (number // 2))["gt"][number % 2] for number in numbers.tolist()]
        assert torch.equal(pooled.at(18)["gt"], torch.stack(expected))

    def test_two_processes_are_one_with_twice_the_batch_and_the_pool(self, source):
        one = Batches(source, batch_size=4, queue_size=8)
        two = [Batches(source, batch_size=2, queue_size=4, rank=rank, world_size=2) for rank in (0, 1)]
        assert torch.equal(one.at(28)["lq"], torch.cat([each.at(28)["lq"] for each in two]))


class TestSharpenedGt:
    def test_it_is_the_patch_of_the_sharpened_image(self, tmp_path):
        y, x = np.mgrid[:300, :320]
        picture = np.stack([128 + 100 * np.sin(x / (9 + k)) * np.cos(y / 11) for k in range(3)], -1).astype(
            np.uint8
        )
        Image.fromarray(picture).save(tmp_path / "one.png")
        small = tmp_path / "lq"
        small.mkdir()
        Image.fromarray(picture[::2, ::2]).save(small / "one.png")
        given = {"dataroot_gt": str(tmp_path / "one.png").rsplit("/", 1)[0], "gt_size": 24, "scale": 2}
        listed = tmp_path / "pairs.txt"
        listed.write_text("one.png, one.png\n")
        dataset = PairedImageDataset(
            **given,
            dataroot_lq=str(small),
            meta_info=str(listed),
            sharpen_gt=True,
            use_hflip=False,
            use_rot=False,
        )
        batch = dataset.patches(1).batch(0, np.arange(3))
        whole = torch.from_numpy(sharpened(picture)).permute(2, 0, 1)
        plain = torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1)
        for gt, sharp in zip(batch["gt"], batch["gt_usm"], strict=True):
            windows = plain.unfold(1, 24, 2).unfold(2, 24, 2)
            place = (windows - gt[:, None, None]).abs().amax((0, 3, 4)).argmin().item()
            top, left = (2 * k for k in divmod(place, windows.shape[2]))
            assert torch.equal(plain[:, top : top + 24, left : left + 24], gt)
            assert torch.allclose(whole[:, top : top + 24, left : left + 24], sharp, atol=2e-3)
        assert (batch["gt_usm"] - batch["gt"]).abs().max() > 0.01

    def test_a_reduction_made_beforehand_is_refused(self, tmp_path):
        Image.new("RGB", (64, 64)).save(tmp_path / "one.png")
        dataset = PairedImageDataset(dataroot_gt=str(tmp_path), gt_size=24, scale=2, sharpen_gt=True)
        with pytest.raises(OptionsError, match="sharpen_gt: LQ must be given, or made by a degradation"):
            dataset.patches(0)


class TestLists:
    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("", "must have lines of two paths"),
            ("a.png\n", "not 'a.png'; a list of GT images alone is a meta_info_file"),
            ("a.png, b.png\n", r"names 1 images that are missing: .*b.png"),
        ],
    )
    def test_what_is_no_list_of_pairs(self, tmp_path, text, told):
        Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
        (tmp_path / "list.txt").write_text(text)
        with pytest.raises(DataError, match=told):
            PairedImageDataset(
                dataroot_gt=str(tmp_path), dataroot_lq=str(tmp_path), meta_info=str(tmp_path / "list.txt")
            )
