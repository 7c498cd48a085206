"""Jobs: an image file in, a PNG out, with progress; closing a job's generator cancels it.

The PNG is, pixel for pixel, what `hfsr upscale` and `hfsr zeroshot` write with the same options.
"""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gradio.utils import get_upload_folder

import hfsr
from hfsr import images

from . import limits
from .catalog import ModelCatalog
from .messages import (
    format_bytes,
    format_seconds,
    progress_bar,
    tile_progress,
    training_progress,
    translate_errors,
    visitor_error,
)

JobSteps = Generator[tuple[str, str], None, None]
"""Yields (progress as HTML, technical details of the run) after each step."""

# On ZeroGPU, functions with this decorator run in a process with a GPU; elsewhere it changes nothing.
on_gpu = getattr(sys.modules.get("spaces"), "GPU", None) or (lambda **_: lambda function: function)


def uploaded_file(image: dict[str, Any] | None) -> Path:
    """Returns the path of the visitor's upload.

    Raises:
        gr.Error: nothing was uploaded, or the path is outside the upload folder.
    """
    source = Path((image or {}).get("path") or "").resolve()
    if not source.is_relative_to(Path(get_upload_folder()).resolve()):
        raise visitor_error("Drop an image first.")
    return source


def upscale(
    catalog: ModelCatalog,
    source: Path,
    *,
    model: str,
    tile: str,
    dtype: str,
    self_ensemble: bool,
    strength: float,
) -> Iterator[tuple[Any, Path | None, str]]:
    """Runs a model; yields ((before, after), PNG, report), where only the last one has images."""
    with translate_errors(source):
        scale = catalog.load(model, strength).scale  # loaded here, so that ZeroGPU's process inherits it
        if self_ensemble:
            check_pixels(source, limits.MAX_ENSEMBLE_PIXELS, "with self-ensemble")
        else:
            check_pixels(source, limits.MAX_PIXELS)

        def work(png: Path) -> JobSteps:
            return run_model(catalog, source, png, model, strength, tile, dtype, self_ensemble)

        name, task = f"{source.stem}_x{scale:g}.png", catalog.by_model[model].task
        yield from run_job(source, name, scale, work, task=task)


