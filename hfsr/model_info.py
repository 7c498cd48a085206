"""What can be counted or read off a network: the numbers of `hfsr info` and of the cards."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hfsr import zoo
from hfsr.errors import CheckpointError
from hfsr.registry import ARCHS

__all__ = ["ModelInfo", "inspect_model", "multiply_adds"]

HD = (720, 1280)
"""Height and width of the output that multiply-adds are counted for, as the papers do, in px."""


@dataclass(frozen=True)
class ModelInfo:
    """The facts of one built network; those of its system come from its `ArchSpec`."""

    architecture: str
    role: str
    """ "restorer", or what serves training and priors."""
    title: str
    paper: str
    reference: str
    reference_license: str
    task: str
    scale: float
    multi_scale: bool
    """One set of weights serves every scale."""
    parameters: int
    multiply_adds: int | None
    """For one picture whose result is 1280x720; None of a network that is no restorer or not registered."""
    tiling: str
    radius: int
    """One-sided receptive field of the convolutions, global pools left out, in px of the input."""
    size_multiple: int
    bf16: bool
    fp16: bool
    model_args: dict[str, Any]

    @property
    def year(self) -> str:
        """The paper's year, from its arXiv number; empty where the address is another."""
        number = self.paper.rsplit("/", 1)[-1]
        return f"20{number[:2]}" if "arxiv.org" in self.paper and number[:4].isdigit() else ""

    def to_json(self) -> dict[str, Any]:
        """The facts as JSON carries them."""
        return asdict(self)


def inspect_model(model: nn.Module, *, task: str | None = None) -> ModelInfo:
    """Reads the facts of a built network.

    Args:
        model: the network; its tensors may be on the meta device.
        task: what its weights are for; the network's usual task when None.

    Raises:
        CheckpointError: the network is not a registered one and says nothing of itself.
    """
    spec = zoo.spec_of(model)
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
        reference_license=spec.licence,
        task=task or zoo.usual_task(model),
        scale=getattr(model, "scale", 1),
        multi_scale=spec.multi_scale,
        parameters=sum(p.numel() for p in model.parameters()),
        multiply_adds=multiply_adds(spec.name, arguments) if counted else None,
        tiling=spec.tiling,
        radius=spec.radius(arguments),
        size_multiple=spec.size_multiple(arguments),
        bf16=spec.bf16,
        fp16=spec.fp16,
        model_args=arguments,
    )


def multiply_adds(arch: str, arguments: dict[str, Any]) -> int:
    """Multiply-adds of convolutions and matrix products for a 1280x720 result, as the papers count them.

    Counted on the meta device: no memory, no arithmetic. The input is 720//scale x 1280//scale.
    """
    with torch.device("meta"):
        model = zoo.build(arch, **arguments).eval()
    scale = ARCHS[arch].scale_of(arguments)
    x = torch.empty(1, ARCHS[arch].in_channels, int(HD[0] // scale), int(HD[1] // scale), device="meta")
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(x)
    return counter.get_total_flops() // 2
