from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hfsr.archs._luma import luma
from hfsr.archs.fsrcnn import FSRCNN
from hfsr.checkpoints import identify, load_checkpoint
from hfsr.errors import CheckpointError, OptionsError

from .graphs import assert_radius
from .parity import shake

PARAMETERS = {
    **{f"fsrcnn_x{s}": 12_809 for s in (2, 3, 4)},
    **{f"fsrcnn_s_x{s}": 4_086 for s in (2, 3, 4)},
    "fsrcnn_tiny": 1_105,
}


@pytest.mark.parametrize(("sizes", "weights"), [((56, 12, 4), 12_464), ((32, 5, 1), 3_937)])
def test_the_paper_counts_weights_only(sizes, weights) -> None:
    num_feat, num_shrunk, num_map = sizes
    model = FSRCNN(num_feat=num_feat, num_shrunk=num_shrunk, num_map=num_map)
    kernels = [m.weight for m in model.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
    assert sum(kernel.numel() for kernel in kernels) == weights


def test_by_hand() -> None:
    model = FSRCNN(num_feat=6, num_shrunk=3, num_map=2, upscale=3)
    shake(model)
    t, x = model.state_dict(), torch.rand(1, 3, 5, 4)

    def layer(name: str, number: int, features: torch.Tensor) -> torch.Tensor:
        weight, bias = t[f"{name}.{number}.weight"], t[f"{name}.{number}.bias"]
        features = F.conv2d(features, weight, bias, padding=weight.shape[-1] // 2)
        slope = t[f"{name}.{number + 1}.weight"]  # one per channel, after every convolution
        assert slope.shape == (len(weight),)
        return F.prelu(features, slope)

    features = layer("first_part", 0, luma(x))
    for number in (0, 2, 4, 6):  # shrink, map, map, expand
        features = layer("mid_part", number, features)
    expected = F.conv_transpose2d(features, t["last_part.weight"], t["last_part.bias"], stride=3)
    with torch.no_grad():
        torch.testing.assert_close(luma(model(x)), expected[..., 4:-2, 4:-2], rtol=0, atol=1e-5)
    sides = [t[f"mid_part.{number}.weight"].shape[-1] for number in (0, 2, 4, 6)]
    assert (t["first_part.0.weight"].shape[-1], *sides, t["last_part.weight"].shape[-1]) == (5, 1, 3, 3, 1, 9)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("size", [1, 2, 7])
def test_the_deconvolution_enlarges_exactly(scale, size) -> None:
    model = FSRCNN(num_feat=4, num_shrunk=2, num_map=0, upscale=scale)
    assert model.last_part(torch.rand(1, 4, size, size + 1)).shape[2:] == (size * scale, (size + 1) * scale)


def test_released_layout(tmp_path) -> None:
    state = FSRCNN(upscale=3).state_dict()
    assert {key.rpartition(".")[0] for key in state} == {
        *(f"first_part.{i}" for i in range(2)),
        *(f"mid_part.{i}" for i in range(12)),
        "last_part",
    }
    spec, arguments, _ = identify(state)
    assert (spec.cls, arguments) == (FSRCNN, {"num_feat": 56, "num_shrunk": 12, "num_map": 4})
    for name in ("fsrcnn_x3.pth", "weights.pth"):
        torch.save(state, tmp_path / name)
    assert load_checkpoint(tmp_path / "fsrcnn_x3.pth").scale == 3
    with pytest.raises(CheckpointError, match="state one of 2, 3, 4"):
        load_checkpoint(tmp_path / "weights.pth")


def test_layout_of_another_port() -> None:
    state = FSRCNN(num_map=2).state_dict()
    places = ("shrink.0", "shrink.1", "map.0", "map.1", "map.2", "map.3", "expand.0", "expand.1")
    theirs = {}
    for key, value in state.items():
        key = key.replace("first_part", "feature_extraction").replace("last_part", "deconv")
        if key.startswith("mid_part"):
            _, number, tensor = key.split(".")
            key = f"{places[int(number)]}.{tensor}"
        theirs[key] = value
    spec, arguments, renamed = identify(theirs)
    assert (spec.cls, arguments) == (FSRCNN, {"num_feat": 56, "num_shrunk": 12, "num_map": 2})
    assert renamed.keys() == state.keys()
    assert all(torch.equal(renamed[key], value) for key, value in state.items())


@pytest.mark.parametrize(("scale", "radius"), [(2, 8), (3, 8), (4, 7)])
def test_radius_of_the_paper_s_network(scale, radius) -> None:
    assert_radius("fsrcnn_tiny", num_map=4, scale=scale)
    from hfsr.model_zoo import presets

    name = f"fsrcnn_x{scale}"
    assert presets()[name].radius(presets()[name].presets[name]) == radius


def test_what_it_cannot_be() -> None:
    with pytest.raises(OptionsError, match="use 2, 3 or 4"):
        FSRCNN(upscale=8)
