"""Conversion of pixels to sRGB by their color profile."""

from __future__ import annotations

import io

from PIL import Image, ImageCms, features

__all__ = ["is_gray_profile", "matching_profile", "to_srgb"]


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
