"""Steps and chains of them: repeatable by name, stated in the protocol, cut in two for training."""

from __future__ import annotations

import numpy as np
import pytest

from hfsr.degradations import Bicubic, Chain, GaussianNoise, Jpeg, Seeded, bicubic_down, build_chain
from hfsr.errors import OptionsError, UnknownNameError

GT = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)


def test_the_same_name_and_seed_give_the_same_image():
    noise = Seeded(GaussianNoise(sigma=25), seed=3)
    first = noise(GT, "baby")
    noise(GT, "bird")
    np.testing.assert_array_equal(noise(GT, "baby"), first)
    assert np.any(noise(GT, "bird") != first)
    assert np.any(Seeded(GaussianNoise(sigma=25), seed=4)(GT, "baby") != first)
    assert noise.protocol() == {
        "noise": "Gaussian, clamped and rounded to 8 bit",
        "sigma": 25,
        "seed": 3,
    }


def test_what_draws_nothing_states_no_seed():
    assert Seeded(Bicubic(scale=4))(GT, "a").shape == (4, 4, 3)
    np.testing.assert_array_equal(Seeded(Bicubic())(GT, "a"), GT)
    assert Seeded(Jpeg(quality=10)).protocol() == {"jpeg": "libjpeg, 4:2:0", "quality": 10}
    assert "MATLAB bicubic" in Bicubic(scale=2).protocol()["resize"]


def test_a_range_is_drawn_from_and_a_number_is_not():
    levels = [
        np.std(GaussianNoise(sigma=[10, 60], clip=False)(GT, np.random.default_rng(seed)) - GT / 255) * 255
        for seed in range(60)
    ]
    assert min(levels) == pytest.approx(10, abs=3)
    assert max(levels) == pytest.approx(60, abs=6)
    assert np.mean(levels) == pytest.approx(35, abs=6)
    fixed = GaussianNoise(sigma=[25, 25])(GT, np.random.default_rng(1))
    np.testing.assert_array_equal(fixed, GaussianNoise(sigma=25)(GT, np.random.default_rng(1)))
    assert GaussianNoise(sigma=[0, 50]).protocol()["sigma"] == "0 to 50"


def test_unclipped_noise_leaves_the_range():
    noisy = GaussianNoise(sigma=50, clip=False)(GT, np.random.default_rng(0))
    assert noisy.dtype == np.float32
    assert noisy.min() < 0
    assert noisy.max() > 1
    assert "neither" in GaussianNoise(clip=False).protocol()["noise"]


def test_what_can_be_done_beforehand_is_split_off():
    chain = build_chain([{"type": "Bicubic"}, {"type": "GaussianNoise", "sigma": 30}], 2)
    beforehand, each_time = chain.split()
    rng = np.random.default_rng(5)
    np.testing.assert_array_equal(beforehand(GT, rng), bicubic_down(GT, 2))
    np.testing.assert_array_equal(each_time(beforehand(GT, rng), rng), chain(GT, np.random.default_rng(5)))
    assert (beforehand.scale, each_time.scale, chain.scale) == (2, 1, 2)
    assert Jpeg(quality=40).beforehand
    assert not Jpeg(quality=[30, 40]).beforehand


def test_without_a_word_it_is_matlabs_bicubic():
    np.testing.assert_array_equal(build_chain(None, 2)(GT, np.random.default_rng(0)), bicubic_down(GT, 2))
    assert build_chain(None, 1).steps == ()
    assert Chain([])(GT, np.random.default_rng(0)) is GT


@pytest.mark.parametrize(
    ("make", "error", "told"),
    [
        (lambda: GaussianNoise(sigma=-1), OptionsError, "sigma -1 is out of range; choose 0 to 255"),
        (lambda: GaussianNoise(sigma=256), OptionsError, "out of range; choose"),
        (lambda: GaussianNoise(sigma=[30, 10]), OptionsError, r"sigma \[30, 10\] is out of range"),
        (lambda: Jpeg(quality=0), OptionsError, "JPEG quality 0 is out of range; choose 1 to 100"),
        (lambda: Jpeg(quality=[1, 2, 3]), OptionsError, "or two such numbers"),
        (lambda: build_chain({"type": "Jpg"}, 1), UnknownNameError, "did you mean 'Jpeg'"),
        (lambda: build_chain({"type": "Jpeg"}, 2), OptionsError, "reduce by 1, but the file's scale is 2"),
        (lambda: build_chain({"type": "Jpeg", "sigma": 2}, 1), OptionsError, "Jpeg: .*'sigma'"),
    ],
)
def test_bad_words_are_one_line(make, error, told):
    with pytest.raises(error, match=told):
        make()
