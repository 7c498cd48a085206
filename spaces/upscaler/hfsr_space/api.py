"""Endpoints for programs, `/upscale` and `/zeroshot`, with typed arguments; they run the jobs of the page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

import gradio as gr

from . import jobs, upscale_tab, zeroshot_tab
from .catalog import ModelCatalog
from .choices import FORMATS, Settings
from .messages import JobProgress
from .results import Result
from .sessions import WORK_QUEUE, one_job_validator
from .uploads import uploaded_file

Steps = Iterator[tuple[dict[str, Any] | None, str]]
"""Yields (None, progress) after each step and (file of the result, facts) at the end."""


def add_endpoints(page: gr.Blocks, catalog: ModelCatalog) -> None:
    """Adds both endpoints; they wait in the queue of the page."""

    def upscale(
        image: Any,
        model: Any = catalog.first.model,
        tile: Any = "auto",
        dtype: Any = "auto",
        self_ensemble: bool = False,
        strength: float = 1,
        scale: float = 0,
        width: int = 0,
        format: Any = "png",
    ) -> Steps:
        """Enlarge an image two, three or four times, or clean it at its size.

        Args:
            image: an image file of up to 50 MB and 16 million pixels.
            model: kind of image or model. "auto" chooses by the compression of the file, "photo" is for
                compressed photos and "clean" for clean images, where they are offered.
            tile: side of a tile in px; the result is the same for all.
            dtype: arithmetic of the network.
            self_ensemble: average over eight flips and rotations, which takes eight times as long.
            strength: 0 to 1. Of "photo" and of the photo models: 0 keeps detail, 1 removes artifacts. Of a
                model with a milder training: 0 is that one. All others have only 1.
            scale: 1 to 4 times the image; 0 is the scale of the model, or 2 if a kind of image is given.
            width: width of the result in px instead of a scale; 0 follows the scale.
            format: file format of the result.

        Returns:
            The result, and its size, time and technical details.
        """
        settings = Settings(model, scale, width, format, tile, dtype, self_ensemble, strength)
        settings = upscale_tab.checked(catalog, settings)
        yield from _steps(jobs.upscale(catalog, uploaded_file(image), settings))

    def zeroshot(image: Any, scale: Any = 2, kind: Any = "bicubic") -> Steps:
        """Enlarge an image with a small network that is trained on this image alone.

        Args:
            image: an image file; its result may have up to 2 million pixels.
            scale: times larger.
            kind: "bicubic" for a sharp image that was reduced on a computer, "estimate" for a blurred one,
                "real" for a noisy or compressed one.

        Returns:
            The result, and its size, time and technical details.
        """
        checked = zeroshot_tab.checked(scale, kind)
        yield from _steps(jobs.zeroshot(uploaded_file(image), scale=checked, kind=kind))

    # Gradio reads the types of an endpoint from the annotations of its function.
    upscale.__annotations__ = {
        "image": gr.FileData,
        "model": _one_of(catalog.names),
        "tile": _one_of(upscale_tab.TILES.values()),
        "dtype": _one_of(upscale_tab.DTYPES.values()),
        "self_ensemble": bool,
        "strength": float,
        "scale": float,
        "width": int,
        "format": _one_of(FORMATS.values()),
        "return": tuple[gr.FileData, str],
    }
    zeroshot.__annotations__ = {
        "image": gr.FileData,
        "scale": _one_of(zeroshot_tab.SCALES),
        "kind": _one_of(zeroshot_tab.KINDS.values()),
        "return": tuple[gr.FileData, str],
    }
    for function in (upscale, zeroshot):
        added = gr.api(function, concurrency_id=WORK_QUEUE, concurrency_limit=1)
        page.fns[added["id"]].validator = one_job_validator(page)


def _steps(job: Iterator[JobProgress | Result]) -> Steps:
    for step in job:
        if isinstance(step, Result):
            # Gradio copies the file before the job deletes it.
            yield {"path": step.file, "meta": {"_type": "gradio.FileData"}}, step.report
        else:
            yield None, str(step)


def _one_of(values: Iterable[Any]) -> Any:
    return Literal[tuple(values)]
