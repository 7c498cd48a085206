"""Tests of the generative prior with a tiny BigGAN pair that was trained on simple shapes."""

from __future__ import annotations

import inspect
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from hfsr import images
from hfsr.archs.biggan import BigGANDiscriminator, BigGANGenerator
from hfsr.errors import HfsrError
from hfsr.images import LoadedImage, from_rgb_float
from hfsr.inference.progress import drain
from hfsr.priors.generative import (
    PRESETS,
    TASKS,
    FitSchedule,
    GenerativePrior,
    PriorResult,
    find_schedule,
    hole_from_mask,
    hole_from_rectangle,
)
from hfsr.priors.generative.cielab import lab_to_rgb, rgb_to_lab
from hfsr.priors.generative.fitting import GeneratorFitter, weight_groups
from hfsr.priors.generative.forward_models import (
    bilinear_upsample,
    downsample_and_upsample,
    grayscale,
    mask_out,
)
from hfsr.priors.generative.instance_norm import FrozenInstanceNorm, freeze_norms
from hfsr.priors.generative.square_crop import find_square, paste_into_hole

from .tiny_biggan import draw

HOLE = (48, 40, 46, 44)
Z = torch.tensor([[0.5, -0.4, 0.8, 0.0, -0.6, *[0.0] * 7]])


def quick(task: str, iterations: int = 10, **changes: object) -> FitSchedule:
    """Returns the published schedule with few iterations and high learning rates, for a tiny generator."""
    schedule = find_schedule(task, 128, bias="mse", iterations=iterations)
    lr_g, lr_z = (tuple(10 * rate for rate in rates) for rates in (schedule.lr_g, schedule.lr_z))
    return replace(schedule, lr_g=lr_g, lr_z=lr_z, **changes)


@pytest.fixture(scope="module")
def gt() -> LoadedImage:
    return LoadedImage(from_rgb_float(draw(Z, torch.tensor([1]))))


@pytest.fixture(scope="module")
def prior(pair) -> GenerativePrior:
    return GenerativePrior(*pair, candidates=20, device="cpu")


@pytest.fixture(scope="module")
def untrained() -> tuple[BigGANGenerator, BigGANDiscriminator]:
    """The networks of `pair` with fresh weights, for tests that need no images of theirs."""
    torch.manual_seed(0)
    generator = BigGANGenerator(num_feat=8, z_chunk=2, shared_dim=8, num_class=2).eval()
    return generator, BigGANDiscriminator(num_feat=8, num_class=2).eval()


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2)))


def without_hole(image: LoadedImage) -> tuple[LoadedImage, np.ndarray]:
    hole = hole_from_rectangle(image, HOLE)
    pixels = image.pixels.copy()
    pixels[hole] = (255, 0, 255)
    return LoadedImage(pixels), hole


# Restoration


@pytest.fixture(scope="module")
def filled(prior, gt) -> PriorResult:
    damaged, hole = without_hole(gt)
    return drain(prior.inpaint(damaged, hole, schedule=quick("inpaint")), None)


@pytest.mark.slow
def test_inpaint_fills_the_hole(filled, gt) -> None:
    hole = hole_from_rectangle(gt, HOLE)
    found = filled.images[0].pixels
    assert psnr(found[hole], gt.pixels[hole]) >= 25
    np.testing.assert_array_equal(found[~hole], gt.pixels[~hole])
    assert len(filled.stages) == 5


@pytest.mark.slow
def test_unfreezing_beats_frozen_weights(prior, filled, gt) -> None:
    damaged, hole = without_hole(gt)
    schedule = quick("inpaint", depth=(0,) * 5, optimize_class=False, instance_norm=False)
    fixed = drain(prior.inpaint(damaged, hole, schedule=schedule), None).images[0].pixels
    free = filled.images[0].pixels
    assert psnr(free[hole], gt.pixels[hole]) >= psnr(fixed[hole], gt.pixels[hole]) + 3


@pytest.mark.slow
def test_sr_upscales_by_4(prior, gt) -> None:
    small = LoadedImage(gt.pixels.reshape(32, 4, 32, 4, 3).mean((1, 3)).round().astype(np.uint8))
    result = drain(prior.sr(small, schedule=quick("sr"), class_number=1), None)
    assert result.class_number == 1
    assert psnr(result.images[0].pixels, gt.pixels) >= 25


@pytest.mark.slow
def test_colorize_keeps_lightness(prior, gt) -> None:
    schedule = replace(quick("colorize"), lr_g=find_schedule("colorize", 128).lr_g)
    gray = LoadedImage(from_rgb_float(grayscale(images.to_rgb_float(gt.pixels)), gray=True))
    result = drain(prior.colorize(gray, schedule=schedule, class_number=1), None)
    found = result.images[0].pixels
    plain = np.repeat(gray.pixels[..., None], 3, axis=2)
    assert psnr(found, gt.pixels) >= psnr(plain, gt.pixels) + 6
    light = rgb_to_lab(found / 255)[..., 0] - rgb_to_lab(plain / 255)[..., 0]
    assert np.abs(light).mean() < 1


