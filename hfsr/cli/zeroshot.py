"""`hfsr zeroshot`: enlarges an image with a network that is trained on that image alone."""

from __future__ import annotations

import argparse
import json
import os
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfsr.cli.argument_types import positive
from hfsr.cli.fit_progress import report_stop, show_fit
from hfsr.cli.image_progress import stoppable
from hfsr.cli.input_files import folder_of
from hfsr.errors import UsageError

if TYPE_CHECKING:
    from hfsr.priors import ZeroShot


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("image", type=Path, metavar="IMAGE", help="an image")
    add("-s", "--scale", type=_scale, default=2.0, help="1 to 8, real; 1.5x2 is width by height (default 2)")
    add(
        "-o",
        "--output",
        type=Path,
        help="the result, or a folder for it (default results/NAME_zeroshot_xS.png)",
    )
    add(
        "--kernel",
        default="bicubic",
        metavar="FILE|bicubic|estimate",
        help="the image's reduction kernel: weights over output px that sum to 1 (.npy, .txt, .mat; or .png, "
        "divided by its sum), bicubic, or estimate: a rough one from the image (default bicubic)",
    )
    add(
        "--kernel-shift",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="shift the kernel's center of mass to the center of an input px; --no-kernel-shift means that "
        "the image was blurred and then subsampled from its first px on",
    )
    add("--noise", type=float, metavar="STD", help="noise of the image in 8-bit gray levels (default 0)")
    add("--gradual", action="store_true", help="raise the scale in six steps: slower, slightly better")
    add("--real", action="store_true", help="photograph of unknown kernel: no ensemble, milder augmentation")
    add(
        "--iterations",
        type=positive(int),
        metavar="N",
        help="maximum number of iterations (default 3000); training may end sooner",
    )
    add("--seed", type=int, default=0, help="seed of weights and augmentations (default 0)")
    add("--dtype", default="auto", help="auto, fp32 or bf16 (default auto)")
    add("--device", help="cpu, cuda, cuda:N, mps or xpu (default: cuda if available)")
    add("--jpeg-quality", type=int, default=95, metavar="Q", help="1 to 100 (default 95)")
    add("--dry-run", action="store_true", help="run a few steps, print time and memory; write nothing")
    add("--json", action="store_true", help="one JSON object on stdout, nothing else")


def run(args: argparse.Namespace) -> int:
    from hfsr.priors import ZeroShot
    from hfsr.priors.zeroshot import ZeroShotConfig

    shot = ZeroShot(
        scale=args.scale,
        kernel=args.kernel,
        shift=args.kernel_shift,
        noise=args.noise,
        gradual=args.gradual,
        real=args.real,
        dtype=args.dtype,
        device=args.device,
        seed=args.seed,
        config=ZeroShotConfig() if args.iterations is None else ZeroShotConfig(iterations=args.iterations),
    )
    target = _target(args.image, args.output, f"_zeroshot_x{shot.scale_name}.png")
    report: dict[str, Any] = {"input": str(args.image), "output": str(target)}
    try:
        with stoppable():
            report |= _forecast(shot, args.image) if args.dry_run else _enlarge(shot, args, target)
    except KeyboardInterrupt as stop:
        return report_stop("hfsr zeroshot", stop)
    report |= {
        "scale": shot.scale_x if shot.scale_x == shot.scale_y else [shot.scale_x, shot.scale_y],
        "kernel": args.kernel,
        "dtype": shot.dtype_name,
        "device": str(shot.device),
    }
    _tell(report, args)
    return 0


def _scale(text: str) -> float | tuple[float, float]:
    """Parses a number, or two with an "x" between them."""
    across, x, down = text.partition("x")
    return (float(across), float(down)) if x else float(text)


def _target(image: Path, output: Path | None, ending: str) -> Path:
    target = output or Path("results")
    if output is None or output.is_dir():
        target = target / f"{image.stem}{ending}"
    if os.path.realpath(target) == os.path.realpath(image):
        raise UsageError(f"'{target}' would overwrite the input; choose another -o")
    return target


def _enlarge(shot: ZeroShot, args: argparse.Namespace, target: Path) -> dict[str, Any]:
    from hfsr import images
    from hfsr.inference.runtime.memory import peak_memory

    started = time.monotonic()
    steps = shot.steps(args.image, target, jpeg_quality=args.jpeg_quality)
    with folder_of(target), closing(steps):
        last = show_fit(steps, name=args.image.name, quiet=args.json)
    width, height = images.image_size(target)
    return {
        "width": width,
        "height": height,
        "iterations": sum(step.done for step in last if step.stage.startswith("learning")),
        "seconds": round(time.monotonic() - started, 3),
        "peak_memory_bytes": peak_memory(shot.device),
        "notes": list(shot.notes),
    }


def _forecast(shot: ZeroShot, image: Path) -> dict[str, Any]:
    from hfsr import images

    estimate = shot.estimate_cost(*images.image_size(image))
    return {
        "width": estimate.width,
        "height": estimate.height,
        "predicted_seconds": round(estimate.seconds, 1),
        "predicted_bytes": estimate.bytes,
        "parts": estimate.parts,
    }


def _tell(report: dict[str, Any], args: argparse.Namespace) -> None:
    if args.json:
        print(json.dumps(report))
    elif args.dry_run:
        print(
            f"{report['input']} -> {report['width']}x{report['height']} px, {report['parts']}: at most "
            f"{report['predicted_seconds']:.0f} s, about {report['predicted_bytes'] / 2**20:.0f} MiB "
            f"({report['dtype']} on {report['device']}); it may learn faster and end sooner"
        )
    else:
        print(
            f"{report['output']}: {report['width']}x{report['height']} px, learned in {report['iterations']} "
            f"iterations, {report['seconds']:.1f} s in all (kernel {report['kernel']}, {report['dtype']} on "
            f"{report['device']}, peak memory {report['peak_memory_bytes'] / 2**20:.0f} MiB)"
            + "".join(f"; {note}" for note in report["notes"])
        )
