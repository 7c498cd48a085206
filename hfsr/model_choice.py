"""The bundled models for an image: by the scale, and by the compression of its file or a purpose."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from hfsr import _resources
from hfsr.errors import ImageError, OptionsError
from hfsr.images.decoding.encoded_image import ImageFile

__all__ = [
    "PURPOSES",
    "RESTORATIONS",
    "Interpolated",
    "ModelChoice",
    "Purpose",
    "bundled_restorer",
    "choose_models",
    "choose_restorer",
    "clean_partner",
]

Purpose = Literal["photo", "clean"]
PURPOSES: tuple[Purpose, ...] = ("photo", "clean")
RESTORATIONS = {"noise": "denoising", "jpeg": "jpeg-artifact-removal"}
"""Purposes that keep the size -> the task of their model, of which `bundled_restorer` tells the name."""

_CHAINS: dict[Purpose, tuple[tuple[float, tuple[str, ...]], ...]] = {
    "clean": (
        (2, ("hfsr-x2",)),
        (3, ("hfsr-x3",)),
        (4, ("hfsr-x4",)),
        (6, ("hfsr-x2", "hfsr-x3")),
        (8, ("hfsr-x2", "hfsr-x4")),
        (16, ("hfsr-x4", "hfsr-x4")),
    ),
    "photo": (
        (2, ("hfsr-x2-photo",)),
        (4, ("hfsr-x4-photo",)),
        (6, ("hfsr-x2-photo", "hfsr-x3")),
        (8, ("hfsr-x2-photo", "hfsr-x4")),
        (16, ("hfsr-x4-photo", "hfsr-x4")),
    ),
}
"""Scale up to which bundled models are used, in the order in which they run; the choice follows
tests/benchmarks/results/sizes.txt.
"""

_LOOKED_AT = 1 << 25  # px: larger images are not decoded for a note alone
_CLEAN_FROM_QUALITY = {"hfsr-x2-photo": 95, "hfsr-x4-photo": 91}
"""JPEG quality from which the clean models are better: tests/benchmarks/results/compressed.txt."""

_DEJPEG_UP_TO_QUALITY = 90
"""JPEG quality up to which hfsr-dejpeg gains on most images: tests/benchmarks/results/compressed.txt."""


@dataclass(frozen=True)
class Interpolated:
    """A network between two bundled ones, of which one was trained from the other.

    Attributes:
        clean: name of the model for clean images.
        photo: name of the model for compressed photos.
        strength: share of the second one, between 0 and 1.
    """

    clean: str
    photo: str
    strength: float

    def __str__(self) -> str:
        return f"{self.clean} to {self.photo} at {self.strength:g}"


@dataclass(frozen=True)
class ModelChoice:
    """Models that run one after another, and the reason for them."""

    names: tuple[str | Interpolated, ...]
    reason: str | None = None
    """None where there was nothing to choose."""
    note: str | None = None
    """Evidence for the other models."""

    @property
    def name(self) -> str:
        """The names of all models."""
        return " + ".join(map(str, self.names))


def choose_models(
    file: ImageFile, *, scale: float, purpose: Purpose | None = None, strength: float | None = None
) -> ModelChoice:
    """Chooses the bundled models for one image: the smallest that reach the scale.

    Args:
        file: the image. One that cannot be read gets the clean models; reading it tells the error.
        scale: from 1 to 16; the models enlarge by at least this.
        purpose: "photo" or "clean"; None leaves the choice to the compression of the file.
        strength: from 0, the clean model, to 1, the photo model of the scale; values between interpolate
            their weights. Not together with `purpose`.

    Raises:
        OptionsError: no bundled models reach the scale, or the strength is not between 0 and 1.
    """
    clean, photo = _chain("clean", scale), _chain("photo", scale)
    if clean is None:
        raise OptionsError(f"scale {scale:g} is not reached by the bundled models; use 1 to {_largest():g}")
    if strength is not None:
        return ModelChoice(_interpolated(photo, scale, strength), f"--strength {strength:g}")
    if photo is None:
        asked = f"no photo model for x{scale:g} is bundled" if purpose == "photo" else None
        return ModelChoice(clean, asked)
    if purpose is not None:
        return ModelChoice(photo if purpose == "photo" else clean, f"--for {purpose}")
    return _by_compression(file, clean, photo)


def choose_restorer(file: ImageFile, *, purpose: str | None = None) -> ModelChoice:
    """Chooses the bundled model that restores an image at its size.

    Args:
        file: the image.
        purpose: a key of `RESTORATIONS`. None is "jpeg" for lossy files up to the JPEG quality at which the
            model still gains, and "noise" for all others.
    """
    from hfsr.images.compression import read_compression

    noise, jpeg = (bundled_restorer(RESTORATIONS[name]) or "hfsr-denoise" for name in ("noise", "jpeg"))
    if purpose in RESTORATIONS:
        return ModelChoice((jpeg if purpose == "jpeg" else noise,), f"--for {purpose}")
    try:
        found = read_compression(file)
    except ImageError:
        return ModelChoice((noise,))
    if not found.is_lossy:
        return ModelChoice((noise,), f"lossless {found.format}")
    reason = f"lossy {found.format}" if found.quality is None else f"JPEG of quality {found.quality}"
    is_compressed = found.quality is None or found.quality <= _DEJPEG_UP_TO_QUALITY
    return ModelChoice((jpeg if is_compressed else noise,), reason)


def bundled_restorer(task: str) -> str | None:
    """Returns the bundled model that does a task and keeps the size; None if none is bundled."""
    for name in _resources.bundled_models():
        config = _resources.path("weights", name) / "config.json"
        fields = json.loads(config.read_text(encoding="utf-8"))
        if (fields.get("task"), fields.get("scale")) == (task, 1):
            return name
    return None


def clean_partner(photo: str) -> str | None:
    """Returns the clean model from which a bundled photo model was trained; None if there is none."""
    clean = photo.removesuffix("-photo")
    return clean if clean != photo and {clean, photo} <= set(_resources.bundled_models()) else None


def _chain(purpose: Purpose, scale: float) -> tuple[str, ...] | None:
    names = next((names for limit, names in _CHAINS[purpose] if scale <= limit), None)
    return names if names and set(names) <= set(_resources.bundled_models()) else None


def _interpolated(
    photo: tuple[str, ...] | None, scale: float, strength: float
) -> tuple[str | Interpolated, ...]:
    """Returns the photo models of a scale, the first one interpolated with its clean counterpart."""
    if not 0 <= strength <= 1:
        raise OptionsError(f"strength {strength:g} is not between 0 (clean images) and 1 (compressed photos)")
    if photo is None:
        raise OptionsError(f"no photo model for x{scale:g} is bundled; leave --strength out")
    first, *others = photo
    clean = first.removesuffix("-photo")
    if 0 < strength < 1:
        return (Interpolated(clean, first, strength), *others)
    return (first if strength else clean, *others)


def _largest() -> float:
    bundled = set(_resources.bundled_models())
    return max((limit for limit, names in _CHAINS["clean"] if bundled.issuperset(names)), default=1)


def _by_compression(file: ImageFile, clean: tuple[str, ...], photo: tuple[str, ...]) -> ModelChoice:
    from hfsr.images.compression import read_compression

    try:
        found = read_compression(file)
    except ImageError:
        return ModelChoice(clean)
    if not found.is_lossy:
        return ModelChoice(clean, f"lossless {found.format}", _compressed_before(file))
    if found.quality is None:
        return ModelChoice(photo, f"lossy {found.format}")
    is_clean = found.quality >= _CLEAN_FROM_QUALITY.get(photo[0], 101)
    return ModelChoice(clean if is_clean else photo, f"JPEG of quality {found.quality}")


def _compressed_before(file: ImageFile) -> str | None:
    """A note if the image in a lossless file was a JPEG before."""
    from hfsr.images import image_size, read_image
    from hfsr.images.jpeg_grid import has_jpeg_grid

    try:
        width, height = image_size(file)
        if width * height > _LOOKED_AT or not has_jpeg_grid(read_image(file).pixels):
            return None
    except ImageError:
        return None  # reading it again, to upscale it, tells the error
    return "its 8x8 blocks look like an earlier JPEG compression, for which there is --for photo"
