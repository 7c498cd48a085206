"""Conversion of pixels to sRGB by their color profile, and the curve of a profile."""

from __future__ import annotations

import functools
import io

import numpy as np
from PIL import Image, ImageCms, features

from hfsr.images.metadata.color_signal import SRGB_CURVE, build_profile

__all__ = ["is_gray_profile", "is_linear_profile", "matching_profile", "to_srgb", "with_srgb_curve"]

_TOLERANCE = 4  # levels of 8 bit; a gamma of 1.1 differs by 10
_DARKEST = 64  # LittleCMS rounds darker grays coarsely


def is_gray_profile(icc: bytes | None) -> bool:
    """Returns True if a profile describes one channel, and so fits only gray pixels."""
    return icc is not None and icc[16:20] == b"GRAY"


def matching_profile(icc: bytes | None, *, gray: bool) -> tuple[bytes | None, list[str]]:
    """Leaves out a profile for other channels than those of the pixels; returns it with notes.

    Args:
        icc: the profile. One of RGB also suits gray pixels; a damaged one is not judged.
        gray: True for gray pixels, False for RGB.
    """
    space = icc[16:20] if icc is not None and icc[36:40] == b"acsp" else b"RGB "
    if space == b"RGB " or (gray and space == b"GRAY"):
        return icc, []
    kind = space.decode("latin-1").strip()
    pixels = "gray" if gray else "RGB"
    return None, [f"its color profile was left out: it is one of {kind}, and the pixels are {pixels}"]


def to_srgb(image: Image.Image, icc: bytes | None) -> Image.Image | None:
    """Converts by a profile, relative colorimetric with black point compensation, as editors do by default.

    Args:
        image: CMYK, L or RGB, 8 bit.
        icc: the profile of those pixels.

    Returns:
        RGB, 8 bit. None if there is no profile, it is damaged or of another color space, or this Pillow was
        built without LittleCMS.
    """
    if not icc or not features.check("littlecms2"):
        return None
    try:
        converted = ImageCms.profileToProfile(
            image,
            ImageCms.ImageCmsProfile(io.BytesIO(icc)),
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
    if converted is not None:
        converted.info.clear()  # it may hold a profile, which sRGB does not need
    return converted


@functools.lru_cache(maxsize=8)
def is_linear_profile(icc: bytes) -> bool | None:
    """Returns True if a profile of gray or RGB describes linear light, by the grays that it displays.

    Args:
        icc: the profile.

    Returns:
        None if the profile cannot be used: see `to_srgb`.
    """
    grays = np.arange(_DARKEST, 256, dtype=np.uint8)
    image = Image.fromarray(grays[None])
    displayed = to_srgb(image if is_gray_profile(icc) else image.convert("RGB"), icc)
    if displayed is None:
        return None
    linear = 255 * (1.055 * (grays / 255) ** (1 / 2.4) - 0.055)
    return bool(np.abs(np.asarray(displayed)[0] - linear[:, None]).max() <= _TOLERANCE)


def with_srgb_curve(icc: bytes) -> bytes | None:
    """Creates a profile of the same primaries with the curve of sRGB.

    Args:
        icc: a profile of gray or RGB that can be used.

    Returns:
        None for a profile of another kind than a curve for gray, or a matrix and curves.
    """
    if is_gray_profile(icc):
        return build_profile(None, SRGB_CURVE)
    profile = ImageCms.ImageCmsProfile(io.BytesIO(icc)).profile
    colorants = (profile.red_colorant, profile.green_colorant, profile.blue_colorant)
    if not profile.is_matrix_shaper or _has_table(icc):
        return None
    columns = [colorant[0] for colorant in colorants if colorant is not None]
    return build_profile(np.array(columns).T, SRGB_CURVE) if len(columns) == 3 else None


def _has_table(icc: bytes) -> bool:
    """Returns True if a table of colors takes the place of matrix and curves."""
    tags = range(132, 132 + 12 * int.from_bytes(icc[128:132], "big"), 12)
    return any(icc[at : at + 3] == b"A2B" for at in tags)