def zeroshot(source: Path, *, scale: int, kind: str) -> Iterator[tuple[Any, Path | None, str]]:
    """Runs zero-shot super-resolution; yields the same as `upscale`."""
    with translate_errors(source):
        check_pixels(source, limits.MAX_LEARNED_PIXELS // scale**2, f"for zero-shot enlargement by {scale}")

        def work(png: Path) -> JobSteps:
            return run_zeroshot(source, png, scale, kind)

        yield from run_job(source, f"{source.stem}_zeroshot_x{scale}.png", scale, work, task="Zero-shot")


def check_pixels(source: Path, max_pixels: int, condition: str = "") -> None:
    """Checks the size of an image before it is decoded.

    Raises:
        gr.Error: the image has more than `max_pixels` px.
        ImageError: the file is not an image.
    """
    width, height = images.image_size(source, max_pixels=sys.maxsize)
    if width * height > max_pixels:
        limit = " ".join(filter(None, [f"the limit of {max_pixels:,} px", condition]))
        raise visitor_error(
            f"'{source.name}' has {width} x {height} px, over {limit}; reduce the image, or crop it"
        )


def run_job(
    source: Path, name: str, scale: float, work: Callable[[Path], JobSteps], *, task: str
) -> Iterator[tuple[Any, Path | None, str]]:
    """Runs `work` in a temporary folder, then prepares the comparison and the report.

    The report names the file, because the visitor may have selected another image meanwhile. The folder is
    deleted with the generator; Gradio has copied the images by then.
    """
    started = time.monotonic()
    delete_partial_uploads()
    yield None, None, progress_bar("Getting ready")
    with TemporaryDirectory(prefix="hfsr-") as folder:
        png = Path(folder, name)
        details = ""
        with closing(work(png)) as steps:
            for progress, details in steps:  # noqa: B007 - the last details are reported at the end
                yield None, None, progress
        before, after, sizes = make_comparison(source, png, scale, task)
        duration = format_seconds(time.monotonic() - started)
        file = f"{html.escape(png.name)}, {format_bytes(png.stat().st_size)}, made in {duration}."
        how = f"<details class='how'><summary>Details</summary>{html.escape(details)}</details>"
        report = f"<p><strong>{sizes}</strong></p><p>{file}</p>{how}"
        yield (before, after), png, report


@on_gpu(duration=limits.GPU_SECONDS)
def run_model(
    catalog: ModelCatalog,
    source: Path,
    png: Path,
    model: str,
    strength: float,
    tile: str,
    dtype: str,
    self_ensemble: bool,
) -> JobSteps:
    """Writes the result of a model to `png`.

    Raises:
        HfsrError: the image cannot be read or is too large, or the options are incompatible.
    """
    network = catalog.load(model, strength)
    upscaler = hfsr.Upscaler(network, tile=tile, dtype=dtype, self_ensemble=self_ensemble)
    max_pixels = limits.MAX_ENSEMBLE_PIXELS if self_ensemble else limits.MAX_PIXELS
    with closing(upscaler.steps(source, png, max_pixels=max_pixels)) as steps:
        for progress in steps:
            yield tile_progress(progress), "; ".join([upscaler.summary, *upscaler.notes])


@on_gpu(duration=limits.GPU_SECONDS)
def run_zeroshot(source: Path, png: Path, scale: int, kind: str) -> JobSteps:
    """Writes the zero-shot result to `png`.

    Args:
        source: the image file.
        png: file to write.
        scale: integer scale.
        kind: "bicubic", "estimate" or "real", as for `hfsr zeroshot`.

    Raises:
        HfsrError: the image cannot be read, or is too small or too large.
    """
    zero_shot = hfsr.ZeroShot(scale=scale, kernel="bicubic" if kind == "real" else kind, real=kind == "real")
    max_pixels = limits.MAX_LEARNED_PIXELS // scale**2
    estimate = zero_shot.estimate_cost(*images.image_size(source, max_pixels=max_pixels))
    yield progress_bar(f"Learning takes {format_seconds(estimate.seconds)} at most, and often less"), ""
    hardware = f"{zero_shot.dtype_name} on {zero_shot.device}"
    losses: list[float] = []
    trained_steps = 0
    with closing(zero_shot.steps(source, png, max_pixels=max_pixels)) as steps:
        for step in steps:
            if step.loss is not None:
                losses.append(step.loss)
                trained_steps = step.done
            details = f"ZSSR x{scale}, learned in {trained_steps} steps, {hardware}"
            yield training_progress(step, losses), details


def make_comparison(source: Path, png: Path, scale: float, task: str) -> tuple[Path, Path, str]:
    """Returns before and after as PNGs of the same size, and a text about the sizes.

    The image before is upsampled by bicubic interpolation, as an image viewer would show it. Both are
    downsampled if they have too many pixels for a browser.
    """
    before, after = images.image_to_pil(images.read_image(source)), png
    shown = width, height = [int(side * scale + 1e-6) for side in before.size]
    if (width, height) == before.size:
        sizes = f"{html.escape(task)}: done. The image still has {width} × {height} px."
    else:
        sizes = f"{before.width} × {before.height} px became {width} × {height} px."
    if width * height > limits.MAX_SHOWN:
        sizes += " The comparison is reduced, the download is not."
        shown = [round(side * (limits.MAX_SHOWN / (width * height)) ** 0.5) for side in shown]
        result = images.image_to_pil(images.read_image(png, max_pixels=width * height))
        after = png.with_name("after.png")
        result.resize(shown).save(after, compress_level=1)  # level 1 is four times as fast as the default
    before.resize(shown).save(png.with_name("before.png"), compress_level=1)
    return png.with_name("before.png"), after, sizes


def delete_partial_uploads() -> None:
    """Deletes old files of interrupted uploads; Gradio deletes complete uploads, which have own folders."""
    for path in Path(get_upload_folder()).glob("tmp*"):
        if path.is_file() and time.time() - path.stat().st_mtime > limits.KEEP_SECONDS:
            path.unlink(missing_ok=True)
