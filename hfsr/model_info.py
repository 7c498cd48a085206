"""Properties of a network for `hfsr info` and cards: parameters, multiply-adds, receptive field, paper."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hfsr import model_zoo
from hfsr.archs import count_parameters
from hfsr.errors import CheckpointError
from hfsr.registry import ARCHS

__all__ = ["ModelInfo", "inspect_model", "multiply_adds"]

OUTPUT_SIZE = (720, 1280)
"""Height and width in px of the output for which multiply-adds are counted, as in the papers."""


@dataclass(frozen=True)
class ModelInfo:
    """Properties of one built network; those of its architecture come from its `ArchSpec`."""

    architecture: str
    role: str
    """ "restorer", "discriminator", "generator" or "features"."""
    title: str
    paper: str
    reference: str
    reference_license: str
    task: str
    scale: float
    multi_scale: bool
    """True if one set of weights serves every scale."""
    parameters: int
    multiply_adds: int | None
    """Multiply-adds of one image whose result is 1280x720; None if not a registered restorer."""
    tiling: str
    radius: int
    """One-sided receptive field of the convolutions in px of the input, without global pools."""
    size_multiple: int
    bf16: bool
    fp16: bool
    extra: str | None
    """Extra of hfsr that must be installed to run it; None for networks of hfsr."""
    model_args: dict[str, Any]

    @property
    def year(self) -> str:
        """Year of the paper, from its arXiv number; empty if it is not on arXiv."""
        number = self.paper.rsplit("/", 1)[-1]
        return f"20{number[:2]}" if "arxiv.org" in self.paper and number[:4].isdigit() else ""

    def to_json(self) -> dict[str, Any]:
        """Returns the properties as plain values."""
        return asdict(self)


def inspect_model(model: nn.Module, *, task: str | None = None) -> ModelInfo:
    """Collects the properties of a built network.

    Args:
        model: the network; its tensors may be on the meta device.
        task: task of its weights; the network's usual task if None.

    Raises:
        CheckpointError: the network is not registered.
    """
    spec = model_zoo.spec_of(model)
    if spec is None:
        raise CheckpointError(f"{type(model).__name__} is not a registered network: nothing is known of it")
    arguments = dict(vars(model)["model_args"])
    counted = spec.role == "restorer" and spec in ARCHS.own().values()
    return ModelInfo(
        architecture=spec.name,
        role=spec.role,
        title=spec.title,
        paper=spec.paper,
        reference=spec.reference,
        reference_license=spec.license,
        task=task or model_zoo.default_task(model),
        scale=getattr(model, "scale", 1),
        multi_scale=spec.multi_scale,
        parameters=count_parameters(model),
        multiply_adds=multiply_adds(spec.name, arguments) if counted else None,
        tiling=spec.tiling,
        radius=spec.radius(arguments),
        size_multiple=spec.size_multiple(arguments),
        bf16=spec.bf16,
        fp16=spec.fp16,
        extra=spec.extra,
        model_args=arguments,
    )


def multiply_adds(arch: str, arguments: dict[str, Any]) -> int:
    """Counts the multiply-adds of convolutions and matrix products for a 1280x720 result, as the papers do.

    It runs on the meta device, without memory and arithmetic. The input is 720//scale x 1280//scale.
    """
    with torch.device("meta"):
        model = model_zoo.build(arch, **arguments).eval()
    scale = ARCHS[arch].scale_of(arguments)
    x = torch.empty(
        1,
        model_zoo.input_channels(model),
        int(OUTPUT_SIZE[0] // scale),
        int(OUTPUT_SIZE[1] // scale),
        device="meta",
    )
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(x)
    return counter.get_total_flops() // 2
