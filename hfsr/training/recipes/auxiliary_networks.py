"""Networks that are trained beside `network_g`."""

from __future__ import annotations

from torch import nn

from hfsr.errors import OptionsError
from hfsr.options import TrainOptions, Typed

from ..pretrained import load_pretrained
from ..setup import build_section

__all__ = ["build_partner", "needed", "options_of_partner"]


def needed(section: Typed | None, word: str, options: TrainOptions, example: str) -> Typed:
    """Returns a section that a recipe requires.

    Raises:
        OptionsError: if it is missing.
    """
    if section is None:
        raise OptionsError(
            f"{word}: is missing; {options.model_type} requires it, for example {word}: {example}"
        )
    return section


def options_of_partner(key: str) -> frozenset[str]:
    """Returns the places of the option file that `build_partner` reads."""
    path = (f"path.{name}_{key}" for name in ("pretrain_network", "param_key", "strict_load"))
    return frozenset({f"network_{key}", *path})


def build_partner(options: TrainOptions, key: str, example: str, *, like: nn.Module) -> nn.Module:
    """Builds `network_<key>` with new weights, or with those that `path.pretrain_network_<key>` names.

    Args:
        options: the option file.
        key: `d` or `dual`.
        example: example of such a section, for the error message.
        like: a network on the device of the new one.

    Raises:
        OptionsError: if there is no such section, or the network cannot be built.
        CheckpointError, HubError: if its weights cannot be found or read, or do not fit.
    """
    section = needed(getattr(options, f"network_{key}"), f"network_{key}", options, example)
    network = build_section(section)
    load_pretrained(options, network, key)
    return network.to(next(like.parameters()).device)
