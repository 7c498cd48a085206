"""`hfsr upscale` (and `restore`): pictures and folders in, larger or cleaner pictures out."""

from __future__ import annotations

import argparse
import glob
import json
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfsr.errors import HfsrError, ImageError, OptionsError, some_of
from hfsr.samples import SAMPLE

if TYPE_CHECKING:
    from hfsr.inference import Upscaler

KEPT_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".avif")


@dataclass(frozen=True)
class Job:
    """One picture to read and where its result goes."""

    source: Path
    target: Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("inputs", nargs="*", metavar="INPUT", help="pictures, folders (searched recursively) or globs")
    add("-s", "--scale", type=float, help="scale of the model; without -m 2, 3 or 4 (default 2)")
    add("-m", "--model", help="Hub id, model folder, checkpoint file or bundled name")
    add("-o", "--output", type=Path, help="a file for one picture, else a folder (default results/)")
    add("--tile", default="auto", help="side in input px of what one piece owns; 0 runs whole (default auto)")
    add("--dtype", default="auto", help="auto, fp32, bf16 or fp16 (default auto)")
    add("--backend", default="torch", help="torch (default) or auto")
    add("--device", help="cpu, cuda or cuda:N (default: cuda where there is one)")
    add("--suffix", help="added to the name of each result (default _x2 and the like)")
    add("--ext", help="format of the results: png, jpg, webp, tif (default: as the input)")
    add("--jpeg-quality", type=int, default=95, metavar="Q", help="1 to 100 (default 95)")
    add("--skip-existing", action="store_true", help="leave results alone that are there already")
    add("--max-pixels", type=int, metavar="N", help="refuse pictures with more px (default 268 million)")
    add("--dry-run", action="store_true", help="print what each picture would take; write nothing")
    add("--sample", action="store_true", help="upscale the sample picture that comes with hfsr")
    add("--json", action="store_true", help="one JSON object per picture on stdout, nothing else")


def run(args: argparse.Namespace) -> int:
    from hfsr import hub
    from hfsr.inference import Upscaler

    if args.sample:
        args.inputs = [*args.inputs, str(SAMPLE)]
    if not args.inputs:
        raise OptionsError("nothing to upscale; name pictures or folders, or try --sample")
    if not 1 <= args.jpeg_quality <= 100:
        raise OptionsError(f"--jpeg-quality {args.jpeg_quality} is not allowed; use 1 to 100")
    name = args.model or _default_model(args.command, args.scale)
    up = Upscaler(
        hub.from_pretrained(name, scale=args.scale),
        tile=args.tile,
        dtype=args.dtype,
        backend=args.backend,
        device=args.device,
    )
    jobs = _jobs(args, f"_x{up.scale}" if up.scale > 1 else "_restored")
    failed = 0
    for job in jobs:
        report: dict[str, Any] = {"input": str(job.source), "output": str(job.target)}
        try:
            report |= _dry_run(up, job, args) if args.dry_run else _upscale(up, job, args)
        except HfsrError as error:
            failed += 1
            report["error"] = " ".join(str(error).split())
            if not args.json:
                print(f"hfsr {args.command}: {report['error']}", file=sys.stderr)
        _tell(report | {"model": str(name)}, args)
    if failed and len(jobs) > 1 and not args.json:
        print(f"hfsr {args.command}: {failed} of {len(jobs)} pictures failed", file=sys.stderr)
    return 1 if failed else 0


def _default_model(command: str, scale: float | None) -> str:
    return "hfsr-denoise" if command == "restore" and scale is None else f"hfsr-x{scale or 2:g}"


# --- one picture ---


def _upscale(up: Upscaler, job: Job, args: argparse.Namespace) -> dict[str, Any]:
    from tqdm import tqdm

    if args.skip_existing and job.target.exists():
        return {"skipped": True}
    started = time.monotonic()
    steps = up.steps(job.source, job.target, jpeg_quality=args.jpeg_quality, max_pixels=args.max_pixels)
    quiet = args.json or not sys.stderr.isatty()
    with closing(steps), tqdm(desc=job.source.name, unit="piece", disable=quiet, leave=False) as bar:
        for step in steps:
            if step.done == 1:
                _make_folder(
                    job.target.parent
                )  # not before: a picture that cannot be read leaves no empty folder
            bar.total = step.total
            bar.update(step.done - bar.n)
    width, height = _dimensions(job.target)
    return {
        "width": width,
        "height": height,
        "scale": up.scale,
        "tile": up.used_tile,
        "dtype": up.dtype_name,
        "backend": up.backend,
        "device": str(up.device),
        "seconds": round(time.monotonic() - started, 3),
        "peak_memory_bytes": _peak_memory(up),
    }


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(
            f"the folder '{folder}' cannot be made ({error.strerror}); choose another -o"
        ) from error