@pytest.mark.slow
def test_jitter_and_morph(prior, gt) -> None:
    schedule = quick("jitter", 2)
    varied = drain(prior.jitter(gt, count=2, schedule=schedule, to_class=0), None).images
    assert len(varied) == 2
    assert psnr(varied[0].pixels, varied[1].pixels) < 60
    other = LoadedImage(np.ascontiguousarray(gt.pixels[::-1]))
    steps = prior.morph(gt, other, frames=3, schedule=schedule, class_number=1)
    frames = [image.pixels for image in drain(steps, None).images]
    ends = psnr(frames[0], frames[2])
    assert all(psnr(frames[1], frame) > ends for frame in (frames[0], frames[2]))


@pytest.mark.slow
def test_given_networks_are_not_modified(pair, prior, filled) -> None:
    for ours, theirs in zip((prior.fitter.generator, prior.fitter.discriminator), pair, strict=True):
        assert all(
            torch.equal(a, b)
            for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True)
        )


def test_only_unfrozen_groups_are_trained(untrained) -> None:
    target = draw(Z, torch.tensor([0]))
    schedule = FitSchedule(
        iterations=(1,), depth=(2,), lr_g=(1e-3,), lr_z=(1e-2,), weight_d=(1,), weight_mse=(1,)
    )
    fit = drain(
        GeneratorFitter(*untrained, candidates=2).steps(target, downsample_and_upsample, schedule, 0), None
    )
    before, after = untrained[0].state_dict(), fit.generator.state_dict()
    moved = {".".join(k.split(".")[:2]) for k in before if not torch.equal(before[k], after[k])}
    assert {name.split(".")[0] for name in moved} == {"linear", "blocks"}
    assert [name for name in sorted(moved) if name.startswith("blocks")] == ["blocks.0"]
    assert not any(p.requires_grad for p in fit.generator.parameters())
    named = {id(p) for group in weight_groups(untrained[0]) for p in group}
    assert {n for n, p in untrained[0].named_parameters() if id(p) not in named} == {
        "shared.weight",
        *(f"output_layer.{name}" for name in ("0.gain", "0.bias", "2.weight", "2.bias")),
    }


# Components


def test_freeze_norms_preserves_the_output(untrained) -> None:
    import copy

    generator = copy.deepcopy(untrained[0])
    z, embedding = torch.randn(1, generator.dim_z), generator.shared.weight[:1].detach()
    with torch.no_grad():
        before = generator(z, embedding)
        freeze_norms(generator, z, embedding)
        torch.testing.assert_close(generator(z, embedding), before, rtol=0, atol=1e-4)
        assert (generator(z + 1, embedding) - untrained[0](z + 1, embedding)).abs().max() > 1e-3
    assert sum(isinstance(m, FrozenInstanceNorm) for m in generator.modules()) == 10


def test_forward_models() -> None:
    x = torch.rand(1, 3, 128, 128)
    line = [np.sinc(t) * np.sinc(t / 2) for t in (np.arange(16) - 7.5) / 4]
    kernel = torch.tensor(np.outer(line, line) / sum(line) ** 2, dtype=torch.float32)
    padded = torch.nn.functional.pad(x, (6,) * 4, mode="replicate")
    small = torch.nn.functional.conv2d(padded, kernel.expand(3, 1, -1, -1), stride=4, groups=3)
    inner = (..., slice(16, -16), slice(16, -16))
    torch.testing.assert_close(
        downsample_and_upsample(x)[inner], bilinear_upsample(small)[inner], rtol=0, atol=1e-5
    )
    gray = grayscale(x)
    torch.testing.assert_close(gray[0, 0], gray[0, 2])
    torch.testing.assert_close(gray[0, 1], 0.2989 * x[0, 0] + 0.587 * x[0, 1] + 0.114 * x[0, 2])
    known = torch.ones(1, 1, 128, 128)
    known[..., :9] = 0
    masked = mask_out(known)(x)
    assert (masked[..., :9] == 0.5).all()
    assert torch.equal(masked[..., 9:], x[..., 9:])


def test_cielab() -> None:
    rgb = np.array([[1.0, 1, 1], [0, 0, 0], [1, 0, 0], [0.2, 0.5, 0.01]])
    lab = rgb_to_lab(rgb)
    np.testing.assert_allclose(lab[:3], [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20]], atol=0.01)
    np.testing.assert_allclose(lab_to_rgb(lab), rgb, atol=1e-6)


def test_presets_are_valid_schedules() -> None:
    signature = inspect.signature(FitSchedule)
    for arguments in PRESETS.values():
        signature.bind(**arguments)
        schedule = FitSchedule(**arguments)
        assert schedule.num_stages in (3, 5)
        assert list(schedule.depth) == sorted(schedule.depth)
    assert len(PRESETS) == 12
    for task, side in itertools.product(TASKS, (128, 256)):
        assert find_schedule(task, side).num_stages
    assert find_schedule("sr", 256, bias="mse").weight_mse == (10, 10, 10, 50, 100)
    assert find_schedule("sr", 128, iterations=7).iterations == (7,) * 5


