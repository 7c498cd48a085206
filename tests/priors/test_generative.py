"""The generative prior: a tiny pair of simple shapes finds what was taken from pictures of its family."""

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
from hfsr.images import Picture, from_rgb_float
from hfsr.inference.progress import drain
from hfsr.priors.generative import (
    PRESETS,
    TASKS,
    GenerativePrior,
    Outcome,
    Schedule,
    brushed,
    checked_hole,
    find_schedule,
)
from hfsr.priors.generative.cielab import lab_to_rgb, rgb_to_lab
from hfsr.priors.generative.fitting import Fitter, weight_groups
from hfsr.priors.generative.forward_models import enlarged_by_lines, grayed, holed, reduced
from hfsr.priors.generative.instance_norm import FrozenInstanceNorm, freeze_norms
from hfsr.priors.generative.square_crop import pasted, square_of

from .pair import draw

HOLE = (48, 40, 46, 44)
Z = torch.tensor([[0.5, -0.4, 0.8, 0.0, -0.6, *[0.0] * 7]])


def quick(task: str, iterations: int = 10, **changes: object) -> Schedule:
    """The published schedule in few and large steps, as a tiny generator takes them."""
    schedule = find_schedule(task, 128, bias="mse", iterations=iterations)
    lr_g, lr_z = (tuple(10 * rate for rate in rates) for rates in (schedule.lr_g, schedule.lr_z))
    return replace(schedule, lr_g=lr_g, lr_z=lr_z, **changes)


@pytest.fixture(scope="module")
def gt() -> Picture:
    return Picture(from_rgb_float(draw(Z, torch.tensor([1]))))


@pytest.fixture(scope="module")
def prior(pair) -> GenerativePrior:
    return GenerativePrior(*pair, candidates=20, device="cpu")


def decibels(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2)))


def without_hole(picture: Picture) -> tuple[Picture, np.ndarray]:
    hole = brushed(picture, HOLE)
    pixels = picture.pixels.copy()
    pixels[hole] = (255, 0, 255)
    return Picture(pixels), hole


# It restores


@pytest.fixture(scope="module")
def filled(prior, gt) -> Outcome:
    damaged, hole = without_hole(gt)
    return drain(prior.inpaint(damaged, hole, schedule=quick("inpaint")), None)


def test_a_hole_is_filled(filled, gt) -> None:
    hole = brushed(gt, HOLE)
    found = filled.pictures[0].pixels
    assert decibels(found[hole], gt.pixels[hole]) >= 25
    np.testing.assert_array_equal(found[~hole], gt.pixels[~hole])
    assert len(filled.stages) == 5


def test_unfreezing_beats_fixed_weights(prior, filled, gt) -> None:
    damaged, hole = without_hole(gt)
    schedule = quick("inpaint", depth=(0,) * 5, moves_class=False, instance_norm=False)
    fixed = drain(prior.inpaint(damaged, hole, schedule=schedule), None).pictures[0].pixels
    free = filled.pictures[0].pixels
    assert decibels(free[hole], gt.pixels[hole]) >= decibels(fixed[hole], gt.pixels[hole]) + 3


def test_a_reduced_picture_is_enlarged(prior, gt) -> None:
    small = Picture(gt.pixels.reshape(32, 4, 32, 4, 3).mean((1, 3)).round().astype(np.uint8))
    outcome = drain(prior.sr(small, schedule=quick("sr"), class_number=1), None)
    assert outcome.class_number == 1
    assert decibels(outcome.pictures[0].pixels, gt.pixels) >= 25


def test_a_grey_picture_gets_colours_and_keeps_its_lightness(prior, gt) -> None:
    schedule = replace(quick("colorize"), lr_g=find_schedule("colorize", 128).lr_g)
    gray = Picture(from_rgb_float(grayed(images.to_rgb_float(gt.pixels)), gray=True))
    outcome = drain(prior.colorize(gray, schedule=schedule, class_number=1), None)
    found = outcome.pictures[0].pixels
    plain = np.repeat(gray.pixels[..., None], 3, axis=2)
    assert decibels(found, gt.pixels) >= decibels(plain, gt.pixels) + 6
    light = rgb_to_lab(found / 255)[..., 0] - rgb_to_lab(plain / 255)[..., 0]
    assert np.abs(light).mean() < 1


