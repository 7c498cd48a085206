"""Tests of the perceptual loss on features of a restoration network."""

from __future__ import annotations

import pytest
import torch

from hfsr import from_pretrained
from hfsr.checkpoints import save_checkpoint
from hfsr.errors import CheckpointError, OptionsError
from hfsr.losses.restorer_features import RestorerFeatureLoss
from hfsr.model_zoo import create_model


def features_by_hooks(model, names, x):
    found = {}

    def keep(name):
        def hook(_module, _inputs, output):
            found[name] = output.clone()

        return hook

    modules = dict(model.named_modules())
    hooks = [modules[name].register_forward_hook(keep(name)) for name in names]
    model(x)
    for hook in hooks:
        hook.remove()
    return [found[name] for name in names]


@pytest.mark.parametrize(("criterion", "distance"), [("l1", torch.nn.L1Loss()), ("l2", torch.nn.MSELoss())])
def test_it_is_the_weighted_distance_of_the_layers_outputs(criterion, distance):
    layers = {"body.2": 0.25, "conv_first": 2.0, "body.1.conv1": 1.0}  # in any order, also inside a block
    loss = RestorerFeatureLoss(layers=layers, criterion=criterion, loss_weight=0.5)
    sr, gt = torch.rand(2, 2, 3, 20, 24)
    sr.requires_grad_()
    denoiser = from_pretrained("hfsr-denoise")
    maps = [features_by_hooks(denoiser, layers, x) for x in (sr, gt)]
    expected = 0.5 * sum(w * distance(x, y) for w, x, y in zip(layers.values(), *maps, strict=True))
    found = loss(sr, gt)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*(torch.autograd.grad(each, sr)[0] for each in (found, expected)))


def test_an_activation_in_place_does_not_change_the_layer_before_it(tmp_path):
    model = create_model("msrresnet_tiny").eval()
    assert model.lrelu.inplace
    save_checkpoint(model, tmp_path / "net.safetensors")
    loss = RestorerFeatureLoss(
        network=str(tmp_path / "net.safetensors"), layers={"conv_first": 1.0, "body.0": 1.0}
    )
    x = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(loss.features(x)["conv_first"], model.conv_first(x))


def test_it_is_frozen_and_runs_no_layer_after_the_last():
    loss = RestorerFeatureLoss(layers={"body.0.conv2": 1.0, "body.0.conv1": 1.0}).train()
    assert not any(p.requires_grad for p in loss.parameters())
    assert not any(module.training for module in loss.modules())
    loss.network.body[1].register_forward_hook(lambda *_: pytest.fail("the second block runs"))
    x = torch.rand(1, 3, 16, 16, requires_grad=True)
    loss(x, torch.rand(1, 3, 16, 16)).backward()
    assert x.grad.abs().sum() > 0


def test_it_takes_any_size_and_a_block_beside_a_layer_in_it(tmp_path):
    model = create_model("mirnet_tiny").eval()  # which pads its input to a multiple of 4
    save_checkpoint(model, tmp_path / "net.safetensors")
    names = ["body.0", "body.0.body.0.conv_out"]
    loss = RestorerFeatureLoss(network=str(tmp_path / "net.safetensors"), layers=dict.fromkeys(names, 1.0))
    x = torch.rand(1, 3, 26, 21)
    assert float(loss(x, x)) == 0
    assert float(loss(x, x.flip(3))) > 0


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"layers": {"body.99": 1.0}}, OptionsError, "layers.body.99: 'hfsr-denoise' has no such layer"),
        ({"layers": {"": 1.0}}, OptionsError, "layers.: 'hfsr-denoise' has no such layer"),
        ({"layers": {}}, OptionsError, "layers: is empty; name at least one layer"),
        ({"layers": {"body.0": 1.0}, "network": "no/such/file.pth"}, CheckpointError, "no/such/file.pth"),
    ],
)
def test_invalid_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        RestorerFeatureLoss(**arguments)


def test_a_network_of_one_channel_is_refused(tmp_path):
    save_checkpoint(create_model("msrresnet_tiny", num_in_ch=1, num_out_ch=1), tmp_path / "gray.safetensors")
    with pytest.raises(OptionsError, match=r"gray\.safetensors' does not take RGB"):
        RestorerFeatureLoss(network=str(tmp_path / "gray.safetensors"), layers={"body.0": 1.0})
