"""The numbers, and the protocol that goes with them."""

from __future__ import annotations

import json
import math
from statistics import fmean

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import hfsr
from hfsr.degradations import GaussianNoise, Seeded, bicubic_down, bicubic_up, modcrop
from hfsr.errors import DataError, ImageError
from hfsr.evaluation import Pair, Scores, evaluate, protocol, summarize
from hfsr.metrics import psnr, ssim


def _smooth(seed: int, height: int = 37, width: int = 45) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (6, 7, 3), np.uint8)
    return bicubic_up(small, 8)[:height, :width]


def _nearest(x: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


def test_every_number_is_that_of_the_metrics():
    gt = {name: _smooth(k) for k, name in enumerate("ab")}
    report = evaluate(_nearest, [Pair(name, pixels) for name, pixels in gt.items()], scale=2)
    for scores, pixels in zip(report.per_image, gt.values(), strict=True):
        cropped = modcrop(pixels, 2)
        lq = bicubic_down(cropped, 2)
        sr = lq.repeat(2, 0).repeat(2, 1)
        assert scores.psnr_y == psnr(sr, cropped, crop=2)
        assert scores.ssim_y == ssim(sr, cropped, crop=2)
        assert scores.psnr_rgb == psnr(sr, cropped, crop=2, channel="rgb")
        assert scores.ssim_rgb == ssim(sr, cropped, crop=2, channel="rgb")
        assert scores.bicubic_psnr_y == psnr(bicubic_up(lq, 2), cropped, crop=2)
    assert report.images == 2
    for name in ("psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb", "bicubic_psnr_y"):
        assert getattr(report, name) == fmean(getattr(scores, name) for scores in report.per_image)


def test_the_result_is_clamped_and_rounded_before_it_is_measured():
    gt = np.full((24, 24, 3), 255, np.uint8)
    beyond = evaluate(lambda x: x + 0.4 / 255, [Pair("a", gt)], scale=1)
    assert beyond.psnr_y == math.inf
    assert evaluate(lambda x: x - 0.6 / 255, [Pair("a", gt)], scale=1).psnr_rgb == pytest.approx(
        20 * math.log10(255)
    )


def test_the_protocol_is_stated():
    report = evaluate(
        _nearest, [Pair("a", _smooth(0))], scale=2, model="m", set_name="Set5", dtype="bf16", tile=128, crop=4
    )
    protocol = report.protocol
    assert {key: protocol[key] for key in ("crop", "dtype", "tile", "hfsr", "baseline")} == {
        **{"crop": 4, "dtype": "bf16", "tile": 128, "hfsr": hfsr.__version__, "baseline": "MATLAB bicubic"}
    }
    assert "MATLAB" in protocol["channel"]
    assert "MATLAB bicubic" in protocol["resize"]
    assert "8 bit" in protocol["rounding"]
    assert "commit" in protocol
    lq = bicubic_down(_smooth(0, 36, 44), 2)
    given = evaluate(_nearest, [Pair("a", _smooth(0, 36, 44), lq)], scale=2)
    assert given.protocol["resize"] == "LQ pictures as given"
    assert given.psnr_y == evaluate(_nearest, [Pair("a", _smooth(0, 36, 44))], scale=2).psnr_y


def test_scale_one_measures_against_the_degraded_image_and_crops_nothing():
    pairs = [Pair(name, _smooth(k)) for k, name in enumerate("abc")]
    report = evaluate(lambda x: x, pairs, scale=1, degradation=Seeded(GaussianNoise(sigma=25), 1))
    assert report.protocol["crop"] == 0
    assert report.protocol["baseline"] == "the LQ picture"
    assert report.protocol["sigma"] == 25
    assert report.psnr_y == report.bicubic_psnr_y
    assert 20 < report.psnr_rgb < 23
    turned = evaluate(lambda x: x, pairs[::-1], scale=1, degradation=Seeded(GaussianNoise(sigma=25), 1))
    assert turned.per_image == report.per_image[::-1]


def test_gray_is_measured_as_three_equal_channels():
    gray = _smooth(0)[..., 0]
    seen = []

    def restore(x: torch.Tensor) -> torch.Tensor:
        seen.append(x)
        return _nearest(x)

    report = evaluate(restore, [Pair("a", gray)], scale=2)
    assert seen[0].shape == (1, 3, 18, 22)
    color = evaluate(_nearest, [Pair("a", np.dstack([gray] * 3))], scale=2)
    assert report.psnr_y == pytest.approx(color.psnr_y)
    assert report.bicubic_psnr_y == pytest.approx(color.bicubic_psnr_y)


def test_json_has_the_promised_keys_and_no_infinity():
    report = evaluate(lambda x: x, [Pair("a", _smooth(0))], scale=1, model="m", set_name="s")
    said = report.to_json()
    assert list(said) == [
        *("model", "set", "scale", "images", "psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb"),
        *("bicubic_psnr_y", "per_image", "protocol"),
    ]
    assert said["psnr_y"] is None
    assert said["ssim_y"] == 1.0
    assert said["per_image"][0]["name"] == "a"
    assert json.loads(json.dumps(said, allow_nan=False)) == said


def test_progress_and_inference_mode():
    steps = []

    def restore(x: torch.Tensor) -> torch.Tensor:
        assert torch.is_inference_mode_enabled()
        return _nearest(x)

    pairs = [Pair(name, _smooth(0)) for name in "ab"]
    evaluate(
        restore, pairs, scale=2, progress=lambda done, total, scores: steps.append((done, total, scores.name))
    )
    assert steps == [(1, 2, "a"), (2, 2, "b")]


def test_shards_sum_up_to_the_whole():
    pairs = [Pair(name, _smooth(k)) for k, name in enumerate("abc")]
    whole = evaluate(_nearest, pairs, scale=2)
    shards = [
        *evaluate(_nearest, pairs[:1], scale=2).per_image,
        *evaluate(_nearest, pairs[1:], scale=2).per_image,
    ]
    assert summarize(shards, scale=2, protocol=whole.protocol) == whole


def test_what_cannot_be_measured():
    with pytest.raises(DataError, match="nothing to measure"):
        evaluate(_nearest, [], scale=2)
    with pytest.raises(
        DataError, match=r"'a': the model gave 88x72 px, GT has 45x36; .* its own scale \(-s\)"
    ):
        evaluate(lambda x: F.interpolate(x, (72, 88)), [Pair("a", _smooth(0))], scale=3)
    with pytest.raises(ImageError, match=r"'tiny': .*at least 11 px"):
        evaluate(_nearest, [Pair("tiny", _smooth(0, 12, 12))], scale=2)


def test_scores_without_images_are_refused():
    with pytest.raises(DataError, match="at least one pair"):
        summarize([], scale=2, protocol={})
    scores = Scores("a", 30.0, 0.9, 28.0, 0.8, 25.0)
    assert summarize([scores, scores], scale=2, protocol={}).psnr_y == 30.0


def test_the_commit_is_absent_outside_a_checkout(tmp_path, monkeypatch):
    protocol.source_commit.cache_clear()
    monkeypatch.setattr(hfsr, "__file__", str(tmp_path / "hfsr" / "__init__.py"))
    try:
        assert protocol.source_commit() is None
    finally:
        protocol.source_commit.cache_clear()


def test_a_luma_network_is_measured_by_its_own_luma() -> None:
    """Y in 8 bit against Y in 8 bit; the same images through RGB give another number."""
    from hfsr.archs import luma, with_luma
    from hfsr.images.color import rgb_to_y

    rng = np.random.default_rng(0)
    gt = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
    noise = torch.from_numpy(rng.normal(0, 3 / 255, (1, 1, 24, 24))).float()

    def restore(x: torch.Tensor) -> torch.Tensor:
        return with_luma(x, luma(x) + noise)

    measured = {
        own: evaluate(restore, [Pair("a", gt, gt)], scale=1, crop=2, luma=own) for own in (True, False)
    }
    y = rgb_to_y(gt)
    made = np.clip(np.floor(y + 255 * noise[0, 0].numpy() + 0.5), 0, 255)
    error = np.mean((made - np.floor(y + 0.5))[2:-2, 2:-2] ** 2)
    assert measured[True].psnr_y == pytest.approx(10 * math.log10(255**2 / error), abs=1e-3)
    assert abs(measured[True].psnr_y - measured[False].psnr_y) > 0.01
    assert measured[True].psnr_rgb == measured[False].psnr_rgb
    assert "the network's own" in measured[True].protocol["channel"]
    assert "the network's own" not in measured[False].protocol["channel"]
