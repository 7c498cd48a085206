"""The square of a picture that a generator can make, and the way back into the picture."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from hfsr import images
from hfsr.errors import ImageError, OptionsError

__all__ = [
    "Square",
    "brushed",
    "checked_hole",
    "framed",
    "known_of",
    "pasted",
    "square_of",
    "square_picture",
]


@dataclass(frozen=True)
class Square:
    """A square part of a picture, px."""

    left: int
    top: int
    side: int

    def of(self, pixels: NDArray) -> NDArray:
        """That part of (H, W, ...)."""
        return pixels[self.top : self.top + self.side, self.left : self.left + self.side]


def square_of(picture: images.Picture, hole: NDArray[np.bool_] | None = None) -> Square:
    """The largest square in the middle, moved so far that it holds the hole.

    Raises:
        ImageError: no square of that size holds the hole.
    """
    side = min(picture.height, picture.width)
    starts = []
    for axis, length in ((0, picture.height), (1, picture.width)):
        start = (length - side) // 2
        if hole is not None:
            lines = np.flatnonzero(hole.any(axis=1 - axis))
            start = min(max(start, int(lines[-1]) + 1 - side), int(lines[0]))
            if lines[-1] >= start + side:
                raise ImageError(
                    f"the hole is {lines[-1] + 1 - lines[0]} px long, longer than the square of {side} px "
                    "that a generator can see; crop the picture, or fill it in parts"
                )
        starts.append(start)
    return Square(starts[1], starts[0], side)


def framed(picture: images.Picture, square: Square, side: int) -> Tensor:
    """The square at the generator's size, RGB in [0, 1], (1, 3, side, side)."""
    pixels = images.eight_bit(square.of(picture.pixels))
    image = Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")
    if image.size != (side, side):
        image = image.resize((side, side), Image.Resampling.LANCZOS)
    return images.to_rgb_float(np.array(image))


def brushed(picture: images.Picture, box: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    """The hole that a rectangle (left, top, width, height) in px strokes.

    Raises:
        OptionsError: it is empty or reaches beyond the picture.
    """
    left, top, width, height = box
    inside = left >= 0 and top >= 0 and left + width <= picture.width and top + height <= picture.height
    if width < 1 or height < 1 or not inside:
        raise OptionsError(
            f"the brush {left},{top},{width},{height} does not lie in the picture of {picture.width}x"
            f"{picture.height} px; give x,y,width,height in px"
        )
    hole = np.zeros((picture.height, picture.width), bool)
    hole[top : top + height, left : left + width] = True
    return hole


def checked_hole(picture: images.Picture, mask: images.Picture) -> NDArray[np.bool_]:
    """The hole of a mask picture, which is light where something is missing.

    Raises:
        ImageError: the mask has another size, or no light px.
    """
    if (mask.width, mask.height) != (picture.width, picture.height):
        raise ImageError(
            f"the mask is {mask.width}x{mask.height} px and the picture {picture.width}x{picture.height}; "
            "they must be equal"
        )
    levels = images.eight_bit(mask.pixels)
    hole = (levels if mask.is_gray else levels.max(axis=2)) >= 128
    if not hole.any():
        raise ImageError("the mask is dark everywhere; make it light where the picture has its hole")
    if hole.all():
        raise ImageError("the mask is light everywhere: nothing is left of the picture; make it dark there")
    return hole


def known_of(hole: NDArray[np.bool_], square: Square, side: int) -> Tensor:
    """What is known at the generator's size, float 0 or 1, (1, 1, side, side).

    Raises:
        ImageError: nothing is known.
    """
    image = Image.fromarray(square.of(hole).astype(np.uint8) * 255).resize((side, side), Image.Resampling.BOX)
    known = torch.from_numpy(np.array(image) == 0).float()[None, None]
    if not known.any():
        raise ImageError(
            "the hole is all that a generator would see of the picture; leave something to go by"
        )
    return known


def square_picture(result: Tensor, like: images.Picture) -> images.Picture:
    """A generator's result, (1, 3, S, S), as a picture of 8 bit with the profile of another."""
    return images.Picture(images.from_rgb_float(result.cpu()), icc=None if like.is_gray else like.icc)


def pasted(
    picture: images.Picture, square: Square, hole: NDArray[np.bool_], result: Tensor
) -> images.Picture:
    """The whole picture, its hole filled from a generator's result, (1, 3, S, S); all else stays as it is."""
    image = Image.fromarray(images.from_rgb_float(result.cpu()))
    filling = np.array(image.resize((square.side, square.side), Image.Resampling.LANCZOS))
    pixels = picture.pixels.copy()
    if picture.is_gray:
        filling = np.array(Image.fromarray(filling).convert("L"))
    if picture.bits == 16:
        filling = filling.astype(np.uint16) * 257
    part = square.of(pixels)
    inside = square.of(hole)
    part[inside] = filling[inside]
    return replace(picture, pixels=pixels)