def _dry_run(up: Upscaler, job: Job, args: argparse.Namespace) -> dict[str, Any]:
    from hfsr.archs import enlarged_length

    width, height = _dimensions(job.source)
    plan = up.plan(width, height)
    return {
        "width": enlarged_length(width, up.scale),
        "height": enlarged_length(height, up.scale),
        "scale": up.scale,
        "tile": plan.parts,
        "dtype": up.dtype_name,
        "predicted_bytes": plan.part_bytes + plan.live_bytes,
        "gflops": round(plan.flops / 1e9, 1),
    }


def _dimensions(path: Path) -> tuple[int, int]:
    """Width and height in px, upright, without decoding."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            turned = image.getexif().get(ImageOps.ExifTags.Base.Orientation, 1) >= 5
            return (image.height, image.width) if turned else image.size
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ImageError(f"'{path}' cannot be read ({error}); give a picture file") from error


def _peak_memory(up: Upscaler) -> int:
    """Peak bytes: of the device where that is CUDA, else of this process."""
    if up.device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(up.device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _tell(report: dict[str, Any], args: argparse.Namespace) -> None:
    if args.json:
        print(json.dumps(report), flush=True)
    elif "error" in report:
        return
    elif report.get("skipped"):
        print(f"{report['output']} is there already, left alone")
    elif args.dry_run:
        print(
            f"{report['input']} -> {report['width']}x{report['height']} px by {report['model']}: "
            f"{report['tile']}, {report['dtype']}, {report['gflops']} GFLOP, about "
            f"{report['predicted_bytes'] / 2**20:.0f} MiB beside the pictures"
        )
    else:
        print(
            f"{report['output']}: {report['width']}x{report['height']} px by {report['model']} in "
            f"{report['seconds']:.1f} s (tile {report['tile']}, {report['dtype']}, {report['device']}, "
            f"peak memory {report['peak_memory_bytes'] / 2**20:.0f} MiB)"
        )


# --- which pictures, and where to ---


def _jobs(args: argparse.Namespace, default_suffix: str) -> list[Job]:
    """Pairs every input with its result, so that no result is another's or an input.

    Raises:
        OptionsError: nothing found, or two results that would have one name.
    """
    found = [item for text in args.inputs for item in _expand(text)]
    if not found:
        raise OptionsError(
            f"no pictures in {some_of(args.inputs)}; allowed endings: {', '.join(KEPT_ENDINGS)}"
        )
    output: Path | None = args.output
    to_file = output is not None and output.suffix.lower() in KEPT_ENDINGS and not output.is_dir()
    if to_file and (len(found) > 1 or any(Path(text).is_dir() for text in args.inputs)):
        raise OptionsError(f"-o {output} names a file, but there are several inputs; name a folder")
    suffix = default_suffix if args.suffix is None else args.suffix
    folder = output or Path("results")
    jobs = []
    for source, relative in found:
        target = output if to_file and output else folder / _result_name(relative, suffix, args.ext)
        jobs.append(Job(source, target))
    sources = {job.source.resolve() for job in jobs}
    seen: dict[Path, Path] = {}
    for job in jobs:
        target = job.target.resolve()
        if target in sources:
            raise OptionsError(f"'{job.target}' would overwrite an input; choose another -o or --suffix")
        if target in seen:
            raise OptionsError(
                f"'{seen[target]}' and '{job.source}' would both become '{job.target}'; rename one"
            )
        seen[target] = job.source
    return jobs


def _result_name(relative: Path, suffix: str, ext: str | None) -> Path:
    kept = relative.suffix if relative.suffix.lower() in KEPT_ENDINGS else ".png"
    ending = kept if ext is None else "." + ext.lstrip(".").lower()
    return relative.with_name(f"{relative.stem}{suffix}{ending}")


def _expand(text: str) -> Iterator[tuple[Path, Path]]:
    """The pictures an argument stands for, each with its path relative to where results go."""
    path = Path(text)
    if path.is_dir():
        for picture in sorted(path.rglob("*")):
            hidden = any(part.startswith(".") for part in picture.relative_to(path).parts)
            if picture.is_file() and not hidden and picture.suffix.lower() in (*KEPT_ENDINGS, ".gif", ".ppm"):
                yield picture, picture.relative_to(path)
    elif not path.exists() and glob.has_magic(text):
        for name in sorted(glob.glob(text, recursive=True)):
            if Path(name).is_file():
                yield Path(name), Path(Path(name).name)
    else:
        yield path, Path(path.name)
