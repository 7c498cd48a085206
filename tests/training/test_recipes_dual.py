"""The closed loop of DRN: its losses, and adaptation to pictures whose ground truth nobody has."""

from __future__ import annotations

import json

import pytest
import torch

from hfsr import training
from hfsr.checkpoints import load_checkpoint
from hfsr.errors import DataError, OptionsError
from hfsr.training.engine import Engine
from hfsr.training.recipes._targets import at_scales
from hfsr.training.setup import build_batches
from hfsr.training.state import read_state

from .conftest import write_pictures
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
    folder = write_pictures(tmp_path / "unpaired", count=2, size=(12, 10))
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


def test_pictures_alone_have_no_primal_loss_and_are_led_back_all_the_way(dual, tmp_path):
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


def test_pictures_alone_are_drawn_beside_the_pairs(dual, tmp_path, unpaired):
    engine = Engine(dual(unpaired), tmp_path)
    batches = build_batches(engine.options, engine.accelerator)
    first, second = batches.at(0), batches.at(batches.global_batch)
    assert first["unpaired"].shape == (2, 3, 4, 4)  # as large as the pairs' LQ: gt_size 16 at scale 4
    assert torch.equal(first["unpaired"], batches.at(0)["unpaired"])
    assert not torch.equal(first["unpaired"], second["unpaired"])


@pytest.mark.parametrize(
    ("override", "error", "told"),
    [
        ("network_dual=~", OptionsError, "network_dual: is missing; DualModel needs it"),
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
