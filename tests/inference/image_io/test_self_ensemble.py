"""Self-ensemble against a plain loop over the eight flips and transposes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import hfsr
from hfsr import images
from hfsr.errors import OptionsError
from hfsr.inference import Upscaler
from hfsr.inference.image_io import self_ensemble
from hfsr.inference.image_io.sources_and_sinks import TensorSource
from hfsr.inference.program.geometry import Region, Size

from ..conftest import loud, uneven_image


def plain_loop(model, image):
    """The mean over four turns, mirrored or not, written another way than the code under test."""
    total = 0
    for mirrored in (False, True):
        for turns in range(4):
            view = torch.rot90(image.flip(-1) if mirrored else image, turns, (-2, -1))
            result = torch.rot90(model(view), -turns, (-2, -1))
            total = total + (result.flip(-1) if mirrored else result)
    return total / 8


@pytest.mark.parametrize(
    ("name", "size"), [("edsr_tiny", (37, 50)), ("a2n_tiny", (33, 40)), ("rcan_tiny", (31, 24))]
)
@pytest.mark.parametrize("tile", [0, 16, "auto"])
def test_equals_a_plain_loop(name, size, tile):
    model = loud(hfsr.create_model(name)).eval()
    image = uneven_image(*size)
    expected = plain_loop(model, image)
    assert (expected - model(image)).abs().max() > 1e-3  # or the views would not matter
    seen = []
    result = Upscaler(model, tile=tile, dtype="fp32", self_ensemble=True).tensor(image, seen.append)
    assert (result - expected).abs().max() <= 1e-5 * max(1, expected.abs().max())
    counts = [(step.done, step.total) for step in seen]
    assert counts == sorted(set(counts))
    assert counts[-1][0] == counts[-1][1]
    assert counts[-1][1] % 8 == 0


def test_images_are_rounded_once_after_the_mean():
    model = hfsr.create_model("edsr_tiny").eval()
    pixels = np.random.default_rng(0).integers(0, 65536, (20, 31, 3), np.uint16)
    result = Upscaler(model, dtype="fp32", self_ensemble=True)(pixels)
    expected = images.from_rgb_float(plain_loop(model, images.to_rgb_float(pixels)), np.uint16)
    assert np.abs(result.astype(int) - expected).max() <= 1
    assert result.shape == (40, 62, 3)


@pytest.mark.parametrize("view", self_ensemble.VIEWS)
def test_regions_of_a_view(view):
    size, seen = Size(5, 7), {}
    image = torch.arange(35.0).reshape(1, 1, 5, 7)
    source = self_ensemble.ViewSource(view, TensorSource(image))
    whole = source.read(Region(0, view.size(size).height, 0, view.size(size).width))
    seen = source.read(Region(1, 4, 2, 5))
    assert torch.equal(seen, whole[..., 1:4, 2:5])
    assert torch.equal(view.invert(whole), image)
    assert len(set(self_ensemble.VIEWS)) == 8


def test_one_sum_that_goes_to_a_file_where_memory_is_short(monkeypatch, tmp_path):
    monkeypatch.setattr(self_ensemble, "free_memory", lambda _: 0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    model = hfsr.create_model("edsr_tiny").eval()
    image = uneven_image(20, 33)
    result = Upscaler(model, tile=16, dtype="fp32", self_ensemble=True).tensor(image)
    assert (result - plain_loop(model, image)).abs().max() <= 1e-5
    assert list(tmp_path.iterdir()) == []


def test_a_scale_whose_flips_do_not_align_is_refused():
    model = hfsr.create_model("metardn_tiny", upscale=1.7)
    with pytest.raises(OptionsError, match=r"self-ensemble needs a whole scale, not 1\.7"):
        Upscaler(model, self_ensemble=True)
