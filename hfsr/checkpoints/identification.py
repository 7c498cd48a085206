"""Identification of the network that tensors belong to, and strict loading."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hfsr.archs import ARGUMENT, ArchSpec, Evidence, stated_arguments
from hfsr.errors import CheckpointError, some_of
from hfsr.registry import ARCHS

from .file_evidence import named_scale

__all__ = ["Claim", "UnclaimedError", "claim", "identify", "load_weights", "settle_scale"]

_log = logging.getLogger(__name__)

Identity = tuple[ArchSpec, dict[str, Any], dict[str, Tensor]]


class UnclaimedError(CheckpointError):
    """Raised for tensors that belong to no registered network."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Match of tensors with a registered network.

    Attributes:
        spec: the network.
        arguments: the constructor arguments that the tensors show.
        tensors: the tensors under hfsr's keys, with entries for arguments that mean layers state.
        original: the tensors under the file's own keys.
    """

    spec: ArchSpec
    arguments: dict[str, Any]
    tensors: dict[str, Tensor]
    original: Mapping[str, Tensor]


def identify(state_dict: Mapping[str, Tensor]) -> Identity:
    """Identifies the network from the tensors alone, with the most likely constructor arguments.

    Returns:
        The network's spec, the constructor arguments that the tensors show or suggest, and the tensors under
        hfsr's keys. The arguments lack `upscale` if the tensors do not show it.

    Raises:
        UnclaimedError: no registered network has these tensors.
        CheckpointError: more than one network has them.
    """
    found = claim(state_dict)
    first = found.spec.readings(found.original, found.arguments, Evidence())[0]
    return found.spec, {**first.arguments, **found.arguments}, found.tensors


def claim(state_dict: Mapping[str, Tensor], arch: str | None = None) -> Claim:
    """Finds the registered network to which tensors belong.

    Args:
        state_dict: tensors under the file's own keys.
        arch: the network, if it is known.

    Raises:
        UnclaimedError: no registered network has these tensors.
        UnknownNameError: no network is called `arch`.
        CheckpointError: more than one has them, or they are not those of `arch`.
    """
    if arch is not None:
        known = _claim(ARCHS[arch], state_dict)
        if known is None:
            raise CheckpointError(f"these tensors are not those of {arch} ({some_of(state_dict)})")
        return known
    specs = ARCHS.own().values()
    found = [one for spec in specs if (one := _claim(spec, state_dict)) is not None]
    if not found:
        raise UnclaimedError(
            f"no registered network has these tensors ({some_of(state_dict)}); "
            f"known are {some_of((spec.name for spec in specs), 20)}"
        )
    if len(found) > 1:
        names = some_of(one.spec.name for one in found)
        raise CheckpointError(f"these tensors fit {names}: select one with arch")
    return found[0]


def _claim(spec: ArchSpec, state_dict: Mapping[str, Tensor]) -> Claim | None:
    renamed = spec.rename(state_dict)
    inferred = spec.infer(renamed)
    if inferred is None:
        return None
    arguments = {**inferred, **stated_arguments(renamed)}
    return Claim(spec=spec, arguments=arguments, tensors=dict(renamed), original=state_dict)


def settle_scale(
    spec: ArchSpec, arguments: dict[str, Any], scale: float | None, names: Sequence[str]
) -> dict[str, Any]:
    """Completes the scale if the tensors do not show it: the requested one, else the one in the name.

    Weights that serve every scale need neither: the constructor's default applies.

    Args:
        spec: the network.
        arguments: its inferred constructor arguments.
        scale: the requested scale, or None.
        names: names of the file and of its repository, as "a2n_x3.pth".

    Raises:
        CheckpointError: the scale is neither requested nor in a name.
    """
    word = spec.scale_argument
    if word is None or word in arguments:
        return arguments
    if scale is None:
        scale = named_scale(spec.scales, names)
        if scale is None and spec.multi_scale:
            return arguments
        if scale is None:
            scales = some_of(str(allowed) for allowed in spec.scales)
            raise CheckpointError(f"neither its tensors nor its name show the scale; state one of {scales}")
        _log.info("the tensors of %s do not show the scale: x%d is taken from its name", names[0], scale)
    return {**arguments, word: scale}


def load_weights(model: nn.Module, state_dict: Mapping[str, Tensor], *, source: str) -> None:
    """Copies weights into a network, all of them or none.

    A tensor that the network computes itself (a non-persistent buffer) is accepted if it is equal, as is an
    argument that a layout states (`stated_arguments`).

    Args:
        model: the network; its device and dtype do not change.
        state_dict: tensors under its keys.
        source: the origin of the tensors, which begins an error message.

    Raises:
        CheckpointError: keys are missing or unexpected, shapes differ, or values are not finite; the message
            names up to five and the total.
    """
    own = model.state_dict()
    derived = {name: buffer for name, buffer in model.named_buffers() if name not in own}
    given = {
        key: tensor
        for key, tensor in state_dict.items()
        if not key.startswith(ARGUMENT)
        and (key not in derived or not torch.equal(tensor.to(derived[key]), derived[key]))
    }
    built = vars(model).get("model_args", {})
    misshapen = [key for key in own if key in given and given[key].shape != own[key].shape]
    problems = {
        "missing keys": [key for key in own if key not in given],
        "unexpected keys": [key for key in given if key not in own],
        "other shapes": [f"{key}: {_shape(given[key])} for {_shape(own[key])}" for key in misshapen],
        "other arguments": [
            f"{name}: {value} for {built.get(name)}"
            for name, value in stated_arguments(state_dict).items()
            if not _is_close(value, built.get(name))
        ],
    }
    if not any(problems.values()):
        problems["values that are not finite floats"] = [k for k in own if not _is_usable(given[k], own[k])]
    found = [f"{what} {some_of(keys)}" for what, keys in problems.items() if keys]
    if found:
        raise CheckpointError(
            f"{source} does not fit this {type(model).__name__}: {'; '.join(found)}; "
            "check the network, its arguments and the scale"
        )
    model.load_state_dict(given, strict=True)


def _is_usable(given: Tensor, own: Tensor) -> bool:
    """Returns True if values can replace those of a network: floats for floats, none NaN or infinite."""
    if not own.is_floating_point():
        return True
    return given.is_floating_point() and bool(given.float().isfinite().all())


def _is_close(first: Any, second: Any) -> bool:
    """Returns True if two numbers or two lists of numbers are equal except for rounding."""
    if second is None:
        return False
    a, b = (torch.tensor(value, dtype=torch.float64) for value in (first, second))
    return a.shape == b.shape and torch.allclose(a, b, rtol=1e-5, atol=1e-6)


def _shape(tensor: Tensor) -> str:
    return "x".join(str(side) for side in tensor.shape) or "one number"
