"""Start-up of `hfsr --help` and `import hfsr` beside Python and torch: python tests/benchmarks/startup.py"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

LIMIT = 0.5
"""Seconds within which `hfsr --help` must answer."""

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import hfsr": ["-c", "import hfsr"],
    "hfsr --help": ["-m", "hfsr", "--help"],
    "hfsr upscale --help": ["-m", "hfsr", "upscale", "--help"],
    "import torch": ["-c", "import torch"],
    "hfsr.Upscaler": ["-c", "import hfsr; hfsr.Upscaler"],
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7, help="interleaved runs of each; the median is shown")
    runs = parser.parse_args().runs
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for run in range(runs + 1):
        for name, arguments in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            if run:  # the first round only warms the file cache
                seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    print(f"{'':<20} {'seconds':>8} {'x python':>9} {'x torch':>8}")
    for name, median in medians.items():
        python, torch = median / medians["python -c pass"], median / medians["import torch"]
        print(f"{name:<20} {median:8.3f} {python:9.2f} {torch:8.2f}")
    within = medians["hfsr --help"] < LIMIT
    print(f"hfsr --help answers {'within' if within else 'AFTER'} {LIMIT} s")
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
