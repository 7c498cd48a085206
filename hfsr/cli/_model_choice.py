"""The bundled model for an image where none is named: by the compression of its file, or by `--for`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hfsr import _resources
from hfsr.errors import ImageError

__all__ = ["PURPOSES", "ModelChoice", "choose_model"]

Purpose = Literal["photo", "clean"]
PURPOSES: tuple[Purpose, ...] = ("photo", "clean")

_LOOKED_AT = 1 << 25  # px: larger images are not decoded for a note alone
_CLEAN_FROM_QUALITY = {"hfsr-x2": 95, "hfsr-x4": 91}
"""JPEG quality from which these beat their photo models: tests/benchmarks/results/compressed.txt."""


@dataclass(frozen=True)
class ModelChoice:
    """A bundled model, and why it was chosen."""

    name: str
    reason: str | None = None
    """None where there was nothing to choose."""
    note: str | None = None
    """What speaks for the other model."""


def choose_model(source: Path, *, command: str, scale: float | None, purpose: Purpose | None) -> ModelChoice:
    """Chooses a bundled model for one image.

    Args:
        source: file of the image. One that cannot be read gets the clean model; reading it tells the error.
        command: "upscale" or "restore".
        scale: as told on the command line; None is 2, and for "restore" 1.
        purpose: from `--for`; None leaves the choice to the compression of the file.
    """
    if command == "restore" and scale is None:
        return ModelChoice("hfsr-denoise")
    clean = f"hfsr-x{scale or 2:g}"
    photo = f"{clean}-photo"
    if photo not in _resources.bundled_models():
        asked = f"no photo model for x{scale or 2:g} is bundled" if purpose == "photo" else None
        return ModelChoice(clean, asked)
    if purpose is not None:
        return ModelChoice(photo if purpose == "photo" else clean, f"--for {purpose}")
    return _by_compression(source, clean, photo)


def _by_compression(source: Path, clean: str, photo: str) -> ModelChoice:
    from hfsr.images.compression import read_compression

    try:
        found = read_compression(source)
    except ImageError:
        return ModelChoice(clean)
    if not found.is_lossy:
        return ModelChoice(clean, f"lossless {found.format}", _compressed_before(source))
    if found.quality is None:
        return ModelChoice(photo, f"lossy {found.format}")
    is_clean = found.quality >= _CLEAN_FROM_QUALITY.get(clean, 101)
    return ModelChoice(clean if is_clean else photo, f"JPEG of quality {found.quality}")


def _compressed_before(source: Path) -> str | None:
    """A note if the image in a lossless file was a JPEG before."""
    from hfsr.images import picture_size, read_picture
    from hfsr.images.jpeg_grid import has_jpeg_grid

    try:
        width, height = picture_size(source)
        if width * height > _LOOKED_AT or not has_jpeg_grid(read_picture(source).pixels):
            return None
    except ImageError:
        return None  # reading it again, to upscale it, tells the error
    return "its 8x8 blocks look like an earlier JPEG compression, for which there is --for photo"
