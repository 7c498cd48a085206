"""Square crop of an image for a generator, holes in it, and pasting the result back."""

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
    "SquareCrop",
    "crop_to_tensor",
    "find_square",
    "hole_from_mask",
    "hole_from_rectangle",
    "known_mask",
    "paste_into_hole",
    "tensor_to_image",
]


@dataclass(frozen=True)
class SquareCrop:
    """Position and side of a square part of an image, px."""

    left: int
    top: int
    side: int

    def crop(self, pixels: NDArray) -> NDArray:
        """Returns the square part of an array (H, W, ...), as a view."""
        return pixels[self.top : self.top + self.side, self.left : self.left + self.side]


def find_square(image: images.LoadedImage, hole: NDArray[np.bool_] | None = None) -> SquareCrop:
    """Returns the largest square in the image: centered, or moved as far as needed to contain the hole.

    Raises:
        ImageError: the hole is longer than the square.
    """
    side = min(image.height, image.width)
    starts = []
    for axis, length in ((0, image.height), (1, image.width)):
        start = (length - side) // 2
        if hole is not None:
            lines = np.flatnonzero(hole.any(axis=1 - axis))
            start = min(max(start, int(lines[-1]) + 1 - side), int(lines[0]))
            if lines[-1] >= start + side:
                raise ImageError(
                    f"the hole is {lines[-1] + 1 - lines[0]} px long, longer than the square of {side} px "
                    "that the generator gets; crop the image, or fill the hole in parts"
                )
        starts.append(start)
    return SquareCrop(starts[1], starts[0], side)


def crop_to_tensor(image: images.LoadedImage, square: SquareCrop, side: int) -> Tensor:
    """Returns the square resized to the generator's size, RGB in [0, 1], (1, 3, side, side)."""
    pixels = images.eight_bit(square.crop(image.pixels))
    resized = Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")
    if resized.size != (side, side):
        resized = resized.resize((side, side), Image.Resampling.LANCZOS)
    return images.to_rgb_float(np.array(resized))


def hole_from_rectangle(image: images.LoadedImage, box: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    """Returns the hole, (H, W), that covers a rectangle (left, top, width, height) in px.

    Raises:
        OptionsError: the rectangle is empty or extends beyond the image.
    """
    left, top, width, height = box
    is_inside = left >= 0 and top >= 0 and left + width <= image.width and top + height <= image.height
    if width < 1 or height < 1 or not is_inside:
        raise OptionsError(
            f"the brush {left},{top},{width},{height} does not lie in the image of {image.width}x"
            f"{image.height} px; give x,y,width,height in px"
        )
    hole = np.zeros((image.height, image.width), bool)
    hole[top : top + height, left : left + width] = True
    return hole


def hole_from_mask(image: images.LoadedImage, mask: images.LoadedImage) -> NDArray[np.bool_]:
    """Returns the hole, (H, W), that a mask image marks with light pixels (a level of 128 or more).

    Raises:
        ImageError: the mask has another size than the image, or no light or no dark pixels.
    """
    if (mask.width, mask.height) != (image.width, image.height):
        raise ImageError(
            f"the mask is {mask.width}x{mask.height} px and the image {image.width}x{image.height}; "
            "they must be equal"
        )
    levels = images.eight_bit(mask.pixels)
    hole = (levels if mask.is_gray else levels.max(axis=2)) >= 128
    if not hole.any():
        raise ImageError("the mask is dark everywhere; make it light where the image has its hole")
    if hole.all():
        raise ImageError("the mask is light everywhere: nothing of the image is known; make it dark there")
    return hole


def known_mask(hole: NDArray[np.bool_], square: SquareCrop, side: int) -> Tensor:
    """Returns the mask of known pixels at the generator's size, float 0 or 1, (1, 1, side, side).

    Raises:
        ImageError: no pixel of the square is known.
    """
    mask = Image.fromarray(square.crop(hole).astype(np.uint8) * 255).resize(
        (side, side), Image.Resampling.BOX
    )
    known = torch.from_numpy(np.array(mask) == 0).float()[None, None]
    if not known.any():
        raise ImageError("the hole covers the whole square that the generator gets; make the hole smaller")
    return known


def tensor_to_image(result: Tensor, like: images.LoadedImage) -> images.LoadedImage:
    """Converts a generator's result, (1, 3, S, S), to an 8-bit image with the color profile of `like`."""
    return images.LoadedImage(images.from_rgb_float(result.cpu()), icc=None if like.is_gray else like.icc)


def paste_into_hole(
    image: images.LoadedImage, square: SquareCrop, hole: NDArray[np.bool_], result: Tensor
) -> images.LoadedImage:
    """Returns the whole image with its hole filled from a generator's result, (1, 3, S, S)."""
    resized = Image.fromarray(images.from_rgb_float(result.cpu())).resize(
        (square.side, square.side), Image.Resampling.LANCZOS
    )
    filling = np.array(resized)
    pixels = image.pixels.copy()
    if image.is_gray:
        filling = np.array(Image.fromarray(filling).convert("L"))
    if image.bits == 16:
        filling = filling.astype(np.uint16) * 257
    part = square.crop(pixels)
    inside = square.crop(hole)
    part[inside] = filling[inside]
    return replace(image, pixels=pixels)
