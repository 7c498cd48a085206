"""Images that visitors chose: checked at once, and shown as rows with small images."""

from __future__ import annotations

import base64
import html
import io
import sys
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder

from hfsr import images

from . import limits
from .messages import format_bytes, format_size, translate_errors, visitor_error

_SIDE = 96
"""Px of a small image, shown at half of that."""


def uploaded_file(image: Any) -> Path:
    """Returns the path of a visitor's upload.

    Args:
        image: Gradio's description of the file, or its path.

    Raises:
        gr.Error: nothing was uploaded, or the path is outside the upload folder.
    """
    given = image.get("path") if isinstance(image, dict) else image
    source = Path(given if isinstance(given, str) else "").resolve()
    if not source.is_relative_to(Path(get_upload_folder()).resolve()):
        raise visitor_error("Choose an image first.")
    if not source.is_file():
        raise visitor_error("The image was deleted, as all are after an hour; choose it again.")
    return source


def mcp_folder() -> Path:
    """Returns the folder for images in MCP requests, from where Gradio uploads them to itself."""
    return Path(get_upload_folder(), "mcp")


def delete_leftovers() -> None:
    """Deletes old files that Gradio forgets: of interrupted uploads, and of MCP requests."""
    uploads = Path(get_upload_folder())
    for path in [*uploads.glob("tmp*"), *mcp_folder().glob("*/*")]:
        if path.is_file() and time.time() - path.stat().st_mtime > limits.KEEP_SECONDS:
            path.unlink(missing_ok=True)


def check_image(source: Path) -> None:
    """Reads an image, so that a visitor learns of a file that is none before any work.

    Raises:
        gr.Error: it is not an image, is damaged, or has too many px.
    """
    with translate_errors(source):
        check_pixels(source, limits.MAX_PIXELS)
        row(source)


def check_pixels(source: Path, max_pixels: int, condition: str = "") -> None:
    """Checks the size of an image before it is decoded.

    Raises:
        gr.Error: the image has more than `max_pixels` px.
        ImageError: the file is not an image.
    """
    width, height = images.image_size(source, max_pixels=sys.maxsize)
    if width * height > max_pixels:
        limit = " ".join(filter(None, [f"the limit of {max_pixels:,} px", condition]))
        raise visitor_error(
            f"'{source.name}' has {width} x {height} px, over {limit}; reduce the image, or crop it"
        )


@lru_cache(maxsize=128)
def row(source: Path) -> str:
    """Returns a list item with a small image, the name and the size of an image.

    Raises:
        ImageError: the image cannot be read.
    """
    image = images.image_to_pil(images.read_image(source))
    size = format_size(*image.size)
    image.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    image.convert("RGBA").save(buffer, "WEBP", quality=80)
    url = f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    facts = f"{size}, {format_bytes(source.stat().st_size)}"
    name = html.escape(source.name)
    return f'<li><img src="{url}" alt=""><span><strong>{name}</strong><br>{facts}</span></li>'


def rows(sources: Sequence[Path]) -> str:
    """Returns the list of the chosen images."""
    if not sources:
        return ""
    return f'<ul class="chosen-images" aria-label="Your images">{"".join(map(row, sources))}</ul>'