def test_square_contains_the_hole(gt) -> None:
    wide = LoadedImage(np.zeros((40, 100, 3), np.uint8))
    assert find_square(wide).left == 30
    assert find_square(wide, hole_from_rectangle(wide, (80, 3, 20, 5))).left == 60
    assert find_square(wide, hole_from_rectangle(wide, (0, 0, 12, 40))).left == 0


def test_paste_into_hole_keeps_known_pixels() -> None:
    pixels = np.full((40, 100, 3), 9, np.uint16)
    wide = LoadedImage(pixels)
    hole = hole_from_rectangle(wide, (50, 10, 8, 8))
    whole = paste_into_hole(wide, find_square(wide, hole), hole, torch.ones(1, 3, 128, 128))
    assert (whole.pixels[hole] == 65535).all()
    assert (whole.pixels[~hole] == 9).all()


@pytest.mark.slow
@pytest.mark.timeout(1200)  # half a minute each on an idle machine
@pytest.mark.parametrize("task", ["sr", "inpaint"])
def test_full_size_model_runs_all_stages(task) -> None:
    """Random weights, three iterations per stage: about 250 M parameters with their Adam moments."""
    torch.manual_seed(0)
    prior = GenerativePrior(BigGANGenerator(), BigGANDiscriminator(), candidates=2, device="cpu")
    pixels = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    image = LoadedImage(pixels)
    schedule = prior.schedule(task, bias="mse", iterations=3)
    if task == "sr":
        result = drain(prior.sr(image, schedule=schedule), None)
    else:
        result = drain(prior.inpaint(image, hole_from_rectangle(image, HOLE), schedule=schedule), None)
    assert result.images[0].pixels.shape == (128, 128, 3)
    assert len(result.stages) == 5
    assert 0 <= result.class_number < 1000


BAD = {
    "tiny": (lambda p: p.sr(LoadedImage(np.zeros((1, 1, 3), np.uint8))), "1x1 px is too small"),
    "class": (
        lambda p: p.sr(_some(), class_number=2),
        "class 2 is out of range; this generator has classes 0 to 1",
    ),
    "negative": (lambda p: p.colorize(_some(), class_number=-1), "class -1"),
    "to class": (lambda p: p.jitter(_some(), to_class=7), "class 7"),
    "count": (lambda p: p.jitter(_some(), count=0), "0 variants"),
    "frames": (lambda p: p.morph(_some(), _some(), frames=1), "1 frames"),
}


def _some() -> LoadedImage:
    return LoadedImage(np.zeros((64, 64, 3), np.uint8))


@pytest.mark.parametrize("case", BAD)
def test_invalid_input_raises_one_line_error(case, untrained) -> None:
    call, message = BAD[case]
    with pytest.raises(HfsrError, match=message) as caught:
        drain(call(GenerativePrior(*untrained, candidates=20, device="cpu")), None)
    assert "\n" not in str(caught.value)


def test_invalid_masks() -> None:
    image = LoadedImage(np.zeros((30, 40, 3), np.uint8))
    for mask, message in (
        (np.zeros((30, 41), np.uint8), "41x30 px and the image 40x30"),
        (np.zeros((30, 40), np.uint8), "dark everywhere"),
        (np.full((30, 40), 255, np.uint8), "light everywhere"),
    ):
        with pytest.raises(HfsrError, match=message):
            hole_from_mask(image, LoadedImage(mask))
    for box in ((0, 0, 0, 4), (38, 0, 5, 5), (-1, 0, 3, 3)):
        with pytest.raises(HfsrError, match="brush"):
            hole_from_rectangle(image, box)
    with pytest.raises(HfsrError, match="longer than the square"):
        find_square(image, hole_from_rectangle(image, (0, 0, 40, 2)))


def test_invalid_network_pairs(untrained) -> None:
    other = BigGANDiscriminator(resolution=256, num_feat=8, num_class=2)
    with pytest.raises(HfsrError, match="resolution of 128 px and the discriminator of 256 px"):
        GenerativePrior(untrained[0], other)
    with pytest.raises(HfsrError, match="BigGANDiscriminator is not a BigGAN generator"):
        GenerativePrior(untrained[1], untrained[0])
    with pytest.raises(HfsrError, match="BigGANGenerator is not a BigGAN discriminator"):
        GenerativePrior(untrained[0], untrained[0])
    with pytest.raises(HfsrError, match="0 candidates"):
        GenerativePrior(*untrained, candidates=0)
    with pytest.raises(HfsrError, match="do not agree"):
        FitSchedule(iterations=(1, 2), depth=(1,), lr_g=(1,), lr_z=(1,), weight_d=(1,), weight_mse=(1,))
