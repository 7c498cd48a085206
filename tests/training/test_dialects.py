"""Runs from option files as other programs write them."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from hfsr import training
from hfsr.errors import OptionsError
from hfsr.training import engine as engine_module
from hfsr.training.recipes.gan import GanRecipe
from hfsr.training.recipes.psnr import PsnrRecipe

from .conftest import tiny_options, write_images
from .test_engine import curve


def textured(folder, count=3, side=120):
    folder.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[:side, :side]
    for number in range(count):
        waves = [128 + 90 * np.sin(x / (6 + number + k)) * np.cos(y / 8) for k in range(3)]
        Image.fromarray(np.stack(waves, -1).astype(np.uint8)).save(folder / f"{number}.png")
    return folder


def write(tmp_path, raw):
    path = tmp_path / "theirs.yml"
    path.write_text(yaml.safe_dump(raw))
    return path


def real_esrgan(tmp_path, **top):
    """A file as Real-ESRGAN has them, tiny."""
    images = textured(tmp_path / "images")
    names = "".join(f"{path.name}\n" for path in sorted(images.iterdir()))
    (tmp_path / "list.txt").write_text(names)
    raw = tiny_options(images)
    del raw["datasets"]["val"], raw["val"]
    raw["datasets"]["train"] = {
        "name": "DF2K",
        "type": "RealESRGANDataset",
        "dataroot_gt": str(images),
        "meta_info": str(tmp_path / "list.txt"),
        "io_backend": {"type": "disk"},
        "blur_kernel_size": 21,
        "kernel_list": ["iso", "aniso"],
        "kernel_prob": [0.5, 0.5],
        "sinc_prob": 0.1,
        "blur_sigma": [0.2, 3],
        "blur_sigma2": [0.2, 1.5],
        "final_sinc_prob": 0.8,
        "gt_size": 400,
        "use_hflip": True,
        "use_rot": False,
        "batch_size_per_gpu": 2,
        "num_worker_per_gpu": 2,
    }
    raw |= {
        "model_type": "RealESRNetModel",
        "gt_usm": True,
        "resize_prob": [0.2, 0.7, 0.1],
        "resize_range": [0.15, 1.5],
        "noise_range": [1, 30],
        "poisson_scale_range": [0.05, 3],
        "jpeg_range": [30, 95],
        "second_blur_prob": 0.8,
        "gt_size": 16,
        "queue_size": 4,
        **top,
    }
    raw["train"] |= {"scheduler": {"type": "MultiStepLR", "milestones": [400], "gamma": 0.5}}
    return raw


def batches_seen(monkeypatch, recipe):
    """What a recipe is given, iteration by iteration."""
    seen = []
    step = recipe.step

    def recorded(self, batches, iteration):
        seen.append(batches)
        return step(self, batches, iteration)

    monkeypatch.setattr(recipe, "step", recorded)
    return seen


def test_real_esrnet_trains_on_sharpened_images_from_a_pool_and_resumes(tmp_path, monkeypatch):
    seen = batches_seen(monkeypatch, PsnrRecipe)
    path = write(tmp_path, real_esrgan(tmp_path))
    first = training.train(training.load_options(path), root=tmp_path / "a")
    losses = [row["l_pix"] for row in curve(first)]
    assert len(losses) == 6
    for (batch,) in seen:
        assert batch["lq"].shape == (2, 3, 8, 8)
        assert (batch["gt_usm"] - batch["gt"]).abs().max() > 0.01
    training.train(training.load_options(path, ["train:total_iter=4"]), root=tmp_path / "b")
    again = training.train(training.load_options(path), root=tmp_path / "b", auto_resume=True)
    assert [row["l_pix"] for row in curve(again)] == losses


def gan_sections(raw):
    raw["network_d"] = {"type": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 4, "skip_connection": True}
    raw["train"] |= {
        "optim_d": {"type": "Adam", "lr": 1e-4},
        "gan_opt": {"type": "GANLoss", "gan_type": "vanilla", "loss_weight": 0.1},
    }
    raw["datasets"]["train"]["gt_size"] = 400


def test_real_esrgan_compares_each_loss_with_its_images(tmp_path, monkeypatch):
    flags = {"l1_gt_usm": True, "percep_gt_usm": True, "gan_gt_usm": False}
    raw = real_esrgan(tmp_path, model_type="RealESRGANModel", **flags)
    del raw["gt_usm"]
    gan_sections(raw)
    compared, judged = [], []
    content, real = engine_module.RECIPES["SRGANModel"], GanRecipe._real

    def loss(self, sr, gt, gt_usm=None):
        found = type(self)._before(self, sr, gt, gt_usm)
        compared.append((found["l_g_pix"].item(), (sr - gt_usm).abs().mean().item()))
        return found

    from hfsr.training.recipes.content_losses import Content

    monkeypatch.setattr(Content, "_before", Content.forward, raising=False)
    monkeypatch.setattr(Content, "forward", loss)
    monkeypatch.setattr(
        content,
        "_real",
        lambda self, batch: judged.append(torch.equal(real(self, batch), batch["gt"])) or batch["gt"],
    )
    training.train(training.load_options(write(tmp_path, raw)), root=tmp_path)
    assert all(ours == pytest.approx(expected) for ours, expected in compared)
    assert len(compared) == 6
    assert all(judged)


def test_real_esrgan_finetunes_on_given_pairs(tmp_path):
    images = textured(tmp_path / "images")
    small = tmp_path / "images" / "small"
    small.mkdir()
    lines = []
    for path in sorted(images.glob("*.png")):
        Image.open(path).resize((60, 60)).save(small / path.name)
        lines.append(f"{path.name}, small/{path.name}")
    (tmp_path / "pairs.txt").write_text("\n".join(lines) + "\n")
    raw = tiny_options(images)
    del raw["datasets"]["val"], raw["val"]
    raw["datasets"]["train"] = {
        "type": "RealESRGANPairedDataset",
        "dataroot_gt": str(images),
        "dataroot_lq": str(images),
        "meta_info": str(tmp_path / "pairs.txt"),
        "batch_size_per_gpu": 2,
    }
    gan_sections(raw)
    raw["datasets"]["train"]["gt_size"] = 16
    raw |= {
        "model_type": "RealESRGANModel",
        "high_order_degradation": False,
        "l1_gt_usm": True,
        "percep_gt_usm": True,
        "gan_gt_usm": True,
    }
    folder = training.train(training.load_options(write(tmp_path, raw)), root=tmp_path)
    assert {"l_g_pix", "l_g_gan", "l_d_real"} <= curve(folder)[-1].keys()


def test_restormers_files_train_in_stages(tmp_path, monkeypatch):
    seen = batches_seen(monkeypatch, PsnrRecipe)
    images = write_images(tmp_path / "images")
    raw = tiny_options(images)
    raw["model_type"] = "ImageCleanModel"
    raw["datasets"]["train"] |= {
        "type": "Dataset_PairedImage",
        "geometric_augs": True,
        "gt_size": 24,
        "gt_sizes": [12, 16, 24],
        "mini_batch_sizes": [4, 2, 1],
        "iters": [2, 3, 1],
    }
    raw["datasets"]["val"]["type"] = "Dataset_PairedImage"
    raw["train"] |= {
        "use_grad_clip": True,
        "mixing_augs": {"mixup": True, "mixup_beta": 1.2, "use_identity": True},
        "scheduler": {
            "type": "CosineAnnealingRestartCyclicLR",
            "periods": [2, 4],
            "restart_weights": [1, 1],
            "eta_mins": [3e-4, 1e-6],
        },
    }
    raw["val"] |= {"window_size": 8, "use_image": False, "max_minibatch": 8, "rgb2bgr": True}
    training.train(training.load_options(write(tmp_path, raw)), root=tmp_path)
    shapes = [tuple(batch["gt"].shape) for (batch,) in seen]
    assert shapes == [*[(4, 3, 12, 12)] * 2, *[(2, 3, 16, 16)] * 3, (1, 3, 24, 24)]


def test_half_of_the_batches_are_mixed(tmp_path, options, monkeypatch):
    from hfsr.training.recipes import psnr

    mixed = []
    monkeypatch.setattr(psnr, "mixed_up", lambda images, alpha: mixed.append(alpha) or images)
    training.train(
        options("train:mixup={prob: 0.5}", "train:total_iter=40", "train:ema_decay=0"), root=tmp_path
    )
    assert 10 <= len(mixed) <= 30


def test_gradients_are_clipped_as_there(tmp_path, options, monkeypatch):
    norms = []
    clip = torch.nn.utils.clip_grad_norm_
    monkeypatch.setattr(
        torch.nn.utils,
        "clip_grad_norm_",
        lambda parameters, norm: norms.append(norm) or clip(parameters, norm),
    )
    training.train(options("model_type=ImageRestorationModel", "train:total_iter=2"), root=tmp_path)
    assert norms == [0.01, 0.01]


def test_what_has_no_effect_is_said(tmp_path, options, caplog):
    with caplog.at_level(logging.INFO, logger="hfsr"):
        training.train(options("val:grids=true", "val:use_image=false", "train:total_iter=1"), root=tmp_path)
    (told,) = (r.getMessage() for r in caplog.records if "without effect" in r.getMessage())
    assert told.endswith(
        "val.grids (images are restored whole), val.use_image (metrics are measured on images of 8 bit)"
    )


def test_ldl_weighs_the_pixels_that_are_likely_artifacts(tmp_path):
    raw = tiny_options(textured(tmp_path / "images"))
    raw["model_type"] = "SRGANModel"
    gan_sections(raw)
    raw["datasets"]["train"]["gt_size"] = 16
    raw["train"]["ldl_opt"] = {"type": "L1Loss", "loss_weight": 1.0}
    folder = training.train(training.load_options(write(tmp_path, raw)), root=tmp_path)
    assert all(float(row["l_g_ldl"]) >= 0 for row in curve(folder) if row["l_g_ldl"])
    raw["train"]["ema_decay"] = 0
    with pytest.raises(
        OptionsError, match=r"train.ldl_opt: compares with the averaged network; set train.ema_decay"
    ):
        training.train(training.load_options(write(tmp_path, raw)), root=tmp_path)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["train:ldl_opt={type: L1Loss}"], "train.ldl_opt: SRModel does not use it"),
        (["train:usm={}"], "train.usm: needs sharpened images; set datasets.train.sharpen_gt: true"),
    ],
)
def test_sections_that_are_not_used_are_refused(tmp_path, options, overrides, told):
    with pytest.raises(OptionsError, match=told):
        training.train(options(*overrides), root=tmp_path)


def test_the_loss_of_the_spectra_is_added(tmp_path, options):
    chosen = options("train:fft_opt={type: FFTLoss, loss_weight: 0.1}")
    row = curve(training.train(chosen, root=tmp_path))[-1]
    assert float(row["l_fft"]) > 0
    assert float(row["l_pix"]) > 0


def test_the_copy_of_the_file_is_in_hfsrs_keys(tmp_path):
    path = write(tmp_path, real_esrgan(tmp_path))
    folder = training.train(
        training.load_options(path, ["train:total_iter=1"]), option_file=path, root=tmp_path
    )
    text = (folder / path.name).read_text()
    assert text.startswith("# In hfsr's keys; the file was written for another program.\n")
    copied = yaml.safe_load(text)
    assert copied["model_type"] == "SRModel"
    assert copied["datasets"]["train"]["degradation"]["type"] == "SecondOrder"
    options = training.load_options(folder / path.name)
    assert not options.is_translated
    assert options.model_dump() == training.load_options(path, ["train:total_iter=1"]).model_dump()
