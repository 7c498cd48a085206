"""Degradations of photos as people have them: JPEG on a shifted grid, chroma noise, halos, random choices."""

from __future__ import annotations

import io
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from hfsr.degradations import (
    Bicubic,
    ChromaNoise,
    Jpeg,
    RandomChoice,
    Resample,
    UnsharpMask,
    bicubic_down,
    bicubic_up,
    build_chain,
    jpeg,
)
from hfsr.errors import OptionsError
from hfsr.options import read_options

RNG = np.random.default_rng
SMOOTH = bicubic_up(RNG(0).integers(0, 256, (9, 12, 3), np.uint8), 8)
FLAT = np.full((96, 96, 3), 128, np.uint8)


def chroma(image):
    return np.asarray(Image.fromarray(image).convert("YCbCr")).astype(int)[..., 1:]


def luma(image):
    return image @ np.array([0.299, 0.587, 0.114])


def grid_column(image):
    """Last column of a block, modulo 8: the steps to the next column are largest there."""
    steps = np.abs(np.diff(luma(image), axis=1)).mean(axis=0)
    return int(np.argmax([steps[k::8].mean() for k in range(8)]))


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_the_file_has_the_subsampling_that_was_asked_for(subsampling, monkeypatch):
    files = []
    save = Image.Image.save

    def record(self, target, *args, **kwargs):
        save(self, target, *args, **kwargs)
        files.append(target.getvalue())

    monkeypatch.setattr(Image.Image, "save", record)
    jpeg(SMOOTH, 75, subsampling)
    frame = files[0].index(b"\xff\xc0")
    sampling = files[0][frame + 11]  # horizontal and vertical factor of the first component
    assert sampling == {"4:4:4": 0x11, "4:2:2": 0x21, "4:2:0": 0x22}[subsampling]


def test_less_subsampling_keeps_more_chroma():
    colors = np.repeat(np.repeat(RNG(1).integers(0, 256, (16, 16, 3), np.uint8), 3, 0), 3, 1)
    errors = [
        np.abs(chroma(jpeg(colors, 95, kind)) - chroma(colors)).mean() for kind in ("4:4:4", "4:2:2", "4:2:0")
    ]
    assert errors[0] < errors[1] < errors[2]


def test_each_patch_draws_its_subsampling():
    results = {Jpeg(quality=90, subsampling=["4:2:0", "4:4:4"])(SMOOTH, RNG(k)).tobytes() for k in range(12)}
    assert results == {jpeg(SMOOTH, 90, kind).tobytes() for kind in ("4:2:0", "4:4:4")}


def test_a_shifted_grid_starts_anywhere_and_an_unshifted_one_at_the_corner():
    texture = RNG(2).integers(0, 256, (128, 128, 3), np.uint8)
    assert grid_column(Jpeg(quality=5)(texture, RNG(0))) == 7
    shifted = {grid_column(Jpeg(quality=5, shift=True)(texture, RNG(seed))) for seed in range(48)}
    assert shifted == set(range(8))


def test_a_shifted_grid_keeps_the_image_in_place():
    for seed in range(6):
        result = Jpeg(quality=98, subsampling="4:4:4", shift=True)(SMOOTH, RNG(seed))
        assert result.shape == SMOOTH.shape
        assert np.abs(result.astype(int) - SMOOTH).max() <= 6
        assert Jpeg(quality=98, shift=True)(SMOOTH[..., 0], RNG(seed)).shape == SMOOTH.shape[:2]


def test_a_shift_is_drawn_for_each_patch_and_stated():
    shifted = Jpeg(quality=50, shift=True)
    assert not shifted.beforehand
    assert shifted.reach >= 15
    assert shifted.protocol() == {"jpeg": "libjpeg, 4:2:0, shifted grid", "quality": 50}
    assert Jpeg(quality=50).reach == 0


def test_chroma_noise_leaves_the_luma_and_has_its_sigma():
    noisy = ChromaNoise(sigma=8, grain=0)(FLAT, RNG(0))
    assert np.abs(luma(noisy) - 128).max() < 1  # rounding of three channels
    assert np.std(chroma(noisy), axis=(0, 1)) == pytest.approx([8, 8], rel=0.05)


