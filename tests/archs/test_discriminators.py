from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from hfsr.archs.discriminators import PatchDiscriminator, SRGANDiscriminator, VGGStyleDiscriminator
from hfsr.checkpoints import identify, load_checkpoint, save_checkpoint
from hfsr.errors import OptionsError
from hfsr.model_zoo import build, create_model
from hfsr.registry import ARCHS

from .parity import assert_same_constructor, shake

COUNTS = {
    "srgan_discriminator_96": 23_565_505,
    "vgg_discriminator_128": 14_499_401,
    "vgg_discriminator_256": 21_055_049,
    "patch_discriminator_70": 2_765_633,
}
TINY = ["srgan_discriminator_tiny", "vgg_discriminator_tiny"]


@pytest.mark.parametrize("preset", COUNTS)
def test_parameter_count_on_the_meta_device(preset: str) -> None:
    with torch.device("meta"):
        model = create_model(preset)
    assert sum(parameter.numel() for parameter in model.parameters()) == COUNTS[preset]
    assert ARCHS[type(model).__name__].role == "discriminator"


@pytest.mark.parametrize("preset", TINY)
def test_one_logit_a_image_and_every_parameter_learns(preset: str) -> None:
    model = create_model(preset)
    logits = model(torch.rand(3, 3, model.input_size, model.input_size))
    assert logits.shape == (3, 1)
    logits.square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("preset", TINY)
def test_tensors_and_recorded_arguments_rebuild_it(preset: str, tmp_path) -> None:
    model = create_model(preset).eval()
    spec, arguments, renamed = identify(model.state_dict())
    assert spec.cls is type(model)
    assert arguments == model.model_args
    again = build(spec.name, **json.loads(json.dumps(arguments))).eval()
    again.load_state_dict(renamed, strict=True)
    x = torch.rand(1, 3, model.input_size, model.input_size)
    assert torch.equal(again(x), model(x))
    save_checkpoint(model, tmp_path / "judge.safetensors")
    assert torch.equal(load_checkpoint(tmp_path / "judge.safetensors")(x), model(x))


@pytest.mark.parametrize("input_size", [128, 256])
def test_parity_with_basicsr(basicsr_archs, input_size: int) -> None:
    theirs = basicsr_archs.discriminator_arch.VGGStyleDiscriminator
    assert_same_constructor(VGGStyleDiscriminator, theirs)
    ours = VGGStyleDiscriminator(num_in_ch=3, num_feat=3, input_size=input_size).eval()
    other = theirs(num_in_ch=3, num_feat=3, input_size=input_size).eval()
    shake(ours)
    assert list(ours.state_dict()) == list(other.state_dict())
    other.load_state_dict(ours.state_dict(), strict=True)
    x = torch.rand(2, 3, input_size, input_size)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), other(x), rtol=0, atol=1e-6)


def test_the_paper_halves_with_every_second_convolution() -> None:
    model = SRGANDiscriminator(num_feat=2, num_hidden=4)
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert [c.stride[0] for c in convolutions] == [1, 2, 1, 2, 1, 2, 1, 2]
    assert [c.out_channels // 2 for c in convolutions] == [1, 1, 2, 2, 4, 4, 8, 8]
    assert {module.negative_slope for module in model.modules() if isinstance(module, nn.LeakyReLU)} == {0.2}
    assert len([module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]) == 7


@pytest.mark.parametrize("preset", TINY)
def test_another_size_is_refused(preset: str) -> None:
    model = create_model(preset)
    with pytest.raises(OptionsError, match=r"takes images of .* not 24x20: make gt_size and input_size"):
        model(torch.rand(1, 3, 20, 24))


@pytest.mark.parametrize(("cls", "input_size"), [(SRGANDiscriminator, 40), (VGGStyleDiscriminator, 96)])
def test_sizes_that_cannot_be_built_are_refused(cls: type[nn.Module], input_size: int) -> None:
    with pytest.raises(OptionsError, match=f"input_size {input_size} is not"):
        cls(input_size=input_size)


def test_a_logit_of_the_patch_discriminator_depends_on_70_px() -> None:
    model = PatchDiscriminator(num_feat=2, num_strided=3).eval()
    x = torch.rand(1, 3, 128, 128, requires_grad=True)
    logits = model(x)
    assert logits.shape == (1, 1, 14, 14)
    logits[0, 0, 7, 7].backward()
    rows = x.grad.abs().sum((0, 1, 3)).nonzero().flatten()
    assert int(rows[-1] - rows[0]) + 1 == 70 == 2 * ARCHS["PatchDiscriminator"].radius(model.model_args)


def test_the_patch_discriminator_takes_any_size_and_every_parameter_learns(tmp_path) -> None:
    model = create_model("patch_discriminator_tiny")
    logits = model(torch.rand(2, 3, 40, 57))
    assert logits.shape[:2] == (2, 1)
    logits.square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []
    spec, arguments, _ = identify(model.state_dict())
    assert (spec.name, arguments) == ("PatchDiscriminator", model.model_args)
    save_checkpoint(model.eval(), tmp_path / "judge.safetensors")
    x = torch.rand(1, 3, 24, 24)
    assert torch.equal(load_checkpoint(tmp_path / "judge.safetensors")(x), model(x))
    with pytest.raises(OptionsError, match=r"at least 8x8 px, not 9x7: increase gt_size or reduce"):
        model(torch.rand(1, 3, 7, 9))
    with pytest.raises(OptionsError, match="num_strided 0 is less than 1"):
        PatchDiscriminator(num_strided=0)
