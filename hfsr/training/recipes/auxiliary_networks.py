"""The networks that learn beside `network_g`."""

from __future__ import annotations

from torch import nn

from hfsr.errors import OptionsError
from hfsr.options import TrainOptions, Typed

from ..pretrained import load_pretrained
from ..setup import build_section

__all__ = ["build_partner", "needed"]


def needed(section: Typed | None, word: str, options: TrainOptions, example: str) -> Typed:
    """A section that a recipe cannot do without.

    Raises:
        OptionsError: it is missing.
    """
    if section is None:
        raise OptionsError(
            f"{word}: is missing; {options.model_type} needs it, for example {word}: {example}"
        )
    return section


def build_partner(options: TrainOptions, key: str, example: str, *, like: nn.Module) -> nn.Module:
    """`network_<key>` with fresh weights, or those that `path.pretrain_network_<key>` names.

    Args:
        options: the file.
        key: `d` or `dual`.
        example: of such a section, for the error.
        like: a network on the device where this one goes.

    Raises:
        OptionsError: there is no such section, or it cannot be built.
        CheckpointError, HubError: its weights cannot be found or read, or do not fit.
    """
    section = needed(getattr(options, f"network_{key}"), f"network_{key}", options, example)
    network = build_section(section)
    load_pretrained(options, network, key)
    return network.to(next(like.parameters()).device)