def test_grain_makes_spots_of_the_same_strength():
    wide = np.full((400, 400, 3), 128, np.uint8)
    spots = chroma(ChromaNoise(sigma=8, grain=2)(wide, RNG(0)))
    assert np.std(spots, axis=(0, 1)) == pytest.approx([8, 8], rel=0.08)
    deviation = spots - spots.mean(axis=(0, 1))
    neighbors = (deviation[:, 1:] * deviation[:, :-1]).mean() / (deviation**2).mean()
    assert neighbors == pytest.approx(np.exp(-1 / (4 * 2**2)), abs=0.03)  # of a Gaussian of sigma 2
    white = chroma(ChromaNoise(sigma=8, grain=0)(wide, RNG(0))) - 128
    assert abs((white[:, 1:] * white[:, :-1]).mean() / (white**2).mean()) < 0.05


def test_an_unsharp_mask_overshoots_at_an_edge_and_nowhere_else():
    edge = np.full((20, 40, 3), 60, np.uint8)
    edge[:, 20:] = 180
    halo = UnsharpMask(sigma=1.0, amount=0.5)(edge, RNG(0))
    assert halo[10, 20, 0] > 185
    assert halo[10, 19, 0] < 55
    np.testing.assert_array_equal(halo[:, :15], edge[:, :15])
    np.testing.assert_array_equal(halo[:, 25:], edge[:, 25:])
    np.testing.assert_array_equal(UnsharpMask(amount=0)(SMOOTH, RNG(0)), SMOOTH)


def test_an_unsharp_mask_is_the_textbook_s():
    from scipy.ndimage import gaussian_filter

    values = SMOOTH / 255
    blurred = gaussian_filter(values, (0.8, 0.8, 0), mode="nearest", radius=(3, 3, 0))
    expected = np.clip(np.floor((values + 0.7 * (values - blurred)) * 255 + 0.5), 0, 255)
    result = UnsharpMask(sigma=0.8, amount=0.7)(SMOOTH, RNG(0))
    assert np.abs(result - expected).max() <= 1
    assert np.mean(result != expected) < 0.001


def test_area_is_the_mean_and_bicubic_nearly_matlabs():
    expected = SMOOTH.reshape(36, 2, 48, 2, 3).mean(axis=(1, 3))
    assert np.abs(Resample(filter="area", scale=2)(SMOOTH, RNG(0)) - expected).max() <= 1
    inside = slice(4, -4)  # Pillow renormalizes at the edges, MATLAB mirrors
    difference = Resample(filter="bicubic", scale=2)(SMOOTH, RNG(0)).astype(int) - bicubic_down(SMOOTH, 2)
    assert np.abs(difference[inside, inside]).max() <= 1


def test_a_resample_draws_its_filter_and_drops_what_the_scale_leaves_over():
    step = Resample(filter=["area", "lanczos"], scale=3)
    assert step(SMOOTH[:, :-1], RNG(0)).shape == (24, 31, 3)
    whole = {Resample(filter=kind, scale=3)(SMOOTH, RNG(0)).tobytes() for kind in ("area", "lanczos")}
    assert {step(SMOOTH, RNG(k)).tobytes() for k in range(12)} == whole
    assert not step.beforehand
    assert Resample(scale=2).beforehand


def test_choices_come_as_often_as_their_probabilities_say():
    step = RandomChoice(
        choices=[[], {"type": "UnsharpMask", "amount": 3}, [{"type": "Jpeg", "quality": 5}]], prob=[1, 5, 2]
    )
    small = SMOOTH[:16, :16]
    known = {chain(small, RNG(0)).tobytes(): k for k, chain in enumerate(step.chains)}
    counts = Counter(known[step(small, RNG(seed)).tobytes()] for seed in range(800))
    assert [counts[k] / 800 for k in range(3)] == pytest.approx([0.125, 0.625, 0.25], abs=0.05)


