"""Networks of other packages that only take some sizes are validated on whole images of any size."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hfsr import training
from hfsr.archs.edsr import EDSR
from hfsr.errors import HfsrError
from hfsr.training import testing
from hfsr.training.validation.size_multiple import SizePadding, find_size_multiple

SWINIR = (
    "network_g={type: SwinIR, upscale: 2, in_chans: 3, img_size: 16, window_size: 8, img_range: 1., "
    "depths: [1], embed_dim: 8, num_heads: [2], mlp_ratio: 2, upsampler: pixelshuffle, "
    "resi_connection: 1conv}"
)


class Windows(nn.Module):
    """Enlarges twice; takes multiples of `size` px alone."""

    def __init__(self, size: int, error: type[Exception] = RuntimeError) -> None:
        super().__init__()
        self.size, self.error = size, error
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[2] % self.size or x.shape[3] % self.size:
            raise self.error("shape '[1, 3]' is invalid")
        return F.interpolate(x * self.weight, scale_factor=2, mode="nearest")


@pytest.mark.parametrize("size", [1, 2, 4, 8, 16, 32, 64])
@pytest.mark.parametrize("error", [RuntimeError, AssertionError, ValueError])
def test_the_smallest_multiple_is_found(size, error):
    assert find_size_multiple(Windows(size, error)) == size


def test_a_stated_window_is_tried_though_it_is_no_power_of_two():
    assert find_size_multiple(Windows(7), window=7) == 7
    assert find_size_multiple(Windows(1), window=7) == 1
    assert find_size_multiple(Windows(8), window=[8, 8]) == 8


def test_a_network_that_runs_at_no_size_says_why():
    with pytest.raises(
        HfsrError, match=r"Windows does not restore whole images with .* \(shape '\[1, 3\]' is inva"
    ):
        find_size_multiple(Windows(10**6))


@pytest.mark.parametrize(("height", "width"), [(46, 50), (16, 24), (3, 41), (1, 1)])
def test_the_result_is_cropped_to_the_image(height, width):
    image = torch.rand(1, 3, height, width)
    result = SizePadding(Windows(8), 8)(image)
    assert torch.equal(result, F.interpolate(image, scale_factor=2, mode="nearest"))


def test_padding_mirrors_as_basicsr_does():
    seen = []
    image = torch.rand(1, 3, 13, 16)
    SizePadding(lambda x: seen.append(x) or x, 8)(image)
    assert torch.equal(seen[0], F.pad(image, (0, 0, 0, 3), mode="reflect"))


@pytest.fixture
def basicsr() -> None:
    if find_spec("basicsr") is None:
        pytest.skip("BasicSR is not installed")


@pytest.mark.usefixtures("basicsr")
def test_swinir_is_checked_trained_and_tested_on_sizes_that_are_no_multiple(tmp_path, options):
    chosen = options(SWINIR, "val:save_img=true", "train:total_iter=1", "train:ema_decay=0")
    assert "3 validation images" in str(training.check_training(chosen))  # 20x18 px
    training.train(chosen, root=tmp_path)
    (measured,) = testing.test(chosen, root=tmp_path)
    assert 5 < measured.report.psnr_y < 60


def test_the_check_finds_what_only_validation_would(tmp_path, options, monkeypatch):
    """The largest image of a set is restored, not only patches."""
    forward = EDSR.forward

    def fails_on_images(self, x):
        if x.shape[-1] > 16:
            raise HfsrError("too large for this machine")
        return forward(self, x)

    monkeypatch.setattr(EDSR, "forward", fails_on_images)
    with pytest.raises(HfsrError, match="too large for this machine"):
        training.check_training(options())
