"""Network interpolation between two trained models (section 3.4 of ESRGAN, arXiv 1809.00219)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from hfsr.archs import input_ranges
from hfsr.errors import CheckpointError, OptionsError, some_of

from .spandrel_networks import ARGUMENTS_OF_TRAINING, plain

__all__ = ["interpolate"]


def interpolate(
    a: nn.Module, b: nn.Module, alpha: float, *, names: tuple[str, str] = ("A", "B")
) -> nn.Module:
    """Interpolates the weights of two networks: `(1 - alpha) * A + alpha * B`.

    The result is useful only if one network was fine-tuned from the other, or both from a third.

    Args:
        a: the first network, A; it is not changed.
        b: the second network, B, of the same class and size; it is not changed.
        alpha: 0 gives A, 1 gives B.
        names: names of the two networks for error messages.

    Returns:
        A new network; integer tensors, such as counters, are those of A.

    Raises:
        OptionsError: alpha is not between 0 and 1.
        CheckpointError: the networks differ in class, size or another argument, or are in 8-bit integers.
    """
    if not 0 <= alpha <= 1:
        raise OptionsError(f"alpha {alpha:g} is not between 0 (the first) and 1 (the second)")
    for model, name in zip((a, b), names, strict=True):
        if input_ranges(model):
            raise CheckpointError(
                f"'{name}' is in 8-bit integers, which cannot be interpolated; interpolate the models in "
                "floating point and quantize the result"
            )
    ours, theirs = a.state_dict(), b.state_dict()
    kinds = [f"{type(model).__name__} x{getattr(model, 'scale', 1):g}" for model in (a, b)]
    differing = [k for k in ours if k not in theirs or ours[k].shape != theirs[k].shape]
    differing += [k for k in theirs if k not in ours]
    if kinds[0] != kinds[1] or differing:
        where = f", whose tensors differ: {some_of(differing)}" if kinds[0] == kinds[1] else ""
        raise CheckpointError(
            f"'{names[0]}' is {kinds[0]} and '{names[1]}' is {kinds[1]}{where}; "
            "interpolation needs two trained models of one network"
        )
    if other := _differing_arguments(a, b):
        raise CheckpointError(
            f"'{names[0]}' and '{names[1]}' were built with other values of {some_of(other)}; interpolation "
            "needs two models with the same arguments"
        )
    mixed = copy.deepcopy(a)
    mixed.load_state_dict({key: _between(tensor, theirs[key], alpha) for key, tensor in ours.items()})
    return mixed


def _differing_arguments(a: nn.Module, b: nn.Module) -> list[str]:
    """Returns the names of constructor arguments whose values differ; lists and tuples count as equal."""
    ours, theirs = (vars(model).get("model_args", {}) for model in (a, b))
    names = [name for name in {**ours, **theirs} if name not in ARGUMENTS_OF_TRAINING]
    return [name for name in names if plain(ours.get(name)) != plain(theirs.get(name))]


def _between(a: Tensor, b: Tensor, alpha: float) -> Tensor:
    if not a.is_floating_point():
        return a
    return ((1 - alpha) * a.to(torch.float64) + alpha * b.to(torch.float64)).to(a.dtype)
