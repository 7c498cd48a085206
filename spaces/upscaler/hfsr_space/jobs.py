"""The work: a picture's file in, a PNG out, told piece by piece; closing a generator stops it.

The PNG is, pixel for pixel, what `hfsr upscale` and `hfsr zeroshot` write with the same choices.
"""

from __future__ import annotations

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
from .catalog import Menu
from .messages import bar, in_words, learned, pieces_done, readable, refusal

Told = Generator[tuple[str, str], None, None]
"""After each piece: how far the work is, and how it is made."""

# ZeroGPU runs what is marked so in a process of its own that has a GPU; elsewhere it changes nothing.
on_gpu = getattr(sys.modules.get("spaces"), "GPU", None) or (lambda **_: lambda function: function)


def uploaded(image: dict[str, Any] | None) -> Path:
    """The file that a visitor has uploaded, and no other file of the server.

    Raises:
        gr.Error: nothing was uploaded, or something else is named.
    """
    source = Path((image or {}).get("path") or "").resolve()
    if not source.is_relative_to(Path(get_upload_folder()).resolve()):
        raise refusal("Drop a picture first.")
    return source


def upscale(
    menu: Menu, source: Path, *, model: str, tile: str, dtype: str, self_ensemble: bool, strength: float
) -> Iterator[tuple[Any, Path | None, str]]:
    """Yields before and after, the PNG, and what to say; the first two are None until the last time."""
    with readable(source):
        scale = menu.load(model, strength).scale  # here, so that ZeroGPU's process finds it loaded

        def work(png: Path) -> Told:
            return restore(menu, source, png, model, strength, tile, dtype, self_ensemble)

        yield from shown(source, f"{source.stem}_x{scale:g}.png", scale, work)


def zeroshot(source: Path, *, scale: int, kind: str) -> Iterator[tuple[Any, Path | None, str]]:
    """The same, by a network that learns from the picture alone."""
    with readable(source):

        def work(png: Path) -> Told:
            return learn(source, png, scale, kind)

        yield from shown(source, f"{source.stem}_zeroshot_x{scale}.png", scale, work)


def shown(
    source: Path, name: str, scale: float, work: Callable[[Path], Told]
) -> Iterator[tuple[Any, Path | None, str]]:
    """Has the work done in a folder that vanishes with it, and lays before and after side by side."""
    started = time.monotonic()
    sweep()
    yield None, None, bar("Getting ready")
    with TemporaryDirectory(prefix="hfsr-") as folder:
        png = Path(folder, name)
        how = ""
        with closing(work(png)) as news:
            for said, how in news:  # noqa: B007 - the last is told at the end
                yield None, None, said
        before, after, sizes = compare(source, png, scale)
        cost = f"{png.stat().st_size / 1e6:.1f} MB of PNG in {in_words(time.monotonic() - started)}"
        said = f"<p><strong>{sizes}</strong></p><p>{cost}.</p><p class='how'>{how}</p>"
        yield (before, after), png, said


@on_gpu(duration=limits.GPU_SECONDS)
def restore(
    menu: Menu,
    source: Path,
    png: Path,
    model: str,
    strength: float,
    tile: str,
    dtype: str,
    self_ensemble: bool,
) -> Told:
    """Writes the result of a model to `png`.

    Raises:
        HfsrError: the picture cannot be read, is too large, or the choices do not go together.
    """
    upscaler = hfsr.Upscaler(menu.load(model, strength), tile=tile, dtype=dtype, self_ensemble=self_ensemble)
    most = limits.MAX_ENSEMBLE_PIXELS if self_ensemble else limits.MAX_PIXELS
    with closing(upscaler.steps(source, png, max_pixels=most)) as pieces:
        for piece in pieces:
            yield pieces_done(piece), "; ".join([upscaler.summary, *upscaler.notes])


@on_gpu(duration=limits.GPU_SECONDS)
def learn(source: Path, png: Path, scale: int, kind: str) -> Told:
    """Writes the zero-shot result to `png`.

    Args:
        kind: "bicubic", "estimate" or "real", as `hfsr zeroshot` takes them.

    Raises:
        HfsrError: the picture cannot be read, is too small to learn from, or too large for this place.
    """
    shot = hfsr.ZeroShot(scale=scale, kernel="bicubic" if kind == "real" else kind, real=kind == "real")
    most = limits.MAX_LEARNED_PIXELS // scale**2
    estimate = shot.estimate_cost(*images.picture_size(source, max_pixels=most))
    yield bar(f"Learning takes {in_words(estimate.seconds)} at most, and often less"), ""
    losses: list[float] = []
    learning = 0
    with closing(shot.steps(source, png, max_pixels=most)) as steps:
        for step in steps:
            if step.loss is not None:
                losses.append(step.loss)
                learning = step.done
            how = f"ZSSR x{scale}, learned in {learning} steps, {shot.dtype_name} on {shot.device}"
            yield learned(step, losses), how


def compare(source: Path, png: Path, scale: float) -> tuple[Path, Path, str]:
    """Before and after as PNGs of one size, so that they lie on each other, and what to say of their sizes.

    Before is enlarged by bicubic, as any viewer would; both are reduced where they are too large to show.
    """
    before, after = images.picture_to_pil(images.read_picture(source)), png
    shown = width, height = [int(side * scale + 1e-6) for side in before.size]
    sizes = f"{before.width} × {before.height} px became {width} × {height} px."
    if width * height > limits.MAX_SHOWN:
        sizes += " The comparison is reduced, the download is not."
        shown = [round(side * (limits.MAX_SHOWN / (width * height)) ** 0.5) for side in shown]
        whole = images.picture_to_pil(images.read_picture(png, max_pixels=width * height))
        after = png.with_name("after.png")
        whole.resize(shown).save(after, compress_level=1)  # level 1 is four times as fast as the default
    before.resize(shown).save(png.with_name("before.png"), compress_level=1)
    return png.with_name("before.png"), after, sizes


def sweep() -> None:
    """Deletes uploads that broke off; gradio looks after those that arrived, in folders of their own."""
    for path in Path(get_upload_folder()).glob("tmp*"):
        if path.is_file() and time.time() - path.stat().st_mtime > limits.KEEP_SECONDS:
            path.unlink(missing_ok=True)
