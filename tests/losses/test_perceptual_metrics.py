"""LPIPS and DISTS as losses, with random weights: torchmetrics' formulas, gradients, origin of weights."""

from __future__ import annotations

import importlib
import shutil
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from hfsr._compat import import_torchvision
from hfsr.errors import CheckpointError, DataError, HubError, OptionsError
from hfsr.losses import DISTSLoss, LPIPSLoss
from hfsr.metrics.perceptual_networks import backbone
from hfsr.registry import LOSSES

import_torchvision()
pytest.importorskip("torchmetrics")


@pytest.fixture(scope="module")
def vgg():
    torch.manual_seed(0)
    return nn.ModuleDict({"features": backbone("vgg", pretrained=False)})


@pytest.fixture(scope="module")
def vgg_file(vgg, tmp_path_factory):
    path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    torch.save(vgg.state_dict(), path)
    return str(path)


def images():
    torch.manual_seed(1)
    gt = torch.rand(2, 3, 40, 36)
    return (gt + 0.1 * torch.randn_like(gt)).clamp(0, 1), gt


@pytest.mark.parametrize("net", ["alex", "squeeze", "vgg"])
def test_lpips_is_that_of_torchmetrics(net):
    import_torchvision()
    module = importlib.import_module("torchmetrics.functional.image.lpips")
    torch.manual_seed(0)
    theirs = module._LPIPS(net=net, pnet_rand=True)
    loss = LPIPSLoss(net=net, pretrained=False, loss_weight=0.5)
    # torchmetrics cuts the layers into slices that keep their numbers.
    depth = 2 if net == "squeeze" else 1
    weights = {key.split(".", depth)[-1]: value for key, value in theirs.net.state_dict().items()}
    loss.network.features.load_state_dict(weights)
    sr, gt = images()
    expected = theirs(sr, gt, normalize=True).flatten()
    assert expected.min() > 0
    assert torch.allclose(loss.network(sr, gt), expected, rtol=1e-4)
    assert loss(sr, gt).item() == pytest.approx(0.5 * expected.mean().item(), rel=1e-4)
    assert loss(gt, gt) == 0


def test_dists_is_that_of_torchmetrics(vgg, vgg_file, monkeypatch):
    module = importlib.import_module("torchmetrics.functional.image.dists")
    monkeypatch.setattr(module, "vgg16", lambda weights: SimpleNamespace(features=vgg["features"]))
    loss = DISTSLoss(weights=vgg_file)
    sr, gt = images()
    expected = module.DISTSNetwork()(sr, gt)
    assert torch.allclose(loss.network(sr, gt), expected, atol=1e-5)
    assert loss(sr, gt).item() == pytest.approx(expected.mean().item(), abs=1e-5)
    assert abs(loss(gt, gt).item()) < 1e-6


def test_gradients_reach_the_image_and_no_weight(vgg_file):
    sr, gt = images()
    for loss in (LPIPSLoss(weights=vgg_file), DISTSLoss(weights=vgg_file)):
        sr = sr.detach().requires_grad_()
        loss.train()(sr, gt).backward()
        assert torch.isfinite(sr.grad).all()
        assert sr.grad.abs().max() > 0
        assert not any(parameter.requires_grad for parameter in loss.parameters())
        with pytest.raises(DataError, match="at least 32 px, not 31"):
            loss(sr[..., :31], gt[..., :31])
        step = sr.detach() - 1e-2 * sr.grad / sr.grad.norm()
        assert loss(step, gt) < loss(sr, gt)


def test_weights_are_never_downloaded_silently(tmp_path, monkeypatch, vgg_file):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name, told in (
        (
            "DISTSLoss",
            "DISTSLoss needs the weights of VGG16: write weights: FILE with https.* or weights: timm/vgg16",
        ),
        ("LPIPSLoss", "LPIPSLoss needs the weights of VGG16"),
    ):
        with pytest.raises(OptionsError, match=told):
            LOSSES[name]()
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    models = importlib.import_module("torchvision.models")
    file = folder / models.VGG16_Weights.DEFAULT.url.rsplit("/", 1)[-1]
    shutil.copy(vgg_file, file)
    before = torch.random.get_rng_state()
    loss = DISTSLoss()
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(loss.network.features[0].weight, torch.load(vgg_file)["features.0.weight"])


def test_other_files_and_ids(tmp_path, monkeypatch, vgg):
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="is not VGG16 of torchvision"):
        DISTSLoss(weights=str(tmp_path / "other.pth"))
    with pytest.raises(OptionsError, match=r"there is no file 'absent\.pth'"):
        LPIPSLoss(weights="absent.pth")
    timm_models = importlib.import_module("timm.models")

    def offline(name):
        raise OSError("no network")

    monkeypatch.setattr(timm_models, "load_state_dict_from_hf", offline)
    with pytest.raises(
        HubError, match=r"'a/b' of LPIPSLoss cannot be downloaded from the Hub \(no network\)"
    ):
        LPIPSLoss(weights="a/b")
    monkeypatch.setattr(timm_models, "load_state_dict_from_hf", lambda name: vgg.state_dict())
    loss = LPIPSLoss(weights="timm/vgg16.tv_in1k")
    assert torch.equal(loss.network.features[0].weight, vgg["features"][0].weight)
