"""How often an earlier JPEG is found in a lossless file: python tests/benchmarks/jpeg_grid.py DIR [DIR ...]

Each image of a folder is judged as it is, halved (which removes what compression it had before), and halved
and compressed at several qualities, the grid of the blocks moved by 5 and 3 px.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from hfsr.degradations import jpeg
from hfsr.images import list_images
from hfsr.images.jpeg_grid import THRESHOLD, jpeg_grid_score

QUALITIES = (95, 90, 75, 60, 50, 30)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    for folder in parser.parse_args().folders:
        scores: dict[str, list[float]] = {}
        for path in list_images(folder):
            image = Image.open(path).convert("RGB")
            halved = np.asarray(image.reduce(2))
            versions = {"as it is": np.asarray(image), "halved": halved}
            versions |= {f"quality {quality}": jpeg(halved, quality)[5:, 3:] for quality in QUALITIES}
            for name, pixels in versions.items():
                scores.setdefault(name, []).append(jpeg_grid_score(pixels))
        print(f"{folder}, {len(scores['halved'])} images: share with a score of {THRESHOLD:g} or more")
        for name, found in scores.items():
            share = np.mean(np.array(found) >= THRESHOLD)
            print(f"  {name:<12} {100 * share:5.1f} %   median score {np.median(found):5.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
