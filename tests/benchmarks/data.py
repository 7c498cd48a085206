"""How fast patches come: our reader on a folder, a pack and a cache, beside decoding for each patch.

python tests/benchmarks/data.py FOLDER        (large images, as PNG; a few dozen are enough)
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from hfsr.data import PairedImageDataset
from hfsr.data.prepare import pack_crops
from hfsr.degradations import bicubic_down

BATCH, SIZE, SCALE = 16, 96, 2


def naive(images: list[Path]) -> Callable[[int], None]:
    """What a data set that decodes on demand does: open, crop, reduce."""

    def batch(number: int) -> None:
        rng = np.random.default_rng(number)
        for _ in range(BATCH):
            with Image.open(images[rng.integers(len(images))]) as image:
                pixels = np.asarray(image.convert("RGB"))
            top, left = (rng.integers(side - SIZE + 1) for side in pixels.shape[:2])
            bicubic_down(pixels[top : top + SIZE, left : left + SIZE], SCALE)

    return batch


def ours(**words: object) -> tuple[float, Callable[[int], object]]:
    """Seconds until it is ready, and what gives a batch."""
    start = time.perf_counter()
    patches = PairedImageDataset(gt_size=SIZE, scale=SCALE, **words).patches(0)  # type: ignore[arg-type]
    ready = time.perf_counter() - start
    return ready, lambda number: patches.batch(0, np.arange(BATCH) + BATCH * number)


def milliseconds(batch: Callable[[int], object], seconds: float = 3.0) -> float:
    """Of one batch, the mean over some seconds."""
    batch(0)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        count += 1
        batch(count)
    return (time.perf_counter() - start) / count * 1000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    images = sorted(path for path in folder.iterdir() if path.is_file())
    print(f"batches of {BATCH} patches of {SIZE} px, x{SCALE}, from {len(images)} images\n")
    print(f"{'':28}  ready after  per batch")
    print(f"{'decoding for each patch':28}  {0:9.1f} s  {milliseconds(naive(images)):6.1f} ms")
    with tempfile.TemporaryDirectory() as place:
        pack = Path(place) / "crops.pack"
        pack_crops([folder], pack, size=192)
        rows = {
            "folder": {"dataroot_gt": str(folder)},
            "folder, filling the cache": {"dataroot_gt": str(folder), "cache": place},
            "folder, cached": {"dataroot_gt": str(folder), "cache": place},
            "pack of the richest crops": {"dataroot_gt": str(pack)},
            "folder, noise on the fly": {
                "dataroot_gt": str(folder),
                "degradation": [{"type": "Bicubic"}, {"type": "GaussianNoise", "sigma": [0, 50]}],
            },
        }
        for name, words in rows.items():
            ready, batch = ours(**words)
            print(f"{name:28}  {ready:9.1f} s  {milliseconds(batch):6.1f} ms")


if __name__ == "__main__":
    main()
