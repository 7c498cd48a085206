"""Tests of zero-shot super-resolution: quality, training rules, inference in bands, image types."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import hfsr
from hfsr.archs.zssr import ZSSRNet
from hfsr.degradations import bicubic_down, bicubic_up, kernel_down
from hfsr.errors import HfsrError
from hfsr.images import from_rgb_float, to_rgb_float
from hfsr.metrics import psnr
from hfsr.priors import FitProgress
from hfsr.priors.resampling import Resampler
from hfsr.priors.zeroshot import ZeroShotConfig
from hfsr.priors.zeroshot.argument_checks import gradual_resamplers
from hfsr.priors.zeroshot.kernel_estimation import gaussian_kernel
from hfsr.priors.zeroshot.self_training import FatherSampler, has_plateaued, rotate_flip, undo_rotate_flip
from hfsr.priors.zeroshot.tiled_inference import BandedUpscaler, _median
from hfsr.samples import SAMPLE

QUICK = ZeroShotConfig(iterations=2, crop=24)
SHORT = ZeroShotConfig(iterations=200, crop=48)
"""Short training; the default is 3000 iterations on crops of 96 px."""


def sharp(top: int, left: int) -> np.ndarray:
    """Returns a crop of the sample image, RGB (128, 128, 3)."""
    return np.array(Image.open(SAMPLE).convert("RGB"))[top : top + 128, left : left + 128]


PYLONS, PINES = sharp(300, 560), sharp(330, 20)


def only_back_projection(lq: np.ndarray, kernel: np.ndarray | None = None) -> np.ndarray:
    """Returns the back-projected bicubic upsampling: the result of an untrained network."""
    network = ZSSRNet(num_feat=8, num_conv=2)
    torch.nn.init.zeros_(network.convs[-1].weight)
    upscaler = BandedUpscaler(network, Resampler(2, 2, kernel), 1, True, "fp32", torch.device("cpu"), 1e12)
    sr = torch.empty(1, 3, 2 * lq.shape[0], 2 * lq.shape[1])
    for _ in upscaler.steps(to_rgb_float(lq), sr):
        pass
    return from_rgb_float(sr)


@pytest.mark.parametrize("gt", [PYLONS, PINES], ids=["pylons", "pines"])
def test_beats_bicubic_by_one_db(gt) -> None:
    lq = bicubic_down(gt, 2)
    found, plain, back_projected = (
        psnr(sr, gt, crop=2)
        for sr in (hfsr.ZeroShot(scale=2, config=SHORT)(lq), bicubic_up(lq, 2), only_back_projection(lq))
    )
    assert found >= plain + 1.0
    assert back_projected >= plain + 0.5
    assert found >= back_projected + 0.3  # the gain from training


@pytest.mark.slow
def test_beats_bicubic_by_more_with_the_true_kernel() -> None:
    kernel = gaussian_kernel((1.9, 1.1, 0.7), 13)
    lq = kernel_down(PINES, kernel, 2)
    found, plain, back_projected = (
        psnr(sr, PINES, crop=2)
        for sr in (
            hfsr.ZeroShot(scale=2, kernel=kernel, config=SHORT)(lq),
            bicubic_up(lq, 2),
            only_back_projection(lq, kernel),
        )
    )
    assert found >= plain + 1.5
    assert found >= back_projected + 0.3


def noisy(lq: np.ndarray, deviation: float) -> np.ndarray:
    values = lq + np.random.default_rng(0).normal(0, deviation, lq.shape)
    return values.round().clip(0, 255).astype(np.uint8)


def test_known_noise_is_not_amplified() -> None:
    """Without `noise` the result is 4 dB below bicubic: noise is learned, and restored by back-projection."""
    lq = noisy(bicubic_down(PINES, 2), 10)
    sr = hfsr.ZeroShot(noise=10, config=SHORT)(lq)
    assert psnr(sr, PINES, crop=2) >= psnr(bicubic_up(lq, 2), PINES, crop=2) + 2


@pytest.mark.slow
def test_real_mode_with_unknown_kernel_and_noise() -> None:
    """Without `real` the result is 2 dB below bicubic."""
    lq = noisy(kernel_down(PINES, gaussian_kernel((1.2, 1.2, 0.0), 11), 2), 4)
    sr = hfsr.ZeroShot(real=True, config=SHORT)(lq)
    assert psnr(sr, PINES, crop=2) >= psnr(bicubic_up(lq, 2), PINES, crop=2) + 0.4


@pytest.mark.slow
def test_gradual_beats_a_single_step() -> None:
    lq, config = bicubic_down(PYLONS, 2), ZeroShotConfig(iterations=50, crop=48)
    once, gradually = (hfsr.ZeroShot(gradual=g, config=config)(lq) for g in (False, True))
    assert psnr(gradually, PYLONS, crop=2) >= psnr(once, PYLONS, crop=2) + 0.3


# Training


def test_plateau_detection() -> None:
    assert not has_plateaued([5.0, 4.0, 3.1, 2.0, 0.9], 1.5)
    assert has_plateaued([1.0, 1.1, 0.9, 1.05, 0.98], 1.5)
    assert has_plateaued([1.0, 1.3, 1.5, 1.6], 1.5)
    assert not has_plateaued([9.0, 1.0], 1.5)


def test_training_stops_on_a_plateau() -> None:
    flat = np.full((40, 40, 3), 128, np.uint8)
    config = ZeroShotConfig(iterations=500, crop=16, error_window=20, measure_interval=5, check_interval=5)
    seen: list[FitProgress] = []
    result = hfsr.ZeroShot(config=config, dtype="fp32")(flat, progress=seen.append)
    learned = [step for step in seen if step.stage == "learning"]
    assert learned[-1].done < 500
    assert learned[-1].total == learned[-1].done
    assert all(step.loss is not None and step.seconds_left is not None for step in learned)
    assert [step.done for step in seen if step.stage == "upscaling"] == list(range(1, 9))
    assert np.abs(result.astype(int) - 128).max() <= 8


def test_fathers_are_transformed_copies_of_the_image() -> None:
    x = torch.rand(1, 3, 50, 70)
    whole = {tuple(rotate_flip(x, k).flatten().tolist()) for k in range(8)}
    for shares, expected in ((dict(identity_share=1.0), 1), (dict(identity_share=0.0, rigid_share=1.0), 8)):
        sampler = FatherSampler([x], ZeroShotConfig(crop=70, **shares), np.random.default_rng(0))
        drawn = {tuple(sampler.sample().flatten().tolist()) for _ in range(60)}
        assert drawn <= whole
        assert len(drawn) == expected
    sampler = FatherSampler(
        [x], ZeroShotConfig(crop=32, identity_share=0.0, rigid_share=0.0), np.random.default_rng(0)
    )
    drawn_sizes = [tuple(sampler.sample().shape[2:]) for _ in range(60)]
    assert max(max(size) for size in drawn_sizes) <= 32
    assert min(min(size) for size in drawn_sizes) >= 12


def test_warped_father_contains_only_image_content() -> None:
    """An affine transform of a linear ramp is a linear ramp, unless it samples beyond the edges."""
    y, x = torch.meshgrid(torch.linspace(0.2, 0.8, 60), torch.linspace(0.2, 0.8, 60), indexing="ij")
    sampler = FatherSampler(
        [torch.stack([y, x, (x + y) / 2])[None]],
        ZeroShotConfig(identity_share=0.0, rigid_share=0.0),
        np.random.default_rng(3),
    )
    for _ in range(20):
        father = sampler.sample()[..., 3:-3, 3:-3]
        second = father.diff(n=2, dim=2).abs().max(), father.diff(n=2, dim=3).abs().max()
        assert max(second) < 4e-3  # a mirrored edge has ten times that
        torch.testing.assert_close(father[:, 2], father[:, :2].mean(1), rtol=0, atol=1e-4)


@pytest.mark.parametrize("which", range(8))
def test_undo_rotate_flip(which) -> None:
    x = torch.rand(1, 2, 3, 5)
    assert torch.equal(undo_rotate_flip(rotate_flip(x, which), which), x)


# Inference in bands


def make_upscaler(resampler: Resampler, memory: float) -> BandedUpscaler:
    torch.manual_seed(0)
    network = ZSSRNet(num_feat=8, num_conv=4)
    for p in network.parameters():
        p.data *= 4  # so that the ensemble members differ
    return BandedUpscaler(network, resampler, 8, True, "fp32", torch.device("cpu"), memory)


@pytest.mark.parametrize("scale", [(2.0, 2.0), (1.0, 1.5)])
@pytest.mark.parametrize("kernel", [None, gaussian_kernel((1.0, 0.6, 0.0), 5)])
def test_bands_match_the_whole_image(scale, kernel) -> None:
    resampler = Resampler(*scale, kernel)
    lq = torch.rand(1, 3, 420, 6)
    size = resampler.sr_size(420, 6)
    whole, cut, torn = (torch.empty(1, 3, *size) for _ in range(3))
    large = make_upscaler(resampler, 1e12)
    assert len(large.bands(420, 6)) == 1
    for _ in large.steps(lq, whole):
        pass
    small = make_upscaler(resampler, (large.halo_rows() * 2 + 70) * large.row_bytes(6))
    assert len(small.bands(420, 6)) == 6
    for _ in small.steps(lq, cut):
        pass
    torch.testing.assert_close(cut, whole, rtol=0, atol=1e-5)
    # Without a halo the band edges are visible.
    object.__setattr__(small, "halo_rows", lambda: 2)
    for _ in small.steps(lq, torn):
        pass
    assert (torn - whole).abs().max() > 1e-3


def test_downsampled_result_equals_the_input() -> None:
    resampler = Resampler(2, 2)
    lq = resampler.downsample(
        torch.from_numpy(PINES.astype(np.float32) / 255).permute(2, 0, 1)[None], (64, 64)
    )
    result = torch.empty(1, 3, 128, 128)
    for _ in make_upscaler(resampler, 1e12).steps(lq, result):
        pass
    assert (resampler.downsample(result, (64, 64)) - lq).abs().mean() < 1e-3


# Image types and files


def test_result_keeps_dtype_and_alpha(tmp_path) -> None:
    shot = hfsr.ZeroShot(scale=(1.5, 2), config=QUICK)
    rng = np.random.default_rng(0)
    for dtype, shape in ((np.uint8, (20, 24, 3)), (np.uint16, (20, 24)), (np.float32, (20, 24, 3))):
        pixels = rng.random(shape) * (1 if dtype is np.float32 else np.iinfo(dtype).max)
        found = shot(pixels.astype(dtype))
        assert found.dtype == dtype
        assert found.shape == (40, 36, *shape[2:])
    clear = rng.integers(0, 256, (20, 24, 4), np.uint8)
    clear[..., 3] = 0
    clear[:, 12:, 3] = 255
    Image.fromarray(clear).save(tmp_path / "clear.png")
    found = shot(tmp_path / "clear.png")
    assert found.mode == "RGBA"
    assert found.size == (36, 40)
    alpha = np.asarray(found)[..., 3]
    assert (alpha[:, :14] == 0).all()
    assert (alpha[:, 24:] == 255).all()


def test_result_depends_on_the_seed_only() -> None:
    pixels = np.random.default_rng(0).random((24, 24, 3), np.float32)
    first, again, other = (hfsr.ZeroShot(seed=s, config=QUICK)(pixels) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_gradual_has_the_six_steps_of_the_paper() -> None:
    seen: list[FitProgress] = []
    shot = hfsr.ZeroShot(gradual=True, config=QUICK, kernel=gaussian_kernel((1.0, 1.0, 0.0), 7))
    assert shot(PINES[:24, :24].copy(), progress=seen.append).shape == (48, 48, 3)
    assert {step.stage for step in seen} == {
        f"{what} {i}/6" for what in ("learning", "upscaling") for i in range(1, 7)
    }
    factors = [(s.scale_x, s.scale_y) for s in gradual_resamplers(Resampler(2, 2), gradual=True)]
    assert factors == [(1, 1.5), (1.5, 1), (1.5, 1.5), (1.5, 2), (2, 1.5), (2, 2)]
    one_way = gradual_resamplers(Resampler(1, 2), gradual=True)
    assert [(s.scale_x, s.scale_y) for s in one_way] == [(1, 1.5), (1, 2)]


def test_real_mode_has_no_ensemble_and_adds_noise() -> None:
    seen: list[FitProgress] = []
    shot = hfsr.ZeroShot(real=True, kernel="estimate", config=QUICK)
    assert shot.noise == pytest.approx(0.0125)
    assert shot.config.min_scale == 0.75
    shot(PYLONS[:60, :60].copy(), progress=seen.append)
    assert {step.stage for step in seen} == {"estimating the kernel", "learning", "upscaling"}
    assert [step.total for step in seen if step.stage == "upscaling"] == [1]


def test_closing_leaves_no_file(tmp_path) -> None:
    Image.fromarray(PINES).save(tmp_path / "in.png")
    steps = hfsr.ZeroShot(config=ZeroShotConfig(iterations=50, crop=24)).steps(
        tmp_path / "in.png", tmp_path / "out.png"
    )
    assert next(steps).stage == "learning"
    steps.close()
    assert [path.name for path in tmp_path.iterdir()] == ["in.png"]


def test_cost_estimate() -> None:
    estimate = hfsr.ZeroShot(config=ZeroShotConfig(crop=24)).estimate_cost(2048, 1080)
    assert (estimate.width, estimate.height) == (4096, 2160)
    assert estimate.seconds > 0
    assert estimate.bytes > 12 * 4096 * 2160 * 10  # ensemble, sum and result


@pytest.mark.parametrize("count", [1, 2, 7, 8])
def test_median_matches_numpy(count) -> None:
    copies = list(torch.rand(count, 1, 3, 70, 5))
    expected = np.median(torch.stack(copies).numpy(), axis=0)
    torch.testing.assert_close(_median(copies), torch.from_numpy(expected), rtol=0, atol=1e-6)


BAD = {
    "tiny": (lambda: hfsr.ZeroShot()(np.zeros((1, 1, 3), np.uint8)), "1x1 px is too small"),
    "scale": (lambda: hfsr.ZeroShot(scale=0.5), "scale 0.5"),
    "nan": (lambda: hfsr.ZeroShot(scale=float("nan")), "scale nan"),
    "one": (lambda: hfsr.ZeroShot(scale=1), "scale 1"),
    "noise": (lambda: hfsr.ZeroShot(noise=-1), "noise -1"),
    "dtype": (lambda: hfsr.ZeroShot(dtype="fp16"), "fp16"),
    "sum": (lambda: hfsr.ZeroShot(kernel=np.ones((3, 3))), "sums to 9"),
    "estimate": (lambda: hfsr.ZeroShot(scale=1.5, kernel="estimate"), "whole scale"),
    "type": (lambda: hfsr.ZeroShot()(3), "int"),
    "float": (lambda: hfsr.ZeroShot()(np.full((20, 20), np.nan, np.float32)), "NaN"),
}


@pytest.mark.parametrize("case", BAD)
def test_invalid_input_raises_one_line_error(case) -> None:
    call, message = BAD[case]
    with pytest.raises(HfsrError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