def test_choices_that_reduce_do_so_by_the_scale_of_the_file_and_may_be_nested():
    inner = {"type": "RandomChoice", "choices": [{"type": "Bicubic"}, {"type": "Resample"}]}
    chain = build_chain([{"type": "RandomChoice", "choices": [[inner, {"type": "Jpeg"}], inner]}], 4)
    assert chain.scale == 4
    assert chain.grid == 4
    assert chain.reach >= Bicubic(scale=4).reach
    assert chain(SMOOTH, RNG(3)).shape == (18, 24, 3)
    assert not chain.beforehand


def test_the_statement_of_a_choice_names_every_chain():
    step = RandomChoice(choices=[[], {"type": "Jpeg", "quality": [10, 95]}], prob=[0.25, 0.75])
    assert step.protocol() == {"random_choice": "25 %: unchanged / 75 %: JPEG of quality 10 to 95"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Jpeg(subsampling="4:1:1"), "JPEG subsampling 4:1:1 does not exist; choose from 4:4:4"),
        (lambda: Jpeg(subsampling=[]), "does not exist"),
        (lambda: ChromaNoise(sigma=300), "sigma of chroma noise 300 is out of range"),
        (lambda: ChromaNoise(grain=9), "grain 9 is out of range; choose 0 to 8 px"),
        (lambda: UnsharpMask(sigma=0), "sigma of an unsharp mask 0 is out of range"),
        (lambda: Resample(filter="nearest"), "no filter nearest; choose from area, bilinear"),
        (lambda: RandomChoice(choices=[]), "choices is empty"),
        (lambda: RandomChoice(choices=[[]], prob=[1, 2]), "does not fit 1 choices"),
        (lambda: RandomChoice(choices=[[], []], prob=[0, 0]), "does not fit 2 choices"),
        (lambda: RandomChoice(choices=[[], []], prob=[1, -1]), "does not fit 2 choices"),
        (lambda: RandomChoice(choices=[[], {"type": "Bicubic"}], scale=2), "reduce by 1 and 2"),
    ],
)
def test_bad_arguments_are_one_line(make, message):
    with pytest.raises(OptionsError, match=message):
        make()


def test_an_option_file_names_the_place_of_a_bad_step_inside_a_choice():
    broken = (
        "datasets:train:degradation=[{type: RandomChoice, choices: [[], [{type: Bicubic}, {type: Jpeg, "
        "qualty: 3}], {type: Jpg}]}]"
    )
    with pytest.raises(OptionsError) as caught:
        read_options("options/hfsr_x2_photo.yml", [broken])
    assert "degradation.0.choices.1.1.qualty" in str(caught.value)
    assert "degradation.0.choices.2.type" in str(caught.value)
    assert "did you mean 'Jpeg'" in str(caught.value)


def test_patches_of_a_shifted_grid_lie_where_their_gt_lies(tmp_path):
    from hfsr.data import PairedImageDataset

    Image.fromarray(np.tile(SMOOTH, (2, 2, 1))).save(tmp_path / "a.png")
    dataset = PairedImageDataset(
        dataroot_gt=str(tmp_path),
        gt_size=32,
        scale=2,
        degradation=[
            {"type": "Resample"},
            {"type": "Jpeg", "quality": 98, "subsampling": "4:4:4", "shift": True},
        ],
    )
    batch = dataset.patches(seed=0).batch(0, np.arange(64))
    assert batch["lq"].shape == (64, 3, 16, 16)
    reduced = batch["gt"].reshape(64, 3, 16, 2, 16, 2).mean(dim=(3, 5))
    assert float((reduced - batch["lq"]).abs().mean()) < 0.02
    moved = reduced.roll(1, dims=3)[..., 1:]
    assert float((moved - batch["lq"][..., 1:]).abs().mean()) > 0.04


def test_a_jpeg_of_the_file_is_a_jpeg_of_the_step():
    buffer = io.BytesIO()
    Image.fromarray(SMOOTH).save(buffer, "JPEG", quality=75)
    np.testing.assert_array_equal(Jpeg(quality=75)(SMOOTH, RNG(0)), np.asarray(Image.open(buffer)))
