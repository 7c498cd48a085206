"""Trackers for curves and images: those of accelerate that `logger` selects, and one for visdom."""

from __future__ import annotations

import importlib
import logging
import os
import uuid
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from accelerate.tracking import (
    GeneralTracker,
    TensorBoardTracker,
    TrackioTracker,
    WandBTracker,
    on_main_process,
)
from numpy.typing import NDArray

from hfsr.errors import HfsrError, HubError, MissingDependencyError
from hfsr.hub.client import LOG_IN
from hfsr.hub.upload import require_token
from hfsr.options import TrainOptions
from hfsr.options.sections import VisdomOptions

from .tracker_access import check_visdom_server, wandb_mode

__all__ = ["VisdomTracker", "build_trackers", "check_trackers", "run_names", "show_image"]

logger = logging.getLogger("hfsr")

RunNames = dict[str, str]
"""Name of this run for each tracker, with which a resumed run continues."""


def check_trackers(options: TrainOptions) -> None:
    """Checks that the selected trackers can run.

    Raises:
        MissingDependencyError, HfsrError: if one of them is not installed, or lacks a key, a token or a
            server.
    """
    chosen = options.logger
    for package, wanted in (("wandb", _project(options)), ("trackio", chosen.trackio)):
        if wanted and find_spec(package) is None:
            raise MissingDependencyError(package, extra="trackers", purpose=f"logger.{package}")
    if chosen.visdom is not None:
        if find_spec("visdom") is None:
            raise HfsrError("logger.visdom needs visdom, which is not installed; run: pip install visdom")
        check_visdom_server(chosen.visdom)
    if chosen.use_tb_logger and find_spec("tensorboard") is None:
        raise HfsrError(
            "logger.use_tb_logger needs tensorboard, which is not installed; run: pip install tensorboard, "
            "or set it to false"
        )
    if chosen.wandb is not None and chosen.wandb.project:
        _, note = wandb_mode(chosen.wandb)
        if note and os.environ.get("RANK", "0") == "0":  # in one of the processes
            logger.warning("%s", note)
    if chosen.trackio is not None and chosen.trackio.space_id:
        _check_hub_token(chosen.trackio.space_id)


def run_names(options: TrainOptions, earlier: Mapping[str, str]) -> RunNames:
    """Returns names for the trackers that give each run one: those of the resumed run, else new ones."""
    section = options.logger.wandb
    given = {"wandb": section.resume_id} if section and section.resume_id else {}
    fresh = uuid.uuid4().hex[:8]
    names = {"wandb": fresh, "trackio": f"{options.name}-{fresh}"}
    return {tracker: given.get(tracker) or earlier.get(tracker, name) for tracker, name in names.items()}


def build_trackers(options: TrainOptions, root: Path, *, names: RunNames, start: int) -> list[GeneralTracker]:
    """Builds the trackers that `logger` selects; accelerate starts them.

    Args:
        options: the options of the run.
        root: directory of `tb_logger` and `wandb`.
        names: the result of `run_names`.
        start: number of finished iterations; tensorboard drops later values.
    """
    chosen = options.logger
    trackers: list[GeneralTracker] = []
    if chosen.use_tb_logger:
        # An object, since accelerate finds the name only with the package tensorboard, not tb-nightly.
        purge = start + 1 if start else None
        trackers.append(TensorBoardTracker(options.name, str(root / "tb_logger"), purge_step=purge))
    if chosen.wandb is not None and (project := _project(options)):
        trackers.append(
            WandBTracker(
                project,
                name=options.name,
                id=names["wandb"],
                resume="allow",
                dir=str(root),
                mode=wandb_mode(chosen.wandb)[0],
            )
        )
    if chosen.trackio is not None:
        trackers.append(
            TrackioTracker(
                chosen.trackio.project,
                name=names["trackio"],
                resume="allow",
                space_id=chosen.trackio.space_id,
            )
        )
    if chosen.visdom is not None:
        trackers.append(VisdomTracker(chosen.visdom, options.name))
    return trackers


def show_image(accelerator: Accelerator, name: str, pixels: NDArray[np.uint8], iteration: int) -> None:
    """Sends an image to every tracker.

    Args:
        accelerator: has the trackers.
        name: name of the image, the same each time.
        pixels: RGB, (H, W, 3).
        iteration: iteration of the weights that made it.
    """
    for tracker in accelerator.trackers:
        if isinstance(tracker, TensorBoardTracker):
            tracker.log_images({name: pixels[None]}, step=iteration, dataformats="NHWC")
        elif isinstance(tracker, WandBTracker | VisdomTracker):
            tracker.log_images({name: [pixels]}, step=iteration)
        elif isinstance(tracker, TrackioTracker):
            tracker.log({name: importlib.import_module("trackio").Image(pixels)}, step=iteration)


class VisdomTracker(GeneralTracker):
    """Curves and images on a visdom server.

    Args:
        section: address of the server.
        run: name of the run, used as the environment unless the section names one.
    """

    name = "visdom"
    requires_logging_directory = False

    def __init__(self, section: VisdomOptions, run: str) -> None:
        super().__init__()
        self.section, self.env = section, section.env or run

    @property
    def tracker(self) -> Any:
        """Client of the visdom server."""
        return self.client

    @on_main_process
    def start(self) -> None:
        """Connects to the server.

        Raises:
            HfsrError: if no server answers.
        """
        where = f"{self.section.server}:{self.section.port}"
        visdom = importlib.import_module("visdom")
        try:
            self.client = visdom.Visdom(server=self.section.server, port=self.section.port, env=self.env)
            answers = self.client.check_connection(timeout_seconds=3)
        except (OSError, ConnectionError):
            answers = False
        if not answers:
            raise HfsrError(
                f"logger.visdom: no server answers at {where}; start one with: python -m visdom.server"
            )

    @on_main_process
    def log(self, values: dict[str, Any], step: int | None = None, **kwargs: Any) -> None:
        for name, value in values.items():
            line = {"win": name, "update": "append", "opts": {"title": name}}
            self.client.line(Y=np.array([value]), X=np.array([step]), **line)

    @on_main_process
    def log_images(self, values: dict[str, list[NDArray[np.uint8]]], step: int | None = None) -> None:
        """Shows images, RGB (H, W, 3), in windows of their names."""
        for name, images in values.items():
            for number, pixels in enumerate(images):
                title = {"title": f"{name}, iteration {step}"}
                self.client.image(pixels.transpose(2, 0, 1), win=f"{name} {number}", opts=title)


def _check_hub_token(space: str) -> None:
    try:
        require_token()
    except HubError as error:
        raise HubError(f"logger.trackio.space_id: '{space}' needs a token of the Hub; {LOG_IN}") from error


def _project(options: TrainOptions) -> str | None:
    section = options.logger.wandb
    return section.project if section else None
