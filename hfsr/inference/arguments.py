"""Checks of what a caller gives an `Upscaler`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hfsr.errors import ImageError, OptionsError
from hfsr.model_zoo import check_restorer

__all__ = ["check_flag", "check_model", "check_tensor", "parse_tile"]


def check_model(model: Any) -> nn.Module:
    """The network itself.

    Raises:
        OptionsError: it is no network, or none that restores images.
    """
    if isinstance(model, nn.Module):
        check_restorer(model)
        return model
    if isinstance(model, (str, Path)):
        raise OptionsError(f"model is the name '{model}'; load it first: hfsr.from_pretrained('{model}')")
    raise OptionsError(
        f"model is of type {type(model).__name__}; give a network, as hfsr.from_pretrained does"
    )


def parse_tile(tile: Any) -> int | None:
    """Side of a tile in px, 0 for whole; None for "auto", which None stands for too.

    Raises:
        OptionsError: anything else.
    """
    if tile is None or tile == "auto":
        return None
    number = -1
    if isinstance(tile, (int, float, str)) and not isinstance(tile, bool):
        try:
            number = int(tile) if isinstance(tile, str) or tile == int(tile) else -1
        except (ValueError, OverflowError):
            number = -1
    if number < 0 or 0 < number < 8:
        raise OptionsError(f"tile {tile!r} is not allowed; use auto, 0 (whole) or a side of at least 8 px")
    return number


def check_flag(name: str, value: Any) -> bool:
    """A yes or no.

    Raises:
        OptionsError: anything but True and False; a text would count as yes, "no" too.
    """
    if not isinstance(value, bool):
        raise OptionsError(f"{name} {value!r} is not allowed; use True or False")
    return value


def check_tensor(x: Any) -> Tensor:
    """The tensor itself.

    Raises:
        ImageError: it is no tensor, or not floats of shape (1, 3, H, W).
    """
    if not isinstance(x, Tensor):
        raise ImageError(f"got {type(x).__name__}; need a tensor of floats in [0, 1], shape (1, 3, H, W)")
    allowed = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
    if x.dtype not in allowed or x.dim() != 4 or x.shape[:2] != (1, 3) or 0 in x.shape:
        shape = ", ".join(map(str, x.shape))
        raise ImageError(
            f"the tensor is {x.dtype} of shape ({shape}); need floats in [0, 1], shape (1, 3, H, W)"
        )
    return x
