"""Keys that only other recipes read are refused by name, before anything is built."""

from __future__ import annotations

import re

import pytest

from hfsr.errors import OptionsError
from hfsr.registry import RECIPES
from hfsr.training.engine import Engine
from hfsr.training.recipes import PsnrRecipe
from hfsr.training.used_options import check_used_options, keys_without_effect

GAN = (
    "network_d={type: VGGStyleDiscriminator, num_feat: 4}",
    "train:gan_opt={type: GANLoss, gan_type: vanilla}",
    "train:optim_d={type: Adam, lr: 1e-4}",
)
UNPAIRED = "datasets:unpaired={type: SingleImageDataset, dataroot_lq: absent, batch_size_per_gpu: 1}"


def test_a_discriminator_without_an_adversarial_recipe_is_refused(tmp_path, options):
    with pytest.raises(OptionsError) as caught:
        Engine(options(*GAN, "train:net_d_iters=2"), tmp_path)
    assert str(caught.value) == (
        "train.gan_opt: SRModel does not use it; leave it out, or set model_type to ESRGANModel or SRGANModel"
    )


@pytest.mark.parametrize(
    ("model_type", "override", "told"),
    [
        ("SRModel", "train:dual_opt={type: L1Loss}", "train.dual_opt: SRModel does not use it; leave i"),
        ("SRModel", "train:adapt={lr: 0.1}", "set model_type to DualModel"),
        ("SRModel", "train:recursion={alpha: 0.5}", "set model_type to RecursiveModel"),
        ("SRModel", "train:ragan=sum", "set model_type to ESRGANModel"),
        ("SRModel", UNPAIRED, "datasets.unpaired: SRModel does not use it"),
        ("SRModel", "train:usm={gan: true}", "train.usm.gan: SRModel does not use it"),
        ("SRGANModel", "train:ragan=sum", "train.ragan: SRGANModel does not use it"),
        ("SRGANModel", "train:mixup={}", "train.mixup: SRGANModel does not use it"),
        ("PyramidModel", "train:luma_opt={type: L1Loss}", "train.luma_opt: PyramidModel does not use"),
        ("PyramidModel", GAN[1], "train.gan_opt: PyramidModel does not use it"),
        ("RecursiveModel", "train:texture_opt={type: TextureLoss, layer_weights: {}}", "train.texture_opt: "),
        ("DualModel", "train:perceptual_opt={type: LPIPSLoss}", "train.perceptual_opt: DualModel does not u"),
    ],
)
def test_what_another_recipe_uses_is_refused(options, model_type, override, told):
    with pytest.raises(OptionsError, match=re.escape(told)):
        check_used_options(options(f"model_type={model_type}", override))


@pytest.mark.parametrize("name", [name for name in RECIPES if RECIPES[name].__module__.startswith("hfsr.")])
def test_every_recipe_declares_what_it_reads(name):
    """Otherwise a key of another recipe would be ignored without a word."""
    assert RECIPES[name].options_read


def test_defaults_may_be_stated(options):
    check_used_options(options("train:net_d_iters=1", "train:net_d_init_iters=0", "train:gan_opt=~"))


def test_keys_of_a_network_that_is_not_trained_are_named(options):
    """One file often serves a first training by PSNR and a second one with a discriminator."""
    leftovers = (GAN[0], GAN[2], "train:net_d_iters=2", "network_dual={type: DRNDual}")
    given = options("path:pretrain_network_d=d.pth", "path:strict_load_d=true", *leftovers)
    check_used_options(given)
    keys = ("network_d", "network_dual", "path.pretrain_network_d", "train.net_d_iters", "train.optim_d")
    assert keys_without_effect(given) == [f"{key} (SRModel has no such network)" for key in keys]


def test_a_recipe_that_declares_nothing_may_read_anything(options, monkeypatch):
    class Plugin(PsnrRecipe):  # it inherits a declaration that is not its own
        pass

    monkeypatch.setitem(RECIPES._items, "Plugin", Plugin)
    check_used_options(options("model_type=Plugin", *GAN))


def test_adaptation_without_images_to_adapt_to_is_refused(tmp_path, options):
    words = (
        *("model_type=DualModel", "scale=4", "network_g={type: DRN, num_feat: 4, num_block: 1}"),
        *("network_dual={type: DRNDual, num_feat: 4, upscale: 4}", "train:dual_opt={type: L1Loss}"),
        *("train:optim_dual={type: Adam, lr: 1e-4}", "train:adapt={}"),
    )
    with pytest.raises(OptionsError, match=r"train.adapt: needs images to adapt to; add datasets.unpaired"):
        Engine(options(*words), tmp_path)
