"""What `hfsr push` measures for a card: numbers on sets of pictures, before and after, speed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfsr.errors import OptionsError
from hfsr.evaluation.benchmark import evaluate_set
from hfsr.evaluation.degradation_spec import degradations_of, task_word, told_task

if TYPE_CHECKING:
    from torch import nn

    from hfsr.degradations import Seeded
    from hfsr.hub.cards.schema import Example
    from hfsr.publishing.publishable import PublishableModel

__all__ = ["example_for", "example_of", "measure", "measure_all"]


def measure_all(args: argparse.Namespace, source: PublishableModel) -> list[dict[str, Any]]:
    """A report for each of `--gt`, and for each strength of what is done to its pictures.

    Raises:
        OptionsError: nothing tells what the model undoes.
        DataError, ImageError: a folder is missing or empty, or a picture cannot be read.
        HubError: a data set on the Hub cannot be had.
    """
    if not args.gt:
        return []
    if args.lq:
        pairs = zip(args.gt, args.lq, strict=True)
        return [measure(source.model, gt, args.repo_id, lq=lq) for gt, lq in pairs]
    return [
        measure(source.model, gt, args.repo_id, degradation=degradation)
        for gt in args.gt
        for degradation in _degradations(args, source)
    ]


def _degradations(args: argparse.Namespace, source: PublishableModel) -> list[Seeded]:
    """What is measured; the bicubic of the tables where nothing else is known and the model enlarges.

    Raises:
        OptionsError: nothing tells what the model undoes, or how strong that is.
    """
    if known := _known(args, source):
        return known
    task = _task(source, args.source)
    if task in ("denoise", "jpeg"):
        strength = {"denoise": "--sigma 15 25 50", "jpeg": "--quality 10 20 30 40"}[task]
        raise OptionsError(f"nothing tells at which strengths '{args.source}' is measured; say {strength}")
    return degradations_of(args, task, source.scale)


def _known(args: argparse.Namespace, source: PublishableModel) -> list[Seeded]:
    """What the command line says, else the card, else the training's validation; else nothing."""
    told = told_task(args)
    if told or args.degradation:
        return degradations_of(args, told or "sr", source.scale)
    if on_card := _as_on_card(args, source):
        return on_card
    validation = source.option_file and source.option_file.validation_degradation
    return [validation] if validation else []


def _task(source: PublishableModel, name: str) -> str:
    """The command line's word for what the source undoes."""
    from hfsr.zoo import usual_task

    if source.scale != 1:
        return "sr"
    return task_word(source.task or usual_task(source.model), name=name)


def _as_on_card(args: argparse.Namespace, source: PublishableModel) -> list[Seeded]:
    """Every way in which the numbers of the source's card were made, as far as options can say them."""
    from hfsr.evaluation.card_check import words_of
    from hfsr.hub.cards.results import reports_from_card

    protocols = [report["protocol"] for report in reports_from_card(source.card or "")]
    told = {tuple(sorted(words.items())): words for p in protocols if "task" in (words := words_of(p))}
    return [
        degradation
        for words in told.values()
        for degradation in degradations_of(
            argparse.Namespace(**{**vars(args), **words}), words["task"], source.scale
        )
    ]


def measure(
    model: nn.Module, gt: str, name: str, *, lq: str | None = None, degradation: Seeded | None = None
) -> dict[str, Any]:
    """A report by the protocol of the tables (fp32, whole pictures), printed in one line.

    Args:
        model: a restorer.
        gt: folder of GT pictures, or its address on the Hub, which the report then tells.
        name: of the model, for the report.
        lq: folder of LQ pictures, where they are given.
        degradation: makes them else; MATLAB bicubic when None.

    Raises:
        DataError, ImageError: a folder is missing or empty, or a picture cannot be read.
        HubError: a data set on the Hub cannot be had.
    """
    from hfsr.hub.cards.results import setting_name
    from hfsr.hub.download.datasets import PREFIX
    from hfsr.inference import Upscaler

    up = Upscaler(model, tile=0, dtype="fp32")
    report = evaluate_set(up, gt, lq, degradation=degradation, model=name, shows_progress=sys.stderr.isatty())
    told = report.to_json() | ({"gt": gt} if gt.startswith(PREFIX) else {})
    where = report.set if report.scale > 1 else f"{report.set} {setting_name(told)}"
    better = f"{report.psnr_y:.2f} dB (baseline {report.bicubic_psnr_y:.2f} dB)"
    print(f"{where}, {report.images} pictures: PSNR-Y {better}")  # noqa: T201
    return told


def example_for(args: argparse.Namespace, source: PublishableModel) -> Example:
    """Before and after on the first picture of `--gt`, else on the sample that comes with hfsr.

    A model that keeps sizes needs a picture to clean: what it undoes is done to that picture, where it is
    known; else it is shown what it makes of the picture as it is.
    """
    if args.lq:
        return example_of(source.model, args.lq, given=True)
    known = _known(args, source)
    if not known and source.scale == 1:
        try:
            known = degradations_of(args, _task(source, args.source), 1)
        except OptionsError:
            return example_of(source.model, args.gt, given=True)
    given = not args.gt and source.scale != 1
    return example_of(source.model, args.gt, degradation=known[0] if known else None, given=given)


def example_of(
    model: nn.Module, pictures: Sequence[str], *, degradation: Seeded | None = None, given: bool = False
) -> Example:
    """Before and after, and the speed, of a restorer.

    Args:
        model: the restorer.
        pictures: folders (also on the Hub) or files, of which the first picture is shown; the sample when
            there are none.
        degradation: makes LQ of that picture; MATLAB bicubic when None.
        given: that picture is LQ and has no GT.
    """
    from hfsr.evaluation import before_after, find_pairs, machine, seconds_for
    from hfsr.hub.cards.schema import Example
    from hfsr.hub.download.datasets import local_folder
    from hfsr.inference import Upscaler
    from hfsr.samples import SAMPLE

    up = Upscaler(model, tile=0, dtype="fp32")
    first = find_pairs(local_folder(pictures[0]))[0].gt if pictures else SAMPLE
    picture, words = before_after(
        up.tensor, Path(str(first)), scale=up.scale, degradation=degradation, given=given
    )
    seconds = seconds_for(up.tensor, scale=up.scale)
    speed = f"{seconds:.2g} s for a result of 1280x720 px in {up.dtype_name}, on {machine(up.device)}"
    return Example(picture=picture, words=words, speed=speed)
