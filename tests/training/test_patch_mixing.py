"""Augmentation by mixing pairs: which px come from where, and how often."""

from __future__ import annotations

import pytest
import torch

from hfsr import training
from hfsr.errors import OptionsError
from hfsr.training.engine import Engine
from hfsr.training.recipes import patch_mixing
from hfsr.training.recipes.patch_mixing import Mixture

DENOISING = (
    "scale=1",
    "network_g={type: EDSR, num_feat: 4, num_block: 1, upscale: 1}",
    "datasets:train:degradation={type: GaussianNoise, sigma: 25}",
    "datasets:val:degradation={type: GaussianNoise, sigma: 25}",
)


def pairs(factor=1, seed=0):
    torch.manual_seed(seed)
    return [torch.rand(4, 3, 20, 30), torch.rand(4, 3, 20 * factor, 30 * factor)]


def rectangle(mask):
    """Top, left, height and width of the True px, which must fill their bounding box."""
    rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
    box = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert box.all()
    return int(rows[0]), int(columns[0]), *box.shape


def test_cutblur_exchanges_a_rectangle_in_either_direction():
    insides = []
    for seed in range(20):
        lq, gt = pairs(seed=seed)
        mixed, same = patch_mixing.cut_blurred([lq, gt])
        assert same is gt
        from_gt = (mixed == gt).all(1)
        assert torch.equal(mixed, torch.where(from_gt[:, None], gt, lq))
        assert (from_gt == from_gt[:1]).all()
        insides.append(bool(from_gt.float().mean() < 0.5))  # 0.7 * 0.7 of the px
        _, _, height, width = rectangle(from_gt[0] if insides[-1] else ~from_gt[0])
        assert 12 <= height <= 14
        assert 19 <= width <= 22
    assert 4 <= sum(insides) <= 16


@pytest.mark.parametrize("factor", [1, 3])
def test_cutmix_takes_the_same_rectangle_of_lq_and_gt_from_another_pair(factor):
    lq, gt = pairs(factor)
    a, b = patch_mixing.cut_mixed([lq, gt])
    kept = (a == lq).all(1)
    image = next(i for i in range(4) if not kept[i].all())
    place = rectangle(~kept[image])
    assert rectangle(~(b == gt).all(1)[image]) == tuple(factor * px for px in place)
    inside = ~kept[image]
    assert sum(torch.equal(a[image][:, inside], other[:, inside]) for other in lq) == 1


def test_cutmixup_mixes_inside_or_outside():
    insides = []
    for seed in range(20):
        lq, gt = pairs(2, seed)
        a, b = patch_mixing.cut_mixed_up([lq, gt])
        kept = a.isclose(lq, atol=1e-6).all(1)
        image = next(i for i in range(4) if not kept[i].all())
        insides.append(bool(kept[image].float().mean() > 0.5))
        rectangle(kept[image] if not insides[-1] else ~kept[image])
        large = kept[image].repeat_interleave(2, 0).repeat_interleave(2, 1)
        assert torch.equal(b.isclose(gt, atol=1e-6).all(1)[image], large)
    assert 4 <= sum(insides) <= 16


def test_blend_and_rgb_change_lq_and_gt_alike():
    lq = torch.rand(4, 3, 5, 5)
    for seed in range(10):
        torch.manual_seed(seed)
        a, b = patch_mixing.blended([lq, 1 - lq])
        # share * (lq + 1 - lq) + 2 * (1 - share) * color has the same value at each px
        assert torch.allclose(a + b, (a + b)[..., :1, :1].expand_as(a), atol=1e-6)
        share = ((a[..., 1, 1] - a[..., 0, 0]) / (lq[..., 1, 1] - lq[..., 0, 0])).mean()
        assert 0.6 - 1e-4 <= share <= 1 + 1e-4
        a, b = patch_mixing.permuted_channels([lq, 1 - lq])
        assert torch.allclose(a + b, torch.ones(1))
        assert torch.equal(a.sort(1).values, lq.sort(1).values)


def test_augmentations_are_drawn_by_their_weights(options, monkeypatch):
    drawn = []
    for name in ("rgb", "mixup"):
        monkeypatch.setitem(
            patch_mixing._AUGMENTATIONS, name, lambda images, name=name: drawn.append(name) or images
        )
    chosen = options("train:mixture={augs: {rgb: 3, mixup: 1}, prob: 0.5, start_iter: 100}")
    mixture = Mixture(chosen, chosen.train.mixture)
    torch.manual_seed(0)
    for iteration in range(1, 901):
        mixture([], iteration)
    assert 340 <= len(drawn) <= 460
    assert 0.68 <= drawn.count("rgb") / len(drawn) <= 0.82


def test_everything_that_fits_is_the_default(options):
    at_two, at_one = options("train:mixture={}"), options("train:mixture={}", *DENOISING)
    assert Mixture(at_two, at_two.train.mixture).names == ["blend", "rgb", "mixup", "cutmix", "cutmixup"]
    assert Mixture(at_one, at_one.train.mixture).names[-1] == "cutblur"


def test_a_run_with_cutblur_resumes_to_the_same_weights(tmp_path, options):
    words = (*DENOISING, "train:mixture={augs: {cutblur: 1, cutmix: 1}}")
    whole = training.train(options(*words), root=tmp_path / "a")
    training.train(options(*words, "train:total_iter=4"), root=tmp_path / "b")
    parts = training.train(options(*words), root=tmp_path / "b", auto_resume=True)
    plain = training.train(options(*DENOISING), root=tmp_path / "c")
    a, b, c = (
        torch.load(f / "models" / "net_g_latest.pth", weights_only=True)["params"]["conv_last.weight"]
        for f in (whole, parts, plain)
    )
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["train:mixture={augs: {cutblur: 1}}"], "augs.cutblur: needs LQ and GT of the same size"),
        (["train:mixture={augs: {rgb: 0}}"], "all weights are 0"),
        (["train:mixture={}", "train:mixup={}"], "leave train.mixup out"),
        (["train:mixture={augs: {cutout: 1}}"], "cutout"),
        (
            ["train:mixture={}", "model_type=PyramidModel", "network_g={type: LapSRN}"],
            "mixture: PyramidModel",
        ),
        (["train:mixup={}", "model_type=PyramidModel", "network_g={type: LapSRN}"], "mixup: PyramidModel"),
    ],
)
def test_refusals(tmp_path, options, overrides, told):
    with pytest.raises(OptionsError, match=told):
        Engine(options(*overrides), tmp_path)
