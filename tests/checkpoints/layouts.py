"""Files in the layouts of other programs, made from networks of ours."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hfsr.model_zoo import create_model

EDSR = {"num_feat": 16, "num_block": 2, "upscale": 2}
RCAN = {"num_feat": 16, "num_group": 2, "num_block": 2, "squeeze_factor": 4, "upscale": 2}
MDSR = {"num_feat": 8, "num_block": 2, "upscale": 2}
MEAN = torch.tensor([0.4488, 0.4371, 0.4040])
NO_MEAN = (0.0, 0.0, 0.0)


def fresh(name: str, seed: int = 0, **arguments: Any) -> nn.Module:
    """A network whose weights and biases are large enough that each argument matters."""
    torch.manual_seed(seed)
    model = create_model(name, **arguments).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "_mean" not in key:
                spread = parameter[0].numel() ** -0.5 if parameter.dim() > 1 else 0.1
                parameter.copy_(torch.randn(parameter.shape) * spread)
    return model


@torch.no_grad()
def difference(found: nn.Module, right: Any) -> float:
    """The largest difference between two results, relative to the range of the right one."""
    x = torch.rand(1, 3, 9, 11)
    expected, result = right(x), found(x)
    assert result.shape == expected.shape
    return float((result - expected).abs().max() / (expected.max() - expected.min()))


def renamed(tensors: Mapping[str, Tensor], rules: Sequence[tuple[str, str]]) -> dict[str, Tensor]:
    """Tensors under other keys, each by the first rule that matches it."""
    result = {}
    for key, tensor in tensors.items():
        for pattern, replacement in rules:
            key, count = re.subn(pattern, replacement, key)
            if count:
                break
        result[key] = tensor
    return result


def mean_layers(img_range: float, drift: float = 0.0) -> dict[str, Tensor]:
    """`sub_mean` and `add_mean` of the EDSR family, trained along by `drift`."""
    torch.manual_seed(5)
    eye = torch.eye(3).view(3, 3, 1, 1)
    return {
        "sub_mean.weight": eye + drift * torch.randn(3, 3, 1, 1),
        "sub_mean.bias": img_range * (drift * torch.randn(3) - MEAN),
        "add_mean.weight": eye + drift * torch.randn(3, 3, 1, 1),
        "add_mean.bias": img_range * (drift * torch.randn(3) + MEAN),
    }


def official_edsr(model: nn.Module, blocks: int = 2) -> dict[str, Tensor]:
    return renamed(
        model.state_dict(),
        [
            (r"^conv_first\.", "head.0."),
            (r"^body\.(\d+)\.conv1\.", r"body.\1.body.0."),
            (r"^body\.(\d+)\.conv2\.", r"body.\1.body.2."),
            (r"^conv_after_body\.", f"body.{blocks}."),
            (r"^upsample\.", "tail.0."),
            (r"^conv_last\.", "tail.1."),
        ],
    )


def official_mdsr(model: nn.Module, blocks: int = 2) -> dict[str, Tensor]:
    return renamed(
        model.state_dict(),
        [
            (r"^conv_first\.", "head.0."),
            (r"^(pre_process\.\d+\.\d+|body\.\d+)\.conv1\.", r"\1.body.0."),
            (r"^(pre_process\.\d+\.\d+|body\.\d+)\.conv2\.", r"\1.body.2."),
            (r"^conv_after_body\.", f"body.{blocks}."),
            (r"^conv_last\.", "tail.0."),
        ],
    )


def official_pa_edsr(model: nn.Module) -> dict[str, Tensor]:
    """Of a network with two blocks."""
    return renamed(
        model.state_dict(),
        [
            (r"^conv_first\.", "head.0."),
            (r"^before\.0\.conv1\.", "body.0.body.0."),
            (r"^before\.0\.conv2\.", "body.0.body.2."),
            (r"^after\.0\.conv1\.", "body.2.body.0."),
            (r"^after\.0\.conv2\.", "body.2.body.2."),
            (r"^attention\.query\.", "body.1.conv_match_L_base."),
            (r"^attention\.key\.", "body.1.conv_match."),
            (r"^attention\.value\.", "body.1.conv_assembly."),
            (r"^conv_after_body\.", "body.3."),
            (r"^upsample\.", "tail.0."),
            (r"^conv_last\.", "tail.1."),
        ],
    )


def official_rcan(model: nn.Module, groups: int = 2, blocks: int = 2) -> dict[str, Tensor]:
    block = r"^body\.(\d+)\.residual_group\.(\d+)\.rcab\."
    return renamed(
        model.state_dict(),
        [
            (r"^conv_first\.", "head.0."),
            (block + r"([02])\.", r"body.\1.body.\2.body.\3."),
            (block + r"3\.attention\.1\.", r"body.\1.body.\2.body.3.conv_du.0."),
            (block + r"3\.attention\.3\.", r"body.\1.body.\2.body.3.conv_du.2."),
            (r"^body\.(\d+)\.conv\.", rf"body.\1.body.{blocks}."),
            (r"^conv_after_body\.", f"body.{groups}."),
            (r"^upsample\.", "tail.0."),
            (r"^conv_last\.", "tail.1."),
        ],
    )


def old_esrgan(tensors: Mapping[str, Tensor], stages: int = 2, blocks: int = 1) -> dict[str, Tensor]:
    """BasicSR's keys of an RRDBNet -> `model.0`, `model.1.sub.*`, `model.3`, ..."""
    numbers = {"conv_first": 0, "conv_up1": 3, "conv_up2": 6, "conv_hr": 3 * stages + 2}
    numbers["conv_last"] = 3 * stages + 4
    rules = [
        (r"^body\.(\d+)\.rdb(\d)\.conv(\d)\.", r"model.1.sub.\1.RDB\2.conv\3.0."),
        (r"^conv_body\.", f"model.1.sub.{blocks}."),
    ]
    rules += [(rf"^{name}\.", f"model.{number}.") for name, number in numbers.items()]
    kept = {key: t for key, t in tensors.items() if stages == 2 or not key.startswith("conv_up2")}
    return renamed(kept, rules)


