"""A run that undoes a degradation: seen in training, measured in validation, by evaluate as well."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from hfsr import training
from hfsr.degradations import GaussianNoise, Seeded
from hfsr.evaluation import evaluate, find_pairs
from hfsr.training.validation.validator import Validator

NOISY = (
    "scale=1",
    "network_g={type: EDSR, num_feat: 4, num_block: 1, upscale: 1}",
    "datasets:train:degradation={type: GaussianNoise, sigma: [0, 50]}",
    "datasets:val:degradation={type: GaussianNoise, sigma: 40}",
)


class Same(nn.Module):
    scale = 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_validation_measures_what_evaluate_measures(options, images):
    """The very same noise: the same seed, drawn by the images' names."""
    (measured,) = Validator(options(*NOISY, "datasets:val:seed=3")).measure(Same())
    degradation = Seeded(GaussianNoise(sigma=40), 3)
    report = evaluate(lambda x: x, find_pairs(images), scale=1, degradation=degradation)
    assert measured.report.per_image == report.per_image
    assert 15 < measured.report.psnr_rgb < 18
    assert measured.report.protocol["sigma"] == 40
    assert measured.report.protocol["seed"] == 3
    (other,) = Validator(options(*NOISY, "datasets:val:seed=4")).measure(Same())
    assert other.report.psnr_rgb != measured.report.psnr_rgb


@pytest.mark.slow
def test_a_run_against_noise_repeats_itself(options, tmp_path):
    runs = [training.train(options(*NOISY, f"name=n{k}"), root=tmp_path) for k in range(2)]
    first, second = ((run / "models" / "net_g_latest" / "model.safetensors").read_bytes() for run in runs)
    assert first == second
    config = json.loads((runs[0] / "models" / "net_g_latest" / "config.json").read_text())
    assert config["task"] == "denoising"


@pytest.mark.parametrize(
    "steps",
    [
        "[{type: GaussianBlur, kernel_size: 7, sigma: 1.6}, {type: Subsample}]",
        "[{type: Bicubic}, {type: PoissonNoise}, {type: Jpeg, quality: [30, 90]}]",
        "{type: SecondOrder}",
    ],
)
def test_other_chains_train_and_validate(options, tmp_path, steps):
    words = [f"datasets:{phase}:degradation={steps}" for phase in ("train", "val")]
    run = training.train(options(*words, "train:total_iter=2"), root=tmp_path)
    assert (run / "models" / "net_g_latest" / "model.safetensors").is_file()


def test_batches_of_several_scales_train_a_network_for_all_scales(options, tmp_path):
    words = ("datasets:train:scales=[2, 3]", "network_g={type: VDSR, num_feat: 4, num_block: 1, upscale: 2}")
    run = training.train(options(*words, "train:total_iter=3"), root=tmp_path)
    config = json.loads((run / "models" / "net_g_latest" / "config.json").read_text())
    assert config["model_args"]["upscale"] == 2
