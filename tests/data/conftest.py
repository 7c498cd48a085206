"""Folders of small images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def save(path: Path, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Writes a random image; returns its pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.fixture
def gt_folder(tmp_path: Path) -> Path:
    for number, size in enumerate([(33, 40), (30, 31), (64, 29)]):
        save(tmp_path / "gt" / f"{number:02}.png", *size, seed=number)
    return tmp_path / "gt"
