"""Measurements and the example for a model card, made before a model is published."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from hfsr.degradations import Seeded
from hfsr.errors import OptionsError
from hfsr.evaluation import (
    DegradationSpec,
    device_name,
    evaluate_folder,
    find_pairs,
    make_example_image,
    measure_seconds,
)
from hfsr.evaluation.degradation_spec import task_key
from hfsr.evaluation.pairs import name_of_set
from hfsr.hub.cards.results import reports_from_card, setting_name
from hfsr.hub.cards.schema import EXAMPLE, Example
from hfsr.hub.download.datasets import PREFIX, local_folder
from hfsr.inference import Upscaler
from hfsr.model_zoo import default_task, spec_of
from hfsr.samples import SAMPLE

from .publishable import PublishableModel

__all__ = [
    "BenchmarkSets",
    "make_example",
    "make_example_for_card",
    "measure_for_card",
    "measure_set",
    "summary_line",
]

STRENGTHS = {"denoise": "--sigma 15 25 50", "jpeg": "--quality 10 20 30 40"}
"""Tasks of several strengths -> the options that state the usual ones."""


@dataclass(frozen=True, kw_only=True)
class BenchmarkSets:
    """Image sets that a model is measured on, and how their LQ images are made.

    Attributes:
        gt: folders of ground-truth images, or their addresses on the Hub.
        lq: folders of their LQ images, one for each of `gt`; none if these are made.
        degradation: makes the LQ images.
    """

    gt: Sequence[str] = ()
    lq: Sequence[str] = ()
    degradation: DegradationSpec = field(default_factory=DegradationSpec)


def measure_for_card(
    model: PublishableModel,
    sets: BenchmarkSets,
    *,
    name: str,
    report_done: Callable[[dict[str, Any]], None] = lambda report: None,
) -> list[dict[str, Any]]:
    """Measures a model on each set, and at each strength of the degradation.

    Args:
        model: a restorer.
        sets: the image sets.
        name: of the model, for the reports.
        report_done: called with each report when it is there.

    Raises:
        OptionsError: nothing states what the model undoes, or how strong, or two folders have one name.
        DataError, ImageError: a folder is missing or empty, or an image cannot be read.
        HubError: a data set on the Hub cannot be downloaded.
    """
    names = _set_names(sets.gt)
    runs: list[tuple[str, str | None, Seeded | None]]
    if sets.lq:
        runs = [(gt, lq, None) for gt, lq in zip(sets.gt, sets.lq, strict=True)]
    else:
        degradations = _choose_degradations(model, sets.degradation) if sets.gt else []
        runs = [(gt, None, degradation) for gt in sets.gt for degradation in degradations]
    reports = []
    for gt, lq, degradation in runs:
        report = measure_set(model.model, gt, name, lq=lq, degradation=degradation)
        reports.append(report | {"set": names[gt]})
        report_done(reports[-1])
    return reports


def _set_names(folders: Sequence[str]) -> dict[str, str]:
    """Returns the name of each set on the card, by its folder; sets on the Hub may have their whole address.

    Raises:
        OptionsError: two folders on this machine have the same name, by which the card tells sets apart.
    """
    by_name: dict[str, list[str]] = {}
    for folder in folders:
        by_name.setdefault(name_of_set(folder), []).append(folder)
    names = {}
    for name, same in by_name.items():
        local = [folder for folder in same if not folder.startswith(PREFIX)]
        repeated = len(local) > 1 or len(set(same)) < len(same)
        if repeated:
            raise OptionsError(
                f"--gt names several sets called '{name}' ({', '.join(same)}), and a card has one row for "
                "them: rename one of the folders, or leave it out"
            )
        for folder in same:
            is_apart = len(same) == 1 or folder in local
            names[folder] = name if is_apart else folder.removeprefix(f"{PREFIX}datasets/").rstrip("/")
    return names


def measure_set(
    model: nn.Module, gt: str, name: str, *, lq: str | None = None, degradation: Seeded | None = None
) -> dict[str, Any]:
    """Measures a model on one set by the protocol of the published tables: fp32, whole images.

    Args:
        model: a restorer.
        gt: folder of ground-truth images, or its address on the Hub, which the report then states.
        name: of the model, for the report.
        lq: folder of LQ images, if they are given.
        degradation: makes them otherwise; MATLAB bicubic if None.

    Raises:
        DataError, ImageError, HubError: as `evaluate_folder`.
    """
    upscaler = Upscaler(model, tile=0, dtype="fp32")
    report = evaluate_folder(
        upscaler, gt, lq, degradation=degradation, model=name, show_progress=sys.stderr.isatty()
    )
    return report.to_json() | ({"gt": gt} if gt.startswith(PREFIX) else {})


def summary_line(report: Mapping[str, Any]) -> str:
    """Set, number of images and PSNR of a report, in one line."""
    where = f"{report['set']} {setting_name(report)}"
    psnr, baseline = (
        "infinite" if report[key] is None else f"{report[key]:.2f} dB" for key in ("psnr_y", "bicubic_psnr_y")
    )
    return f"{where}, {report['images']} images: PSNR-Y {psnr} (baseline {baseline})"


def make_example_for_card(model: PublishableModel, sets: BenchmarkSets) -> Example | None:
    """Makes the example on the first image of the sets, else on the sample image of hfsr.

    A model of scale 1 needs a degraded image: the degradation that it undoes is applied to the image, if it
    is known; else the image is restored as it is.

    Returns:
        None if the network is not a restorer, or the card keeps the example that it has.
    """
    spec = spec_of(model.model)
    has_example = model.example or (model.folder / EXAMPLE).is_file()
    if spec is None or spec.role != "restorer" or (model.card is not None and not sets.gt and has_example):
        return None
    if sets.lq:
        return make_example(model.model, sets.lq, is_lq=True)
    degradations = _known_degradations(model, sets.degradation)
    if not degradations and model.scale == 1:
        try:
            degradations = sets.degradation.build(_task_key(model), 1)
        except OptionsError:
            return make_example(model.model, sets.gt, is_lq=True)
    is_lq = not sets.gt and model.scale != 1
    return make_example(
        model.model, sets.gt, degradation=degradations[0] if degradations else None, is_lq=is_lq
    )


def make_example(
    model: nn.Module, images: Sequence[str] = (), *, degradation: Seeded | None = None, is_lq: bool = False
) -> Example:
    """Makes an example image of a restorer and measures its speed.

    Args:
        model: the restorer.
        images: folders (also on the Hub) or files, of which the first image is shown; the sample image of
            hfsr if there are none.
        degradation: makes LQ from that image; MATLAB bicubic if None.
        is_lq: that image is LQ and has no GT.
    """
    upscaler = Upscaler(model, tile=0, dtype="fp32")
    first = find_pairs(local_folder(images[0]))[0].gt if images else SAMPLE
    image, caption = make_example_image(
        upscaler.tensor, Path(str(first)), scale=upscaler.scale, degradation=degradation, is_lq=is_lq
    )
    seconds = measure_seconds(upscaler.tensor, scale=upscaler.scale)
    device = device_name(upscaler.device)
    speed = f"{seconds:.2g} s for a result of 1280x720 px in {upscaler.dtype_name}, on {device}"
    return Example(image=image, caption=caption, speed=speed)


def _choose_degradations(model: PublishableModel, stated: DegradationSpec) -> list[Seeded]:
    """The degradations to measure; MATLAB bicubic if nothing else is known and the model enlarges.

    Raises:
        OptionsError: nothing states what the model undoes, or how strong.
    """
    if known := _known_degradations(model, stated):
        return known
    task = _task_key(model)
    if task in STRENGTHS:
        raise OptionsError(
            f"nothing tells at which strengths '{model.name}' is measured; say {STRENGTHS[task]}"
        )
    return stated.build(task, model.scale)


def _known_degradations(model: PublishableModel, stated: DegradationSpec) -> list[Seeded]:
    """The stated degradations, else those on the model's card, else that of the training's validation."""
    if stated.is_stated:
        return stated.build(stated.stated_task or "sr", model.scale)
    if on_card := _degradations_on_card(model, stated):
        return on_card
    validation = model.option_file and model.option_file.validation_degradation
    return [validation] if validation else []


def _degradations_on_card(model: PublishableModel, stated: DegradationSpec) -> list[Seeded]:
    """The degradations of the card's measurements, as far as options can state them."""
    specs: dict[DegradationSpec, None] = {}  # without duplicates, in their order
    for report in reports_from_card(model.card or ""):
        specs[stated.with_protocol(report["protocol"])] = None
    return [
        degradation
        for spec in specs
        if spec.task is not None
        for degradation in spec.build(spec.task, model.scale)
    ]


def _task_key(model: PublishableModel) -> str:
    if model.scale != 1:
        return "sr"
    return task_key(model.task or default_task(model.model), name=model.name)
