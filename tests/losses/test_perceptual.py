"""Tests of losses on VGG features, with random weights: layers, formulas, errors."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from hfsr import model_zoo
from hfsr.errors import HubError, OptionsError
from hfsr.losses import PerceptualLoss, TextureLoss, VGGFeatures, vgg_features


def random_features(*layers, **arguments):
    return VGGFeatures(layers, pretrained=False, **arguments)


def test_layer_names_match_the_papers():
    net = random_features("relu2_2", "conv5_4", "relu5_4")
    kinds = [type(layer).__name__ for layer in net.layers.values()]
    # torchvision's and timm's vgg19.features: 35 is the last activation, before the last pool.
    assert len(kinds) == 36
    assert kinds.count("Conv2d") == 16
    assert kinds.count("MaxPool2d") == 4
    maps = net(torch.rand(1, 3, 32, 32))
    assert {name: tuple(x.shape[1:]) for name, x in maps.items()} == {
        "relu2_2": (128, 16, 16),
        "conv5_4": (512, 2, 2),
        "relu5_4": (512, 2, 2),
    }
    assert bool((maps["conv5_4"] < 0).any())  # before its activation, which must not overwrite it
    assert torch.equal(maps["relu5_4"], maps["conv5_4"].clamp(min=0))


def test_features_are_frozen():
    net = random_features("bn1_1", vgg_type="vgg11_bn").train()
    assert not any(p.requires_grad for p in net.parameters())
    assert not any(module.training for module in net.modules())


def test_input_normalization():
    plain, normal = (random_features("conv1_1", use_input_norm=norm) for norm in (False, True))
    normal.load_state_dict(plain.state_dict())
    x = torch.rand(1, 3, 8, 8)
    shifted = (x - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor(
        [0.229, 0.224, 0.225]
    ).view(3, 1, 1)
    assert torch.allclose(normal(x)["conv1_1"], plain(shifted)["conv1_1"], atol=1e-6)
    wide = random_features("conv1_1", range_norm=True)
    wide.load_state_dict(plain.state_dict())
    assert torch.allclose(wide(2 * x - 1)["conv1_1"], normal(x)["conv1_1"], atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer_weights": {"conv9_1": 1}}, "layer_weights.conv9_1: vgg19 has no such layer"),
        (
            {"layer_weights": {"conv1_1": 1}, "vgg_type": "vgg18"},
            "vgg_type: no network named 'vgg18'; did",
        ),
        ({"layer_weights": {"conv5_3": 1}, "vgg_type": "minc", "pretrained": True}, "needs weights .a file"),
    ],
)
def test_invalid_arguments(arguments, message):
    with pytest.raises(OptionsError, match=message):
        PerceptualLoss(**{"pretrained": False, **arguments})


def test_download_error_is_one_line(monkeypatch):
    import timm

    def fail(*_, **__):
        raise OSError("the Hub\nis unreachable")

    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(HubError, match=r"vgg19 cannot be downloaded from the Hub \(the Hub is unreachable\)"):
        PerceptualLoss(layer_weights={"conv1_1": 1})


def test_layers_are_checked_before_the_download(monkeypatch):
    import timm

    create = timm.create_model

    def without_weights(name, pretrained):
        assert not pretrained, "weights would be downloaded"
        return create(name)

    monkeypatch.setattr(timm, "create_model", without_weights)
    with pytest.raises(OptionsError, match=r"layer_weights.conv9_1: vgg11 has no such layer"):
        PerceptualLoss(layer_weights={"conv9_1": 1}, vgg_type="vgg11")


def test_perceptual_and_style_loss_match_their_formulas():
    weights = {"conv1_2": 0.5, "relu2_1": 2.0}
    loss = PerceptualLoss(layer_weights=weights, pretrained=False, perceptual_weight=3.0, style_weight=7.0)
    sr, gt = torch.rand(2, 3, 8, 6, requires_grad=True), torch.rand(2, 3, 8, 6)
    perceptual, style = loss(sr, gt)
    ours, theirs = loss.features(sr), loss.features(gt)

    def gram(x):
        flat = x.reshape(*x.shape[:2], -1)
        return torch.einsum("bcn,bdn->bcd", flat, flat) / (flat.shape[1] * flat.shape[2])

    expected = sum(w * (ours[n] - theirs[n]).abs().mean() for n, w in weights.items())
    assert torch.allclose(perceptual, 3 * expected)
    expected = sum(w * (gram(ours[n]) - gram(theirs[n])).abs().mean() for n, w in weights.items())
    assert torch.allclose(style, 7 * expected)
    (perceptual + style).backward()
    assert bool(sr.grad.abs().sum() > 0)


def test_weight_of_0_disables_a_term():
    arguments = {"layer_weights": {"conv1_1": 1}, "pretrained": False, "criterion": "l2"}
    sr, gt = torch.rand(2, 1, 3, 4, 4)
    perceptual, style = PerceptualLoss(**arguments)(sr, gt)
    assert perceptual is not None
    assert style is None
    perceptual, _ = PerceptualLoss(**arguments, perceptual_weight=0)(
        torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 4)
    )
    assert perceptual is None


def test_minc_has_the_published_state_dict_keys(tmp_path):
    net = model_zoo.create_model("vgg16_minc_tiny")
    keys = [key for key in net.state_dict() if key.endswith("weight")]
    assert keys == [f"conv{s}{i}.weight" for s, n in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, n + 1)]
    assert net(torch.rand(1, 3, 33, 20)).shape == (1, 16, 3, 2)  # pools round up
    save_file(net.state_dict(), tmp_path / "minc.safetensors")
    arguments = {
        "vgg_type": vgg_features.MINC,
        "weights": str(tmp_path / "minc.safetensors"),
        "use_input_norm": False,
    }
    loss = PerceptualLoss(layer_weights={"conv5_3": 1.0}, **arguments)
    x, y = torch.rand(1, 3, 20, 20), torch.rand(1, 3, 20, 20)
    assert torch.allclose(loss(x, y)[0], (net(x) - net(y)).abs().mean())


def test_minc_preset_has_the_parameter_count_of_vgg16():
    with torch.device("meta"):
        net = model_zoo.create_model("vgg16_minc")
    assert sum(p.numel() for p in net.parameters()) == 14_714_688


class Identity(nn.Module):
    def forward(self, x):
        return {"map": x}


@pytest.fixture
def texture():
    loss = TextureLoss(layer_weights={}, patch_size=4, pretrained=False)
    loss.layer_weights, loss.features = {"map": 2.0}, Identity()
    return loss


def test_texture_loss_compares_gram_matrices_of_patches(texture):
    sr, gt = torch.rand(2, 3, 8, 9), torch.rand(2, 3, 8, 9)
    expected = 0.0
    for top in (0, 4):
        for left in (0, 4):
            a, b = (x[:, :, top : top + 4, left : left + 4].reshape(2, 3, 16) for x in (sr, gt))
            expected += (a @ a.mT - b @ b.mT).square().mean() / 4
    assert torch.allclose(texture(sr, gt), 2 * expected, rtol=1e-5)


def test_texture_loss_ignores_positions_within_a_patch(texture):
    gt = torch.rand(1, 3, 8, 8)
    inside = gt.unflatten(3, (2, 4)).flip(4).flatten(3)  # mirrors each patch
    assert texture(inside, gt).item() == pytest.approx(0, abs=1e-9)
    assert texture(gt.roll(4, 3), gt).item() > 1e-3
    assert texture(gt[:, :, :3, :2], gt[:, :, :3, :2]).item() == 0  # smaller than a patch


def test_texture_loss_has_gradients():
    loss = TextureLoss(layer_weights={"relu1_1": 1.0, "relu2_1": 1.0}, patch_size=4, pretrained=False)
    sr = torch.rand(1, 3, 16, 16, requires_grad=True)
    loss(sr, torch.rand(1, 3, 16, 16)).backward()
    assert bool(sr.grad.abs().sum() > 0)
