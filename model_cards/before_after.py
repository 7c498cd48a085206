"""Draws README's comparison of bicubic interpolation and a photo model: `python model_cards/before_after.py`.

The photos come with scikit-image: a cat (Stefan van der Walt, CC0) and an astronaut (NASA, public domain). No
bundled model was trained on them.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

import hfsr

RESULT = Path(__file__).resolve().parent.parent / "docs" / "images" / "before_after.webp"
MODEL = "hfsr-x2-photo"
QUALITY = 60
"""Of the JPEG, with chroma subsampled 4:2:0 as cameras and messengers do."""
CROPS = {"chelsea": (120, 60), "astronaut": (160, 40)}
"""Left and top edge of what is shown, in px of the photo."""
SIDE = 150
GAP = 6
ZOOM = 3


def row(name: str, upscaler: hfsr.Upscaler) -> Image.Image:
    """The enlarged JPEG by bicubic interpolation and by the model, side by side."""
    photo = Image.fromarray(getattr(skimage.data, name)())
    photo = photo.crop((0, 0, photo.width - photo.width % 2, photo.height - photo.height % 2))
    file = io.BytesIO()
    small = photo.resize((photo.width // 2, photo.height // 2), Image.Resampling.BICUBIC)
    small.save(file, "JPEG", quality=QUALITY)
    decoded = Image.open(file).convert("RGB")
    left, top = CROPS[name]
    box = (left, top, left + SIDE, top + SIDE)
    both = (decoded.resize(photo.size, Image.Resampling.BICUBIC), upscaler(decoded))
    tiles = [np.asarray(image.crop(box)) for image in both]
    gap = np.full((SIDE, GAP, 3), 255, np.uint8)
    return Image.fromarray(np.concatenate([tiles[0], gap, tiles[1]], axis=1))


def main() -> None:
    upscaler = hfsr.Upscaler(hfsr.from_pretrained(MODEL), device="cpu", dtype="fp32")
    rows = [np.asarray(row(name, upscaler)) for name in CROPS]
    gap = np.full((SIDE, GAP * 2, 3), 255, np.uint8)
    strip = Image.fromarray(np.concatenate([rows[0], gap, rows[1]], axis=1))
    strip = strip.resize((strip.width * ZOOM, strip.height * ZOOM), Image.Resampling.NEAREST)
    RESULT.parent.mkdir(exist_ok=True)
    strip.save(RESULT, quality=88, method=6)


if __name__ == "__main__":
    main()