def test_variants_and_the_way_between_two_pictures(prior, gt) -> None:
    schedule = quick("jitter", 2)
    varied = drain(prior.jitter(gt, count=2, schedule=schedule, to_class=0), None).pictures
    assert len(varied) == 2
    assert decibels(varied[0].pixels, varied[1].pixels) < 60
    other = Picture(np.ascontiguousarray(gt.pixels[::-1]))
    steps = prior.morph(gt, other, frames=3, schedule=schedule, class_number=1)
    frames = [picture.pixels for picture in drain(steps, None).pictures]
    ends = decibels(frames[0], frames[2])
    assert all(decibels(frames[1], frame) > ends for frame in (frames[0], frames[2]))


def test_nothing_of_the_pair_is_changed(pair, prior, filled) -> None:
    for ours, theirs in zip((prior.fitter.generator, prior.fitter.discriminator), pair, strict=True):
        assert all(
            torch.equal(a, b)
            for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True)
        )


def test_only_unfrozen_groups_move_and_the_output_layer_never(pair) -> None:
    target = draw(Z, torch.tensor([0]))
    schedule = Schedule(
        iterations=(1,), depth=(2,), lr_g=(1e-3,), lr_z=(1e-2,), weight_d=(1,), weight_mse=(1,)
    )
    fit = drain(Fitter(*pair, candidates=2).steps(target, reduced, schedule, 0), None)
    before, after = pair[0].state_dict(), fit.generator.state_dict()
    moved = {".".join(k.split(".")[:2]) for k in before if not torch.equal(before[k], after[k])}
    assert {name.split(".")[0] for name in moved} == {"linear", "blocks"}
    assert [name for name in sorted(moved) if name.startswith("blocks")] == ["blocks.0"]
    assert not any(p.requires_grad for p in fit.generator.parameters())
    named = {id(p) for group in weight_groups(pair[0]) for p in group}
    assert {n for n, p in pair[0].named_parameters() if id(p) not in named} == {
        "shared.weight",
        *(f"output_layer.{name}" for name in ("0.gain", "0.bias", "2.weight", "2.bias")),
    }


# Its parts


def test_frozen_norms_change_nothing_at_first(pair) -> None:
    import copy

    generator = copy.deepcopy(pair[0])
    z, embedding = torch.randn(1, generator.dim_z), generator.shared.weight[:1].detach()
    with torch.no_grad():
        before = generator(z, embedding)
        freeze_norms(generator, z, embedding)
        torch.testing.assert_close(generator(z, embedding), before, rtol=0, atol=1e-4)
        assert (generator(z + 1, embedding) - pair[0](z + 1, embedding)).abs().max() > 1e-3
    assert sum(isinstance(m, FrozenInstanceNorm) for m in generator.modules()) == 10


def test_degradations() -> None:
    x = torch.rand(1, 3, 128, 128)
    line = [np.sinc(t) * np.sinc(t / 2) for t in (np.arange(16) - 7.5) / 4]
    kernel = torch.tensor(np.outer(line, line) / sum(line) ** 2, dtype=torch.float32)
    padded = torch.nn.functional.pad(x, (6,) * 4, mode="replicate")
    small = torch.nn.functional.conv2d(padded, kernel.expand(3, 1, -1, -1), stride=4, groups=3)
    inner = (..., slice(16, -16), slice(16, -16))
    torch.testing.assert_close(reduced(x)[inner], enlarged_by_lines(small)[inner], rtol=0, atol=1e-5)
    gray = grayed(x)
    torch.testing.assert_close(gray[0, 0], gray[0, 2])
    torch.testing.assert_close(gray[0, 1], 0.2989 * x[0, 0] + 0.587 * x[0, 1] + 0.114 * x[0, 2])
    known = torch.ones(1, 1, 128, 128)
    known[..., :9] = 0
    masked = holed(known)(x)
    assert (masked[..., :9] == 0.5).all()
    assert torch.equal(masked[..., 9:], x[..., 9:])


def test_lab() -> None:
    rgb = np.array([[1.0, 1, 1], [0, 0, 0], [1, 0, 0], [0.2, 0.5, 0.01]])
    lab = rgb_to_lab(rgb)
    np.testing.assert_allclose(lab[:3], [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20]], atol=0.01)
    np.testing.assert_allclose(lab_to_rgb(lab), rgb, atol=1e-6)


def test_every_preset_is_bound_to_the_constructor() -> None:
    signature = inspect.signature(Schedule)
    for words in PRESETS.values():
        signature.bind(**words)
        schedule = Schedule(**words)
        assert schedule.stages in (3, 5)
        assert list(schedule.depth) == sorted(schedule.depth)
    assert len(PRESETS) == 12
    for task, side in itertools.product(TASKS, (128, 256)):
        assert find_schedule(task, side).stages
    assert find_schedule("sr", 256, bias="mse").weight_mse == (10, 10, 10, 50, 100)
    assert find_schedule("sr", 128, iterations=7).iterations == (7,) * 5