def keep_flat(model: nn.Module) -> nn.Module:
    """Sets the weights of an EDSR so that flat images come back in its own range and with its own mean alone.

    It clips to the values that it gets there, and adds a ten thousandth of the range.
    """
    img_range = model.shift.img_range
    low = -img_range * model.shift.mean.flatten()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        first, second = model.body[0].conv1, model.body[0].conv2
        for i in range(3):
            model.conv_first.weight[i, i, 1, 1] = 1
            first.weight[i, i, 1, 1], first.bias[i] = 1, -low[i] - img_range  # what is too large
            first.weight[3 + i, i, 1, 1], first.bias[3 + i] = -1, low[i]  # what is too small
            second.weight[i, i, 1, 1], second.weight[i, 3 + i, 1, 1] = -1, 1
            model.conv_after_body.weight[i, i, 1, 1] = 1
            model.upsample[0].weight[4 * i : 4 * i + 4, i, 1, 1] = 1
            model.conv_last.weight[i, i, 1, 1] = 0.5  # of the clipped value and the value itself
        model.conv_last.bias.fill_(1e-4 * img_range)
    return model


def mmagic_edsr(model: nn.Module) -> dict[str, Tensor]:
    """The keys of mmagic's EDSRNet, under the name of the network in its trainer."""
    tensors = renamed(model.state_dict(), [(r"^upsample\.0\.", "upsample.0.upsample_conv.")])
    tensors = renamed(tensors, [(r"^upsample\.2\.", "upsample.1.upsample_conv.")])
    return {f"generator.{key}": tensor for key, tensor in tensors.items()}


def torchsr_rdn(model: nn.Module) -> dict[str, Tensor]:
    """The keys that torchSR and mmagic give to RDN."""
    last = max(int(key.split(".")[1]) for key in model.state_dict() if key.startswith("UPNet."))
    rules = [
        (r"^SFENet", "sfe"),
        (r"^RDBs\.(\d+)\.convs\.(\d+)\.conv\.0\.", r"rdbs.\1.layers.\2.conv."),
        (r"^RDBs\.(\d+)\.LFF\.", r"rdbs.\1.lff."),
        (r"^GFF\.", "gff."),
        (rf"^UPNet\.{last}\.", "output."),
        (r"^UPNet\.", "upscale."),
    ]
    return renamed(model.state_dict(), rules)


MMAGIC_MSRRESNET = ((r"^body\.", "trunk_net."), (r"^upconv(\d)\.", r"upsample\1.upsample_conv."))
"""Our keys of MSRResNet, and mmagic's."""


def mmagic_msrresnet(model: nn.Module) -> dict[str, Tensor]:
    """The keys of mmagic's MSRResNet, under the name of the network in its trainer."""
    tensors = renamed(model.state_dict(), MMAGIC_MSRRESNET)
    return {f"generator.{key}": tensor for key, tensor in tensors.items()}
