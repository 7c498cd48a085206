"""Folders and files: what overlapping saves, and the shares of a file: python tests/benchmarks/folder.py

Two tables, each on request (--tables folder file):

- folder: images of 256x256 px by `hfsr upscale FOLDER`, which decodes the next image and encodes the last one
  while the network runs, beside one call of `Upscaler.file` each. Both take turns in groups of ten images, so
  that other load on the machine reaches both.
- file: 2048x1080 px from file to file by one call: seconds, and the shares of decoding, arithmetic and
  encoding (one after another, nothing overlaps), for each format; the median of the rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from machine import processor
from numpy.typing import NDArray
from PIL import Image

import hfsr
from hfsr import images
from hfsr.cli import build_parser
from hfsr.cli.input_files import Job
from hfsr.cli.job_pipeline import run_jobs
from hfsr.cli.upscale_models import Models
from hfsr.images.encoding.png_writer import PngWriter
from hfsr.images.encoding.tiff_writer import TiffWriter
from hfsr.inference import Upscaler

GROUP = 10
"""Images between two turns."""
FORMATS = ("png", "jpg", "webp", "tif")
TABLES = ("folder", "file")


def image_of(width: int, height: int, seed: int = 0) -> NDArray:
    """Slow changes with grain on them, which compress about as photos do."""
    generator = np.random.default_rng(seed)
    slow = np.linspace(40, 200, width, dtype=np.float32)[None, :, None]
    grain = generator.standard_normal((height, width, 3), dtype=np.float32) * 3
    return (slow + grain).astype(np.uint8)


# --- folder ---


def folder_table(model: str, count: int, side: int, device: str | None) -> None:
    with TemporaryDirectory() as place:
        groups = [Path(place, f"in{start}") for start in range(0, count, GROUP)]
        for number, group in enumerate(groups):
            group.mkdir()
            for index in range(GROUP):
                image = image_of(side, side, number * GROUP + index)
                Image.fromarray(image).save(group / f"{index}.png")
        words = ["-", "-m", model, *(["--device", device] if device else [])]
        args = build_parser("hfsr", "upscale").parse_args(words)
        vars(args).update(quiet=True, is_shared=False, local_processes=1, to_stdout=False)
        models = Models(args)
        up = models.get((model,))

        def one_call_each(group: Path, target: Path) -> None:
            target.mkdir()
            for path in sorted(group.iterdir()):
                up.file(path, target / path.name)

        def overlapped(group: Path, target: Path) -> None:
            jobs = [Job(path, target / path.name) for path in sorted(group.iterdir())]
            run_jobs(models, enumerate(jobs), args, lambda _, report: check(report))

        runs: dict[str, Callable[[Path, Path], None]] = {"calls": one_call_each, "folder": overlapped}
        for name, run in runs.items():  # whatever is prepared once
            run(groups[0], Path(place, f"first-{name}"))
        spent = dict.fromkeys(runs, 0.0)
        for index, group in enumerate(groups):
            for name in list(runs) if index % 2 == 0 else list(reversed(runs)):
                started = time.perf_counter()
                runs[name](group, Path(place, f"{name}{index}"))
                spent[name] += time.perf_counter() - started
        for index in range(len(groups)):
            for path in Path(place, f"calls{index}").iterdir():
                assert path.read_bytes() == Path(place, f"folder{index}", path.name).read_bytes()
    done = GROUP * len(groups)
    print(f"\nfolder: {done} images of {side}x{side} px by {model} ({up.summary}); results are equal")
    calls, folder = spent["calls"], spent["folder"]
    print(f"one call each  {done / calls:7.2f} images/s")
    print(f"overlapped     {done / folder:7.2f} images/s, {calls / folder:.2f} x")


def check(report: dict[str, Any]) -> None:
    assert report["error"] is None, report["error"]


# --- file ---


@contextlib.contextmanager
def timed(owner: Any, name: str, spent: dict[str, float], part: str) -> Iterator[None]:
    """Adds the seconds of each call of a function in the block to a part."""
    original = getattr(owner, name)

    def run(*args: Any, **named: Any) -> Any:
        started = time.perf_counter()
        try:
            return original(*args, **named)
        finally:
            spent[part] += time.perf_counter() - started

    setattr(owner, name, run)
    try:
        yield
    finally:
        setattr(owner, name, original)


def file_table(model: str, width: int, height: int, rounds: int, device: str | None) -> None:
    up = Upscaler(hfsr.from_pretrained(model), device=device)
    print(f"\nfile: {width}x{height} px by {model} ({up.summary}), median of {rounds}; seconds and shares")
    with TemporaryDirectory() as place:
        for ending in FORMATS:
            source = Path(place, f"in.{ending}")
            Image.fromarray(image_of(width, height)).save(source)
            found: list[tuple[float, float, float]] = []
            for _ in range(rounds):
                spent = {"decode": 0.0, "encode": 0.0}
                with contextlib.ExitStack() as stack:
                    stack.enter_context(timed(images, "read_image", spent, "decode"))
                    stack.enter_context(timed(images, "write_image", spent, "encode"))
                    for writer in (PngWriter, TiffWriter):
                        for method in ("_begin", "_append", "_end"):
                            stack.enter_context(timed(writer, method, spent, "encode"))
                    started = time.perf_counter()
                    up.file(source, Path(place, f"out.{ending}"))
                    total = time.perf_counter() - started
                found.append((total, spent["decode"], spent["encode"]))
            total, decode, encode = (statistics.median(each) for each in zip(*found, strict=True))
            rest = total - decode - encode
            print(
                f"{ending:<5} {total:7.2f} s: decode {decode / total:6.1%}, arithmetic {rest / total:6.1%}, "
                f"encode {encode / total:6.1%} ({encode:.2f} s)",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="hfsr-x2")
    parser.add_argument("--tables", nargs="+", default=list(TABLES), choices=TABLES)
    parser.add_argument("--count", type=int, default=200, help="images of the folder, in groups of ten")
    parser.add_argument("--side", type=int, default=256, help="px of the images of the folder")
    parser.add_argument("--size", default="2048x1080", help="width x height of the file, px")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each file")
    parser.add_argument("--device")
    args = parser.parse_args()
    print(processor())
    if "folder" in args.tables:
        folder_table(args.model, args.count, args.side, args.device)
    if "file" in args.tables:
        width, height = map(int, args.size.split("x"))
        file_table(args.model, width, height, args.rounds, args.device)


if __name__ == "__main__":
    main()