def test_the_square_moves_to_hold_the_hole(gt) -> None:
    wide = Picture(np.zeros((40, 100, 3), np.uint8))
    assert square_of(wide).left == 30
    assert square_of(wide, brushed(wide, (80, 3, 20, 5))).left == 60
    assert square_of(wide, brushed(wide, (0, 0, 12, 40))).left == 0


def test_pasting_fills_the_hole_alone() -> None:
    pixels = np.full((40, 100, 3), 9, np.uint16)
    wide = Picture(pixels)
    hole = brushed(wide, (50, 10, 8, 8))
    whole = pasted(wide, square_of(wide, hole), hole, torch.ones(1, 3, 128, 128))
    assert (whole.pixels[hole] == 65535).all()
    assert (whole.pixels[~hole] == 9).all()


@pytest.mark.slow
@pytest.mark.timeout(1200)  # half a minute each where nothing else runs
@pytest.mark.parametrize("task", ["sr", "inpaint"])
def test_the_full_model_runs_every_stage(task) -> None:
    """Random weights, three iterations a stage: about 250 M parameters with their moments."""
    torch.manual_seed(0)
    prior = GenerativePrior(BigGANGenerator(), BigGANDiscriminator(), candidates=2, device="cpu")
    pixels = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    picture = Picture(pixels)
    schedule = prior.schedule(task, bias="mse", iterations=3)
    if task == "sr":
        outcome = drain(prior.sr(picture, schedule=schedule), None)
    else:
        outcome = drain(prior.inpaint(picture, brushed(picture, HOLE), schedule=schedule), None)
    assert outcome.pictures[0].pixels.shape == (128, 128, 3)
    assert len(outcome.stages) == 5
    assert 0 <= outcome.class_number < 1000


BAD = {
    "tiny": (lambda p: p.sr(Picture(np.zeros((1, 1, 3), np.uint8))), "1x1 px is too small"),
    "class": (
        lambda p: p.sr(_some(), class_number=2),
        "class 2 is out of range; this generator knows 0 to 1",
    ),
    "negative": (lambda p: p.colorize(_some(), class_number=-1), "class -1"),
    "to class": (lambda p: p.jitter(_some(), to_class=7), "class 7"),
    "count": (lambda p: p.jitter(_some(), count=0), "0 variants"),
    "frames": (lambda p: p.morph(_some(), _some(), frames=1), "1 frames"),
}


def _some() -> Picture:
    return Picture(np.zeros((64, 64, 3), np.uint8))


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(case, prior) -> None:
    call, message = BAD[case]
    with pytest.raises(HfsrError, match=message) as caught:
        drain(call(prior), None)
    assert "\n" not in str(caught.value)


def test_masks_that_cannot_be() -> None:
    picture = Picture(np.zeros((30, 40, 3), np.uint8))
    for mask, message in (
        (np.zeros((30, 41), np.uint8), "41x30 px and the picture 40x30"),
        (np.zeros((30, 40), np.uint8), "dark everywhere"),
        (np.full((30, 40), 255, np.uint8), "light everywhere"),
    ):
        with pytest.raises(HfsrError, match=message):
            checked_hole(picture, Picture(mask))
    for box in ((0, 0, 0, 4), (38, 0, 5, 5), (-1, 0, 3, 3)):
        with pytest.raises(HfsrError, match="brush"):
            brushed(picture, box)
    with pytest.raises(HfsrError, match="longer than the square"):
        square_of(picture, brushed(picture, (0, 0, 40, 2)))


def test_pairs_that_do_not_fit(pair) -> None:
    other = BigGANDiscriminator(resolution=256, num_feat=8, num_class=2)
    with pytest.raises(HfsrError, match="makes 128 px and the discriminator judges 256"):
        GenerativePrior(pair[0], other)
    with pytest.raises(HfsrError, match="BigGANDiscriminator is no generator"):
        GenerativePrior(pair[1], pair[0])
    with pytest.raises(HfsrError, match="BigGANGenerator is no discriminator"):
        GenerativePrior(pair[0], pair[0])
    with pytest.raises(HfsrError, match="0 candidates"):
        GenerativePrior(*pair, candidates=0)
    with pytest.raises(HfsrError, match="do not agree"):
        Schedule(iterations=(1, 2), depth=(1,), lr_g=(1,), lr_z=(1,), weight_d=(1,), weight_mse=(1,))
