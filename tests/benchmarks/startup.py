"""Start-up of hfsr's commands beside Python and torch: python tests/benchmarks/startup.py

The last row is a whole run, `hfsr upscale` of an image of 64x64 px by the bundled model.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

LIMIT = 0.5
"""Seconds within which `hfsr --help` must answer."""
TORCH_LIMIT = 1.5
"""Times `import torch` within which a small image must be upscaled."""

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import hfsr": ["-c", "import hfsr"],
    "hfsr --help": ["-m", "hfsr", "--help"],
    "hfsr upscale --help": ["-m", "hfsr", "upscale", "--help"],
    "import torch": ["-c", "import torch"],
    "hfsr.Upscaler": ["-c", "import hfsr; hfsr.Upscaler"],
    "hfsr upscale 64x64": ["-m", "hfsr", "upscale", "in.png", "-o", "out.png"],
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7, help="interleaved runs of each; the median is shown")
    runs = parser.parse_args().runs
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with TemporaryDirectory() as folder:
        Image.new("RGB", (64, 64), "teal").save(Path(folder, "in.png"))
        for run in range(runs + 1):
            for name, arguments in COMMANDS.items():
                start = time.perf_counter()
                command = [sys.executable, *arguments]
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder)
                if run:  # the first round only warms the file cache
                    seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    print(f"{'':<20} {'seconds':>8} {'x python':>9} {'x torch':>8}")
    for name, median in medians.items():
        python, torch = median / medians["python -c pass"], median / medians["import torch"]
        print(f"{name:<20} {median:8.3f} {python:9.2f} {torch:8.2f}")
    help_within = medians["hfsr --help"] < LIMIT
    image_within = medians["hfsr upscale 64x64"] < TORCH_LIMIT * medians["import torch"]
    print(f"hfsr --help answers {'within' if help_within else 'AFTER'} {LIMIT} s")
    print(f"a small image takes {'less' if image_within else 'MORE'} than {TORCH_LIMIT} x import torch")
    return 0 if help_within and image_within else 1


if __name__ == "__main__":
    sys.exit(main())
