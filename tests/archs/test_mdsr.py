from __future__ import annotations

import pytest
import torch

from hfsr.archs.mdsr import MDSR
from hfsr.checkpoints import identify, load_checkpoint, save_checkpoint
from hfsr.errors import OptionsError

from .graphs import assert_radius
from .parity import Official, assert_converts, shake

PARAMETERS = {
    "mdsr_x2": 7_953_987,
    "mdsr_x3": 7_953_987,
    "mdsr_x4": 7_953_987,
    "mdsr_baseline_x2": 3_227_203,
    "mdsr_baseline_x3": 3_227_203,
    "mdsr_baseline_x4": 3_227_203,
    "mdsr_tiny": 34_923,
}

MEAN = (0.4488, 0.4371, 0.4040)
STAGES = {2: [2], 3: [3], 4: [2, 2]}


class OfficialMDSR(Official):
    """The official layout, run at one of its scales."""

    def __init__(self, blocks: int, width: int, scale: int, **mean_layers) -> None:
        super().__init__(width, 1, **mean_layers)
        self.scale, self.blocks = scale, blocks
        for name in ("weight", "bias"):
            self.tensors[f"tail.0.{name}"] = self.tensors.pop(f"tail.1.{name}")
        for index, stages in enumerate(STAGES.values()):
            for block in (0, 1):
                for layer in (0, 2):
                    self.add(f"pre_process.{index}.{block}.body.{layer}", width, width, kernel=5)
            for i, stage in enumerate(stages):
                self.add(f"upsample.{index}.{2 * i}", width, width * stage**2)
        for i in range(blocks):
            self.add(f"body.{i}.body.0", width, width)
            self.add(f"body.{i}.body.2", width, width)
        self.add(f"body.{blocks}", width, width)

    def block(self, name, x):
        return x + self.conv(f"{name}.body.2", self.conv(f"{name}.body.0", x).relu())

    def __call__(self, x):
        index = list(STAGES).index(self.scale)
        features = self.conv("head.0", self.conv("sub_mean", x))
        for block in (0, 1):
            features = self.block(f"pre_process.{index}.{block}", features)
        shallow = features
        for i in range(self.blocks):
            features = self.block(f"body.{i}", features)
        features = self.conv(f"body.{self.blocks}", features) + shallow
        for i, stage in enumerate(STAGES[self.scale]):
            features = torch.pixel_shuffle(self.conv(f"upsample.{index}.{2 * i}", features), stage)
        return self.conv("add_mean", self.conv("tail.0", features))


@pytest.mark.parametrize("drift", [0, 0.02])
def test_official_layout(drift: float) -> None:
    official = OfficialMDSR(2, 8, 4, mean=MEAN, drift=drift)
    assert_converts(official, official, cls=MDSR)


@pytest.mark.parametrize("scale", [2, 3])
def test_official_layout_at_another_scale(scale: int, tmp_path) -> None:
    official = OfficialMDSR(2, 8, scale, mean=MEAN, drift=0)
    torch.save(official.tensors, tmp_path / "MDSR.pt")
    x = torch.rand(1, 3, 6, 7)
    with torch.no_grad():
        result = load_checkpoint(tmp_path / "MDSR.pt", scale=scale)(x)
        torch.testing.assert_close(result, official(255 * x) / 255, rtol=0, atol=1e-5)


def test_every_scale_has_the_same_state_dict(tmp_path) -> None:
    model = MDSR(num_feat=6, num_block=1, upscale=2)
    shake(model)
    assert "upscale" not in identify(model.state_dict())[1]
    save_checkpoint(model, tmp_path / "mdsr.safetensors")
    for scale in (2, 3, 4):
        again = load_checkpoint(tmp_path / "mdsr.safetensors", scale=scale)
        assert again.scale == scale
        assert all(torch.equal(value, again.state_dict()[key]) for key, value in model.state_dict().items())
        assert again(torch.rand(1, 3, 4, 5)).shape == (1, 3, 4 * scale, 5 * scale)


def test_only_the_chosen_ends_run() -> None:
    model = MDSR(num_feat=6, num_block=1, upscale=3)
    model(torch.rand(1, 3, 4, 5)).sum().backward()
    used = {
        name.split(".")[1] for name, p in model.named_parameters() if p.grad is not None and "process" in name
    }
    assert used == {"1"}


def test_radius_grows_with_depth() -> None:
    assert_radius("mdsr_tiny", num_feat=2, num_block=5, scale=4)


@pytest.mark.parametrize("scale", [1, 5, 8])
def test_other_scales_are_refused(scale: int) -> None:
    with pytest.raises(OptionsError, match="use 2, 3 or 4"):
        MDSR(upscale=scale)
