"""`hfsr push`: a run, a model folder or a checkpoint goes to the Hub."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfsr.errors import HubError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from hfsr.evaluation import Scores
    from hfsr.hub.cards import Example
    from hfsr.hub.sources import Source


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "source",
        metavar="SRC",
        help="a run (experiments/NAME), a model folder, a checkpoint or a bundled name",
    )
    add("repo_id", metavar="REPO_ID", help="where to: owner/name")
    add("--private", action="store_true", help="a repository made now is seen by its owners only")
    add("--revision", metavar="R", help="a branch, made where there is none (default: main)")
    add("--create-pr", action="store_true", help="open a pull request instead of writing to the branch")
    add("--dry-run", action="store_true", help="write the model folder and its card; upload nothing")
    add(
        "--gt",
        nargs="+",
        default=[],
        metavar="DIR",
        help="measure on these folders (also hf://datasets/owner/name/folder), for the card",
    )
    add("--no-example", action="store_true", help="no picture of before and after, no speed on the card")
    add(
        "--licence",
        "--license",
        metavar="L",
        help="licence of the weights, for a new card (apache-2.0, mit, ...)",
    )
    add(
        "--i-may-publish",
        action="store_true",
        help="publish converted weights though their licence is unknown or does not let everybody",
    )
    add("--message", metavar="TEXT", help="what the history on the Hub says")


def run(args: argparse.Namespace) -> int:
    from hfsr.hub.publishing import check_repo_id, publish_folder, require_token
    from hfsr.hub.sources import check_source, open_source, stage

    check_repo_id(args.repo_id)
    if not args.dry_run:
        require_token()  # before minutes of measuring
    source = open_source(args.source)
    if not (args.dry_run or args.i_may_publish):
        check_source(source, args.licence)
    reports = [measure(source.model, folder, args.repo_id) for folder in args.gt]
    example = None if args.no_example else make_example(source, args.gt)
    folder = stage(source, name=args.repo_id, licence=args.licence, reports=reports, example=example)
    print(f"{folder}: config.json, model.safetensors, README.md (from {source.weights})")
    if args.dry_run:
        print(f"nothing was uploaded; without --dry-run this goes to {args.repo_id}")
        return 0
    try:
        published = publish_folder(
            folder,
            args.repo_id,
            private=args.private,
            revision=args.revision,
            create_pr=args.create_pr,
            commit_message=args.message,
        )
    except HubError as error:
        raise HubError(f"{error} ('{folder}' is kept)") from error
    print(
        f"uploaded {', '.join(published.changed)}"
        if published.changed
        else "nothing has changed since the last push"
    )
    print(published.address)
    return 0


def make_example(source: Source, gt: Sequence[str]) -> Example | None:
    """Before and after on the first picture of `gt`, else on the sample; None where a card has one.

    A card that stays keeps its example unless there are pictures to make a new one from.
    """
    from hfsr.zoo import spec_of

    spec = spec_of(source.model)
    if spec is None or spec.role != "restorer":
        return None
    if source.card is not None and not gt and (source.example or (source.folder / "example.webp").is_file()):
        return None
    return example_of(source.model, gt)


def example_of(model: nn.Module, gt: Sequence[str]) -> Example:
    """Before and after, and the speed, of a restorer: on the first picture of `gt`, else on the sample."""
    from hfsr.evaluation import before_after, find_pairs, machine, seconds_for
    from hfsr.hub.cards import Example
    from hfsr.hub.datasets import local_folder
    from hfsr.inference import Upscaler
    from hfsr.samples import SAMPLE

    up = Upscaler(model, tile=0, dtype="fp32")
    first = find_pairs(local_folder(gt[0]))[0].gt if gt else SAMPLE
    picture, words = before_after(up.tensor, Path(str(first)), scale=up.scale, given=not gt)
    seconds = seconds_for(up.tensor, scale=up.scale)
    speed = f"{seconds:.2g} s for a result of 1280x720 px in {up.dtype_name}, on {machine(up.device)}"
    return Example(picture=picture, words=words, speed=speed)


def measure(model: nn.Module, gt: str, name: str) -> dict[str, Any]:
    """A report by the protocol of the tables (fp32, whole pictures, MATLAB bicubic), printed in one line.

    Args:
        model: a restorer.
        gt: folder of GT pictures, or its address on the Hub.
        name: of the model, for the report.

    Raises:
        DataError, ImageError: the folder is missing or empty, or a picture cannot be read.
    """
    from tqdm import tqdm

    from hfsr.evaluation import evaluate, find_pairs, set_name
    from hfsr.hub.datasets import local_folder
    from hfsr.inference import Upscaler
    from hfsr.zoo import is_luma_network

    up = Upscaler(model, tile=0, dtype="fp32")
    pairs = find_pairs(local_folder(gt), scale=up.scale)
    with tqdm(total=len(pairs), desc=set_name(gt), unit="picture", disable=not sys.stderr.isatty()) as bar:

        def advance(done: int, total: int, scores: Scores) -> None:
            bar.update(done - bar.n)

        report = evaluate(
            up.tensor,
            pairs,
            scale=up.scale,
            model=name,
            set_name=set_name(gt),
            luma=is_luma_network(model),
            progress=advance,
        )
    better = f"{report.psnr_y:.2f} dB (baseline {report.bicubic_psnr_y:.2f} dB)"
    print(f"{report.set}, {report.images} pictures: PSNR-Y {better}")
    return report.to_json()
