"""Whose tensors these are, and whether they fit."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hfsr.archs import ArchSpec
from hfsr.errors import CheckpointError, some_of
from hfsr.registry import ARCHS

__all__ = ["UnclaimedError", "identify", "identify_as", "load_weights", "settle_scale"]

_log = logging.getLogger(__name__)

Identity = tuple[ArchSpec, dict[str, Any], dict[str, Tensor]]


class UnclaimedError(CheckpointError):
    """Tensors that are no registered network's."""


def identify(state_dict: Mapping[str, Tensor]) -> Identity:
    """Tells from the tensors alone which network they belong to.

    Returns:
        The network's spec, the constructor arguments that the tensors show, and the tensors under our keys.
        The arguments lack `upscale` where tensors cannot tell it.

    Raises:
        UnclaimedError: no registered network has these tensors.
        CheckpointError: more than one has.
    """
    specs = ARCHS.own().values()
    found = [identity for spec in specs if (identity := _claim(spec, state_dict)) is not None]
    if not found:
        raise UnclaimedError(
            f"these tensors are no registered network's ({some_of(state_dict)}); "
            f"known are {some_of((spec.name for spec in specs), 20)}"
        )
    if len(found) > 1:
        names = some_of(spec.name for spec, _, _ in found)
        raise CheckpointError(f"these tensors fit {names}: say which is meant with arch")
    return found[0]


def identify_as(arch: str, state_dict: Mapping[str, Tensor]) -> Identity:
    """As `identify`, where the network is known.

    Raises:
        UnknownNameError: no network is called `arch`.
        CheckpointError: the tensors are not that network's.
    """
    identity = _claim(ARCHS[arch], state_dict)
    if identity is None:
        raise CheckpointError(f"these tensors are not those of {arch} ({some_of(state_dict)})")
    return identity


def _claim(spec: ArchSpec, state_dict: Mapping[str, Tensor]) -> Identity | None:
    renamed = spec.rename(state_dict)
    arguments = spec.infer(renamed)
    return None if arguments is None else (spec, arguments, dict(renamed))


def settle_scale(spec: ArchSpec, arguments: dict[str, Any], scale: float | None, stem: str) -> dict[str, Any]:
    """Completes `upscale` where the tensors do not show it: what was asked for, else what its name says.

    Weights that serve every scale need neither: the constructor's default is left to decide.

    Args:
        spec: the network.
        arguments: its constructor arguments as inferred.
        scale: the scale asked for, or None.
        stem: the file's name, as "a2n_x3".

    Raises:
        CheckpointError: neither tells it.
    """
    if "upscale" in arguments or "upscale" not in inspect.signature(spec.cls).parameters:
        return arguments
    if scale is None:
        digits = re.findall(r"x(\d)(?!\d)", stem, re.IGNORECASE)
        named = {int(digit) for digit in digits} & set(spec.scales)
        if len(named) != 1 and spec.multi_scale:
            return arguments
        if len(named) != 1:
            scales = some_of(str(allowed) for allowed in spec.scales)
            raise CheckpointError(
                f"neither its tensors nor its name tell the scale; say which of {scales} it is"
            )
        scale = named.pop()
        _log.info("the tensors of %s do not tell the scale: taken as x%d from its name", stem, scale)
    return {**arguments, "upscale": scale}


def load_weights(model: nn.Module, state_dict: Mapping[str, Tensor], *, source: str) -> None:
    """Copies weights into a network; all of them or none.

    A tensor that the network makes itself (a non-persistent buffer) is accepted when it is equal.

    Args:
        model: the network; its device and dtype stay.
        state_dict: tensors under its keys.
        source: where they come from, to begin an error message.

    Raises:
        CheckpointError: keys are missing or unexpected, shapes differ, or values are no finite numbers; it
            names up to five and the total.
    """
    own = model.state_dict()
    derived = {name: buffer for name, buffer in model.named_buffers() if name not in own}
    given = {
        key: tensor
        for key, tensor in state_dict.items()
        if key not in derived or not torch.equal(tensor.to(derived[key]), derived[key])
    }
    misshapen = [key for key in own if key in given and given[key].shape != own[key].shape]
    problems = {
        "missing keys": [key for key in own if key not in given],
        "unexpected keys": [key for key in given if key not in own],
        "other shapes": [f"{key}: {_shape(given[key])} for {_shape(own[key])}" for key in misshapen],
    }
    if not any(problems.values()):
        problems["values that are no finite floats"] = [k for k in own if not _is_usable(given[k], own[k])]
    told = [f"{what} {some_of(keys)}" for what, keys in problems.items() if keys]
    if told:
        raise CheckpointError(
            f"{source} does not fit this {type(model).__name__}: {'; '.join(told)}; "
            "check the network, its arguments and the scale"
        )
    model.load_state_dict(given, strict=True)


def _is_usable(given: Tensor, own: Tensor) -> bool:
    """Whether values can take the place of a network's: floats for floats, none of them NaN or infinite."""
    if not own.is_floating_point():
        return True
    return given.is_floating_point() and bool(given.float().isfinite().all())


def _shape(tensor: Tensor) -> str:
    return "x".join(str(side) for side in tensor.shape) or "one number"
