"""Each kind of degradation against its definition; patches look as if cut from the degraded image."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hfsr import degradations
from hfsr.degradations import (
    GaussianBlur,
    KernelBlur,
    Mosaic,
    PoissonNoise,
    SecondOrder,
    blurred,
    build_chain,
    gaussian_kernel,
    read_kernels,
    sinc_kernel,
)
from hfsr.errors import DataError, ImageError, OptionsError
from hfsr.registry import DEGRADATIONS

RNG = np.random.default_rng
GT = RNG(0).integers(0, 256, (24, 30, 3), np.uint8)


def correlation(image, kernel):
    """By the definition, px by px."""
    result = np.zeros(image.shape)
    radius = kernel.shape[0] // 2
    for y, x in np.ndindex(*image.shape[:2]):
        for (i, j), weight in np.ndenumerate(kernel):
            row = min(max(y + i - radius, 0), image.shape[0] - 1)
            column = min(max(x + j - radius, 0), image.shape[1] - 1)
            result[y, x] += weight * image[row, column]
    return result


@pytest.mark.parametrize("size", [3, 11])
def test_blur_is_the_definition(size):
    kernel = RNG(1).random((size, size))
    kernel /= kernel.sum()
    image = RNG(2).random((9, 12, 3))
    np.testing.assert_allclose(blurred(image, kernel), correlation(image, kernel), atol=1e-12)
    np.testing.assert_allclose(blurred(image[..., 0], kernel), correlation(image, kernel)[..., 0], atol=1e-12)


def test_bd_is_matlabs_gaussian_and_every_third_px():
    # fspecial('gaussian'), of 3 px and sigma 0.5 when nothing is said, to the four digits MATLAB shows
    expected = [[0.0113, 0.0838, 0.0113], [0.0838, 0.6193, 0.0838], [0.0113, 0.0838, 0.0113]]
    assert np.allclose(gaussian_kernel(3, 0.5), expected, atol=6e-5)
    chain = build_chain([{"type": "GaussianBlur", "kernel_size": 7, "sigma": 1.6}, {"type": "Subsample"}], 3)
    whole = correlation(GT / 255, gaussian_kernel(7, 1.6)) * 255
    np.testing.assert_array_equal(chain(GT, RNG(0)), np.floor(whole[::3, ::3] + 0.5))
    assert chain.beforehand
    assert (chain.reach, chain.grid, chain.scale) == (3, 3, 3)
    assert chain.protocol()["resize"] == "one of 3 px, the first one first"


def test_kernels_sum_to_one_and_turn_with_their_angle():
    flat = gaussian_kernel(21, 4.0, 1.0)
    assert flat.sum() == pytest.approx(1)
    assert flat[10, 16] > 100 * flat[16, 10]
    np.testing.assert_allclose(gaussian_kernel(21, 4.0, 1.0, angle=math.pi / 2), flat.T, atol=1e-15)
    for shape in ("gaussian", "generalized", "plateau"):
        assert gaussian_kernel(9, 2.0, shape=shape, beta=1.5).sum() == pytest.approx(1)
    plain = gaussian_kernel(9, 2.0)
    np.testing.assert_allclose(gaussian_kernel(9, 2.0, shape="generalized", beta=1.0), plain)


def test_the_low_pass_filter_lets_low_frequencies_pass_and_no_high_ones():
    kernel = sinc_kernel(21, 1.0)
    x = np.arange(80)
    for frequency, passed in ((0.3, 1.0), (2.0, 0.0)):
        wave = np.tile(np.sin(frequency * x), (80, 1))
        inside = blurred(wave, kernel)[30:50, 30:50]
        assert np.allclose(inside, passed * wave[30:50, 30:50], atol=0.12)
    from scipy.special import j1

    radius = np.hypot(*np.mgrid[-2:3, -2:3])
    radius[2, 2] = 1
    expected = j1(radius) / radius
    expected[2, 2] = 0.5
    np.testing.assert_allclose(sinc_kernel(5, 1.0), expected / expected.sum(), atol=1e-12)


def test_kernels_from_files(tmp_path):
    several = np.stack([gaussian_kernel(5, 1.0), gaussian_kernel(5, 2.0)])
    np.save(tmp_path / "two.npy", several * 7)
    np.savetxt(tmp_path / "one.txt", gaussian_kernel(5, 1.0))
    np.testing.assert_allclose(read_kernels(tmp_path / "two.npy"), several)
    step = KernelBlur(file=str(tmp_path / "two.npy"))
    assert not step.beforehand
    found = {step(GT, RNG(seed)).tobytes() for seed in range(12)}
    assert found == {GaussianBlur(kernel_size=5, sigma=s)(GT, RNG(0)).tobytes() for s in (1.0, 2.0)}
    assert KernelBlur(file=str(tmp_path / "one.txt")).beforehand
    np.save(tmp_path / "even.npy", np.ones((2, 2)))
    assert read_kernels(tmp_path / "even.npy").tolist() == [[[0.25, 0.25, 0], [0.25, 0.25, 0], [0, 0, 0]]]
    from scipy.io import savemat

    savemat(tmp_path / "one.mat", {"kernel": several[0]})
    np.testing.assert_allclose(read_kernels(tmp_path / "one.mat")[0], several[0])
    (tmp_path / "bad.npy").write_bytes(b"nothing")
    np.save(tmp_path / "zero.npy", np.zeros((3, 3)))
    for name in ("bad.npy", "absent.npy", "zero.npy"):
        with pytest.raises(DataError, match=name):
            read_kernels(tmp_path / name)


def test_photons_are_counted():
    for value in (16, 64, 240):
        flat = np.full((64, 64, 3), value, np.uint8)
        noisy = PoissonNoise(strength=2.0, clip=False)(flat, RNG(0)) * 255
        assert noisy.mean() == pytest.approx(value, abs=1.5)
        assert noisy.std() == pytest.approx(2 * math.sqrt(value / 255 * 256) * 255 / 256, rel=0.05)
    assert PoissonNoise()(GT, RNG(0)).dtype == np.uint8


def test_a_mosaic_keeps_one_color_of_each_px():
    bad = Mosaic(pattern="GRBG")(GT, RNG(0))
    assert ((bad != 0).sum(axis=2) <= 1).all()
    np.testing.assert_array_equal(bad[::2, ::2, 1], GT[::2, ::2, 1])
    np.testing.assert_array_equal(bad[::2, 1::2, 0], GT[::2, 1::2, 0])
    np.testing.assert_array_equal(bad[1::2, ::2, 2], GT[1::2, ::2, 2])
    np.testing.assert_array_equal(bad[1::2, 1::2, 1], GT[1::2, 1::2, 1])
    with pytest.raises(ImageError, match="RGB"):
        Mosaic()(GT[..., 0], RNG(0))


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_the_second_order_chain_gives_images_of_the_right_size(scale):
    step = SecondOrder(scale=scale)
    results = [step(GT, RNG(seed)) for seed in range(12)]
    assert {(r.shape, r.dtype.name) for r in results} == {((24 // scale, 30 // scale, 3), "uint8")}
    assert len({r.tobytes() for r in results}) == 12
    np.testing.assert_array_equal(step(GT, RNG(3)), results[3])
    assert step.protocol()["jpeg_quality"] == "30 to 95, then 30 to 95"


def test_the_second_order_chain_without_anything_is_a_faithful_copy():
    still = {"noise_range": [0, 0], "gaussian_noise_prob": 1, "jpeg_range": [100, 100], "sinc_prob": 0}
    second = {f"{word}2": value for word, value in still.items()}
    shapes = {"blur_sigma": [0.05, 0.05], "kernel_list": ["iso"], "kernel_prob": [1], "second_blur_prob": 0}
    sizes = {"resize_prob": [0, 0, 1], "resize_prob2": [0, 0, 1], "final_sinc_prob": 0}
    smooth = np.repeat(degradations.bicubic_up(GT[:6, :6, :1], 8), 3, axis=2)  # JPEG halves the chroma
    copy = SecondOrder(**still, **second, **shapes, **sizes)(smooth, RNG(0))
    assert np.abs(copy.astype(int) - smooth).max() <= 2


@pytest.mark.parametrize("name", sorted(DEGRADATIONS))
def test_every_step_states_itself_and_gray_images_pass(name, tmp_path):
    np.save(tmp_path / "k.npy", np.ones((3, 3)))
    required = {
        "KernelBlur": {"file": str(tmp_path / "k.npy")},
        "RandomChoice": {"choices": [{"type": "Jpeg"}, []]},
    }
    step = DEGRADATIONS[name](**required.get(name, {}))
    assert step.protocol()
    if name != "Mosaic":
        assert step(GT[..., 0], RNG(0)).shape == GT.shape[:2]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: GaussianBlur(kernel_size=4), "kernel_size 4 is not possible; choose an odd number"),
        (lambda: GaussianBlur(sigma=0), "sigma of a blur 0 is out of range"),
        (lambda: SecondOrder(kernel_list=["round"]), "allowed are iso, aniso"),
        (lambda: SecondOrder(resize_prob=[1, 1]), r"resize_prob \[1, 1\] is not possible; give 3"),
        (lambda: SecondOrder(jpeg_range=[0, 3]), "jpeg_range"),
    ],
)
def test_bad_words_are_one_line(make, told):
    with pytest.raises(OptionsError, match=told):
        make()
