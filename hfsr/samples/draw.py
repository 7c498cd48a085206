"""Script that draws the sample image: `python -m hfsr.samples.draw OUT.png`; the result is deterministic."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

WIDTH, HEIGHT = 1056, 594
SUPERSAMPLING = 4
"""Factor by which the scene is drawn larger and then downsampled, so that lines can be thinner than a px."""


def main() -> int:
    """Draws the image to the file named on the command line."""
    draw().save(Path(sys.argv[1]), optimize=True)
    return 0


def draw() -> Image.Image:
    """Draws the image: RGB, 8 bit, WIDTH x HEIGHT."""
    rng = np.random.default_rng(2026)
    w, h = WIDTH * SUPERSAMPLING, HEIGHT * SUPERSAMPLING
    shore = int(h * 0.66)
    land = Image.fromarray(_sky(w, shore))
    pen = ImageDraw.Draw(land)
    for depth in range(5):
        _mountains(pen, rng, w, shore, depth)
    _pylons(pen, w, shore)
    _pines(pen, rng, w, shore)
    scene = Image.new("RGB", (w, h))
    scene.paste(land, (0, 0))
    scene.paste(Image.fromarray(_water(np.asarray(land), rng, h - shore)), (0, shore))
    _boat(ImageDraw.Draw(scene), int(w * 0.63), int(h * 0.8), SUPERSAMPLING * 46)
    return scene.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def _sky(width: int, height: int) -> NDArray[np.uint8]:
    y = np.linspace(0, 1, height)[:, None, None]
    top, low = np.array([28, 46, 104.0]), np.array([252, 178, 112.0])
    sky = top + (low - top) * y**1.4
    xx, yy = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    distance = np.hypot((xx - 0.3) * 2.4, (yy - 0.72))
    glow = np.exp(-((distance / 0.28) ** 2))[..., None] * np.array([70, 60, 30.0])
    disc = np.clip((0.085 - distance) * 400, 0, 1)[..., None]
    sky = (sky + glow) * (1 - disc) + np.array([255, 236, 190.0]) * disc
    return np.clip(sky, 0, 255).astype(np.uint8)


def _ridge(rng: np.random.Generator, width: int, roughness: float) -> NDArray[np.float64]:
    """Returns a fractal line in [-1, 1]: the sum of random waves of increasing frequency."""
    x = np.linspace(0, 1, width)
    line = np.zeros(width)
    for octave in range(9):
        knots = rng.standard_normal(3 * 2**octave + 2)
        line += np.interp(x, np.linspace(0, 1, knots.size), knots) * roughness**octave
    return line / np.abs(line).max()


def _mountains(
    pen: ImageDraw.ImageDraw, rng: np.random.Generator, width: int, shore: int, depth: int
) -> None:
    near = depth / 4
    height = shore * (0.2 - 0.13 * near)
    crest = shore * (0.5 + 0.42 * near) + _ridge(rng, width, 0.52 - 0.05 * near) * height
    far, close = np.array([150, 120, 150.0]), np.array([18, 26, 38.0])
    color = tuple(int(c) for c in far + (close - far) * near**0.8)
    outline = [(float(x), float(crest[x])) for x in range(0, width, SUPERSAMPLING)]
    pen.polygon([*outline, (width, crest[-1]), (width, shore), (0, shore)], fill=color)


def _pines(pen: ImageDraw.ImageDraw, rng: np.random.Generator, width: int, shore: int) -> None:
    for x in np.sort(rng.uniform(0, width, 260)):
        tall = rng.uniform(16, 44) * SUPERSAMPLING * (1.0 if x < width * 0.55 else 0.6)
        for level in range(6):
            top = shore - tall + tall * level / 7
            half = tall * (0.05 + 0.035 * level)
            foot = top + tall * 0.24
            pen.polygon([(x, top), (x - half, foot), (x + half, foot)], fill=(10, 16, 24))


def _pylons(pen: ImageDraw.ImageDraw, width: int, shore: int) -> None:
    feet = [
        (width * (0.5 + 0.16 * i), shore * (0.93 - 0.05 * i), 60 * SUPERSAMPLING * (1.3 - 0.2 * i))
        for i in range(4)
    ]
    for x, y, tall in feet:
        for side in (-1, 1):
            pen.line([(x + side * tall * 0.12, y), (x, y - tall)], fill=(24, 26, 36), width=SUPERSAMPLING)
        for level in range(1, 7):
            half = tall * 0.12 * (1 - level / 7)
            up, down = y - tall * level / 7, y - tall * (level - 1) / 7
            pen.line(
                [(x - half, up), (x + half + tall * 0.017, down)], fill=(24, 26, 36), width=SUPERSAMPLING // 2
            )
        for high in (0.72, 0.86):
            end = y - tall * high
            pen.line([(x - tall * 0.2, end), (x + tall * 0.2, end)], fill=(24, 26, 36), width=SUPERSAMPLING)
    for (x0, y0, t0), (x1, y1, t1) in itertools.pairwise(feet):
        for high, reach in ((0.72, -0.2), (0.72, 0.2), (0.86, -0.2), (0.86, 0.2)):
            s = np.linspace(0, 1, 60)
            xs = x0 + reach * t0 + (x1 + reach * t1 - x0 - reach * t0) * s
            ys = y0 - t0 * high + (y1 - t1 * high - y0 + t0 * high) * s + 4 * s * (1 - s) * t0 * 0.14
            pen.line(
                list(zip(xs.tolist(), ys.tolist(), strict=True)), fill=(30, 30, 40), width=SUPERSAMPLING // 2
            )


def _water(land: NDArray[np.uint8], rng: np.random.Generator, height: int) -> NDArray[np.uint8]:
    """Returns the mirrored land, distorted by waves that grow towards the viewer, darker and bluer."""
    shore, width = land.shape[:2]
    y = np.arange(height)
    x = np.arange(width)[None]
    wave = np.sin(2 * np.pi * (y[:, None] / (height * 0.9)) ** 0.6 * 46 + 3 * np.sin(x / width * 9))
    ripple = np.sin(x / (7.0 * SUPERSAMPLING) + rng.uniform(0, 6.28, (height, 1)).cumsum(0) * 0.05)
    shift = (wave + 0.5 * ripple) * (y[:, None] / height + 0.02) * 9 * SUPERSAMPLING
    rows = np.clip(shore - 1 - y[:, None] * (shore / height) * 0.9 + shift, 0, shore - 1).astype(int)
    mirrored = land[rows, np.broadcast_to(x, rows.shape)].astype(float)
    return np.clip(mirrored * 0.72 + np.array([2, 10, 26.0]), 0, 255).astype(np.uint8)


def _boat(pen: ImageDraw.ImageDraw, x: int, y: int, size: int) -> None:
    hull = [(-1, 0), (1, 0), (0.7, 0.28), (-0.75, 0.28)]
    main_sail = [(0.02, -1.85), (0.02, -0.15), (0.85, -0.15)]
    jib = [(-0.03, -1.6), (-0.03, -0.15), (-0.6, -0.15)]
    for outline, color in ((hull, (60, 26, 22)), (main_sail, (246, 238, 224)), (jib, (214, 70, 54))):
        pen.polygon([(x + size * dx, y + size * dy) for dx, dy in outline], fill=color)
    pen.line([(x, y), (x, y - size * 1.9)], fill=(40, 30, 26), width=SUPERSAMPLING * 2)
    for seam in range(1, 6):
        level = y - size * (0.15 + 0.27 * seam)
        end = x + size * 0.85 * (1 - seam / 6.4)
        pen.line([(x + size * 0.02, level), (end, level)], fill=(200, 190, 176), width=SUPERSAMPLING // 2)


if __name__ == "__main__":
    sys.exit(main())
