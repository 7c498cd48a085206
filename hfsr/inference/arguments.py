"""Checks of what a caller gives an `Upscaler`."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from hfsr.argument_checks import check_path
from hfsr.errors import ImageError, OptionsError
from hfsr.model_zoo import check_restorer

if TYPE_CHECKING:
    from .progress import Progress

__all__ = [
    "check_file_arguments",
    "check_flag",
    "check_models",
    "check_progress",
    "check_size",
    "check_tensor",
    "parse_tile",
]


def check_models(model: Any) -> list[nn.Module]:
    """The network, or the networks of a list.

    Raises:
        OptionsError: it is no network, none that restores images, or an empty list.
    """
    if isinstance(model, (list, tuple)):
        if not model:
            raise OptionsError("the list of models is empty; give a network, or several")
        return [_check_model(each) for each in model]
    return [_check_model(model)]


def _check_model(model: Any) -> nn.Module:
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
        ImageError: it is no tensor, or not floats of shape (B, 3, H, W).
    """
    if not isinstance(x, Tensor):
        raise ImageError(f"got {type(x).__name__}; need a tensor of floats in [0, 1], shape (B, 3, H, W)")
    allowed = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
    if x.dtype not in allowed or x.dim() != 4 or x.shape[1] != 3 or 0 in x.shape:
        shape = ", ".join(map(str, x.shape))
        raise ImageError(
            f"the tensor is {x.dtype} of shape ({shape}); need floats in [0, 1], shape (B, 3, H, W)"
        )
    return x


def check_progress(progress: Any) -> Callable[[Progress], None] | None:
    """The callback itself.

    Raises:
        OptionsError: it cannot be called.
    """
    if progress is None or callable(progress):
        return progress
    raise OptionsError(f"progress {progress!r} is not allowed; use a function of one argument, or None")


def check_file_arguments(source: Any, target: Any, jpeg_quality: Any, max_pixels: Any) -> None:
    """Checks the arguments of a run from file to file.

    Raises:
        ImageError: the source is an image in memory, which the call of an `Upscaler` takes.
        OptionsError: the target is no path, or a number is not allowed.
    """
    if isinstance(source, (Image.Image, np.ndarray)):
        raise ImageError(
            f"got {type(source).__name__}; here the source is a path, the bytes of a file, or an open binary "
            "file; call the upscaler itself with a PIL image or an array, and save its result"
        )
    check_path("the target", target)
    if not _is_integer(jpeg_quality) or not 1 <= jpeg_quality <= 100:
        raise OptionsError(f"jpeg_quality {jpeg_quality!r} is not allowed; use 1 to 100")
    if max_pixels is not None and (not _is_integer(max_pixels) or max_pixels < 1):
        raise OptionsError(f"max_pixels {max_pixels!r} is not allowed; use a whole number above 0, or None")


def check_size(name: str, size: Any, bits: Any = 8) -> None:
    """Checks two sides in px, and bits per channel.

    Raises:
        OptionsError: they are no pair of whole numbers above 0, or bits are not 8, 16 or 32.
    """
    is_pair = isinstance(size, (tuple, list)) and len(size) == 2
    if not is_pair or not all(_is_integer(side) and side > 0 for side in size):
        raise OptionsError(f"{name} {size!r} are not allowed; use two whole numbers of px above 0")
    if bits not in (8, 16, 32):
        raise OptionsError(f"bits {bits!r} are not allowed; use 8, 16 or 32")


def _is_integer(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
