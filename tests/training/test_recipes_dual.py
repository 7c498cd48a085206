"""The closed loop of DRN: its losses, and adaptation to images whose ground truth nobody has."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from hfsr import training
from hfsr.checkpoints import load_checkpoint
from hfsr.errors import DataError, OptionsError
from hfsr.training.engine import Engine
from hfsr.training.recipes.kernel_estimation import Degradation, Matching, autocorrelation
from hfsr.training.recipes.multiscale_targets import at_scales
from hfsr.training.setup import build_batches
from hfsr.training.state.training_state import read_state

from .conftest import write_images
from .test_recipes import curve

WORDS = (
    "model_type=DualModel",
    "scale=4",
    "network_g={type: DRN, num_feat: 4, num_block: 1, squeeze_factor: 4}",
    "network_dual={type: DRNDual, num_feat: 4, upscale: 4}",
    "train:optim_dual={type: Adam, lr: 1e-3}",
    "train:dual_opt={type: L1Loss, loss_weight: 0.1}",
)


@pytest.fixture
def dual(options):
    return lambda *overrides: options(*WORDS, *overrides)


@pytest.fixture
def unpaired(tmp_path):
    folder = write_images(tmp_path / "unpaired", count=2, size=(12, 10))
    section = {"type": "SingleImageDataset", "dataroot_lq": str(folder), "batch_size_per_gpu": 2}
    return f"datasets:unpaired={json.dumps(section)}"


def built(options, tmp_path):
    engine = Engine(options, tmp_path)
    engine.recipe.prepare(engine.accelerator)
    return engine.recipe


def test_losses_of_pairs_are_the_authors(dual, tmp_path):
    recipe = built(dual(), tmp_path)
    primal, back = recipe.networks["net_g"], recipe.networks["net_dual"].nets
    lq, gt = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 16, 16)
    losses = recipe._losses({"lq": lq, "gt": gt})
    one, two, four = primal.pyramid(lq)
    middle = at_scales(gt, [2], 4)[0]
    l_pix = (one - lq).abs().mean() + (two - middle).abs().mean() + (four - gt).abs().mean()
    l_dual = (back[0](two) - lq).abs().mean() + (back[1](four) - middle).abs().mean()
    assert torch.allclose(losses["l_pix"], l_pix)
    assert torch.allclose(losses["l_dual"], 0.1 * l_dual)
    assert losses.keys() == {"l_pix", "l_dual"}


def test_images_alone_have_no_primal_loss_and_are_led_back_all_the_way(dual, tmp_path):
    recipe = built(dual(), tmp_path)
    primal, back = recipe.networks["net_g"], recipe.networks["net_dual"].nets
    lq, gt, alone = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 16, 16), torch.rand(1, 3, 4, 4)
    plain, losses = (
        recipe._losses({"lq": lq, "gt": gt}),
        recipe._losses({"lq": lq, "gt": gt, "unpaired": alone}),
    )
    for name, value in plain.items():
        assert torch.allclose(losses[name], value)
    _, two, four = primal.pyramid(alone)
    expected = (back[0](two) - alone).abs().mean() + (back[0](back[1](four)) - alone).abs().mean()
    assert torch.allclose(losses["l_unpaired"], 0.1 * expected)


def test_both_learn_and_a_run_goes_on_exactly(dual, tmp_path, unpaired):
    chosen = dual(unpaired)
    folder = training.train(chosen, root=tmp_path)
    assert all(float(curve(folder)[-1][name]) > 0 for name in ("l_pix", "l_dual", "l_unpaired"))
    assert type(load_checkpoint(folder / "models" / "net_dual_6.pth")).__name__ == "DRNDual"
    first, whole = (read_state(folder / "training_states" / f"{i}.state") for i in (2, 6))
    for name in ("net_g", "net_dual"):
        key = next(key for key in whole["networks"][name] if key.endswith("0.weight"))
        assert not torch.equal(first["networks"][name][key], whole["networks"][name][key])
    (folder / "training_states" / "6.state").unlink()
    training.train(chosen, auto_resume=True, root=tmp_path)
    again = read_state(folder / "training_states" / "6.state")
    for name in ("net_g", "net_dual"):
        for key, tensor in whole["networks"][name].items():
            assert torch.equal(tensor, again["networks"][name][key]), (name, key)


def test_images_alone_are_drawn_beside_the_pairs(dual, tmp_path, unpaired):
    engine = Engine(dual(unpaired), tmp_path)
    batches = build_batches(engine.options, engine.accelerator)
    first, second = batches.at(0), batches.at(batches.global_batch)
    assert first["unpaired"].shape == (2, 3, 4, 4)  # as large as the pairs' LQ: gt_size 16 at scale 4
    assert torch.equal(first["unpaired"], batches.at(0)["unpaired"])
    assert not torch.equal(first["unpaired"], second["unpaired"])


@pytest.mark.parametrize(
    ("override", "error", "told"),
    [
        ("network_dual=~", OptionsError, "network_dual: is missing; DualModel requires it"),
        ("train:dual_opt=~", OptionsError, r"train\.dual_opt: is missing"),
        (
            "network_g={type: EDSR, num_feat: 4, num_block: 1}",
            OptionsError,
            "a pyramid, as DRN, not EDSR",
        ),
        (
            "datasets:unpaired={type: SingleImageDataset, dataroot_lq: absent}",
            DataError,
            "datasets:unpaired:dataroot_lq: there is no folder 'absent'",
        ),
    ],
)
def test_what_is_missing_is_named(dual, tmp_path, override, error, told):
    with pytest.raises(error, match=told):
        training.train(dual(override), root=tmp_path)


def leaves(rng, side=96):
    """An image of overlapping discs and boxes: edges of all sizes, as photographs have them. RGB uint8."""
    rows, columns = np.mgrid[:side, :side]
    image = np.full((side, side, 3), rng.random(3))
    for _ in range(70):
        radius, (top, left) = 2 + 25 * rng.random() ** 2.5, rng.random(2) * side
        disc = (rows - top) ** 2 + (columns - left) ** 2 < radius**2
        box = (abs(rows - top) < radius) & (abs(columns - left) < 0.6 * radius)
        image[disc if rng.random() < 0.5 else box] = rng.random(3)
    return (image * 255).round().astype(np.uint8)


def gaussian(across, down=None, side=21):
    places = torch.arange(side) - (side - 1) / 2
    weights = [torch.exp(-0.5 * (places / width) ** 2) for width in (down or across, across)]
    kernel = weights[0][:, None] * weights[1]
    return kernel / kernel.sum()


def degraded(images, kernel, scale=2):
    """Blurred, then the mean of each `scale` x `scale` px: another way to LR than any the recipe knows."""
    x = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()
    padded = F.pad(x, (len(kernel) // 2,) * 4, mode="reflect")
    blurred = F.conv2d(padded, kernel[None, None].expand(3, 1, -1, -1), groups=3)
    return (F.avg_pool2d(blurred, scale) / 255).clamp(0, 1)


def test_the_statistics_mind_neither_contrast_nor_brightness():
    x = torch.rand(2, 3, 16, 16)
    assert torch.allclose(autocorrelation(0.3 * x + 0.5), autocorrelation(x), atol=1e-4)
    smooth = F.avg_pool2d(x, 3, 1, 1)
    assert autocorrelation(smooth)[0] > autocorrelation(x)[0] + 0.2


@pytest.mark.parametrize("widths", [(1.0, 1.0), (1.5, 1.5), (2.0, 1.0)])
def test_the_kernel_of_other_images_is_found(widths):
    rng = np.random.default_rng(1)
    gt = torch.from_numpy(np.stack([leaves(rng) for _ in range(6)])).permute(0, 3, 1, 2) / 255
    lq = degraded([leaves(rng) for _ in range(6)], gaussian(*widths))
    sought = Degradation(2)
    matching, optimizer = Matching(sought), torch.optim.Adam(sought.parameters(), lr=0.05)
    for _ in range(80):
        optimizer.zero_grad()
        matching(gt, lq).backward()
        optimizer.step()
    kernel = sought.kernel().detach()
    assert kernel.sum().item() == pytest.approx(1)
    places = torch.arange(len(kernel)) - (len(kernel) - 1) / 2
    spreads = [(kernel.sum(axis) * places**2).sum().sqrt().item() for axis in (0, 1)]
    # The mean over 2 px adds a variance of 1/4.
    assert spreads == pytest.approx([(width**2 + 0.25) ** 0.5 for width in widths], rel=0.2)


class Adaptation:
    """Pairs by bicubic reduction, and LR images by another kernel, of which no GT is on the disk.

    Others by that kernel are held out, with their GT, to measure.
    """

    def __init__(self, root):
        self.root = root
        rng, kernel = np.random.default_rng(0), gaussian(1.4)
        self.gt = self.save("gt", [leaves(rng) for _ in range(8)])
        self.unpaired = self.save("unpaired", self.reduced([leaves(rng) for _ in range(8)], kernel))
        held_out = [leaves(rng) for _ in range(4)]
        self.held_out = (
            self.save("held_out", held_out),
            self.save("held_out_lq", self.reduced(held_out, kernel)),
        )

    def save(self, name, images):
        folder = self.root / name
        folder.mkdir()
        for number, image in enumerate(images):
            Image.fromarray(image).save(folder / f"{number}.png")
        return str(folder)

    def reduced(self, images, kernel):
        return list((degraded(images, kernel) * 255).round().byte().permute(0, 2, 3, 1).numpy())

    def train(self, options, name, iterations, rate, *overrides):
        """Returns the run's folder and its gain in dB PSNR-Y on the held-out images."""
        gt, lq = self.held_out
        pairs = {"type": "PairedImageDataset", "dataroot_gt": self.gt, "gt_size": 32, "batch_size_per_gpu": 6}
        val = {"name": "held_out", "type": "PairedImageDataset", "dataroot_gt": gt, "dataroot_lq": lq}
        chosen = options(
            f"name={name}",
            "scale=2",
            "network_g={type: DRN, num_feat: 8, num_block: 1, squeeze_factor: 8}",
            "network_dual={type: DRNDual, num_feat: 4, upscale: 2}",
            f"datasets={json.dumps({'train': pairs, 'val': val})}",
            "train:ema_decay=0",
            f"train:optim_g={{type: Adam, lr: {rate}}}",
            f"train:optim_dual={{type: Adam, lr: {rate}}}",
            f"train:scheduler={{type: TrueCosineAnnealingLR, T_max: {iterations}}}",
            f"train:total_iter={iterations}",
            "val:val_freq=10000",
            "logger:save_checkpoint_freq=10000",
            "logger:print_freq=50",
            *overrides,
        )
        folder = training.train(chosen, root=self.root)
        measured = [float(row["held_out/psnr_y"]) for row in curve(folder) if row["held_out/psnr_y"]]
        return folder, measured[-1] - measured[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after", "gain", "beyond"),
    [(120, 120, 0.3, 0.08), (300, 400, 0.4, 0.3)],
)
def test_adaptation_to_another_kernel_gains(dual, tmp_path, before, after, gain, beyond):
    task = Adaptation(tmp_path)
    unadapted, _ = task.train(dual, "unadapted", before, 3e-3)
    start = [
        f"path:pretrain_network_g={unadapted / 'models' / 'net_g_latest.pth'}",
        f"path:pretrain_network_dual={unadapted / 'models' / 'net_dual_latest.pth'}",
    ]
    alone = {"type": "SingleImageDataset", "dataroot_lq": task.unpaired, "batch_size_per_gpu": 6}
    _, longer = task.train(dual, "longer", after, 5e-3, *start)
    _, adapted = task.train(
        dual,
        "adapted",
        after,
        5e-3,
        *start,
        f"datasets:unpaired={json.dumps(alone)}",
        "train:adapt={lr: 0.05, start_iter: 30}",
    )
    assert adapted >= gain
    assert adapted >= longer + beyond  # what as many iterations on the pairs alone give


def test_what_was_found_of_the_kernel_goes_on_exactly(dual, tmp_path, unpaired):
    chosen = dual(unpaired, "train:adapt={start_iter: 3}", "datasets:train:gt_size=32")
    folder = training.train(chosen, root=tmp_path)
    whole = read_state(folder / "training_states" / "6.state")
    assert whole["networks"]["net_kernel"]["batches"] == 6
    losses = [float(row["l_made"]) for row in curve(folder) if row["l_made"]]
    assert [loss > 0 for loss in losses] == [False] * 3 + [True] * 3
    (folder / "training_states" / "6.state").unlink()
    training.train(chosen, auto_resume=True, root=tmp_path)
    again = read_state(folder / "training_states" / "6.state")
    for name, network in whole["networks"].items():
        for key, tensor in network.items():
            assert torch.equal(tensor, again["networks"][name][key]), (name, key)
