"""`hfsr push`: a run, a model folder or a checkpoint goes to the Hub."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from hfsr.errors import HubError, OptionsError
from hfsr.evaluation.degradation_spec import WORDS, add_words, told_task

if TYPE_CHECKING:
    from hfsr.hub.cards.schema import Example
    from hfsr.publishing.publishable import PublishableModel


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
    add(
        "--lq",
        nargs="+",
        default=[],
        metavar="DIR",
        help="their LQ pictures, a folder for each of --gt (default: made from --gt)",
    )
    add_words(parser, several=True)
    add("--no-example", action="store_true", help="no picture of before and after, no speed on the card")
    add(
        "--license",
        "--licence",
        metavar="L",
        help="license of the weights, for a new card (apache-2.0, mit, ...)",
    )
    add(
        "--i-may-publish",
        action="store_true",
        help="publish converted weights though their license is unknown or does not let everybody",
    )
    add("--message", metavar="TEXT", help="what the history on the Hub says")


def run(args: argparse.Namespace) -> int:
    from hfsr.hub.client import check_repo_id, require_token
    from hfsr.hub.model_folder import published_files
    from hfsr.hub.upload import upload_model_folder
    from hfsr.publishing.measure import measure_all
    from hfsr.publishing.publishable import open_publishable
    from hfsr.publishing.staging import check_may_publish, stage

    if args.lq and len(args.lq) != len(args.gt):
        raise OptionsError(f"--lq names {len(args.lq)} folders and --gt {len(args.gt)}; give one for each")
    check_repo_id(args.repo_id)
    if not args.dry_run:
        require_token()  # before minutes of measuring
    source = open_publishable(args.source)
    if not (args.dry_run or args.i_may_publish):
        check_may_publish(source, args.license)
    source = _with_task(source, told_task(args))
    reports = measure_all(args, source)
    example = None if args.no_example else _example(args, source)
    folder = stage(source, name=args.repo_id, license=args.license, reports=reports, example=example)
    print(f"{folder}: {', '.join(published_files(folder))} (from {source.weights})")
    if args.dry_run:
        print(f"nothing was uploaded; without --dry-run this goes to {args.repo_id}")
        return 0
    try:
        published = upload_model_folder(
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


def _with_task(source: PublishableModel, told: str | None) -> PublishableModel:
    """The source with the task that the command line says, where nothing else does."""
    if told is None or source.card is not None or source.task not in (None, "restoration"):
        return source
    return dataclasses.replace(source, task=WORDS[told], complete=False)


def _example(args: argparse.Namespace, source: PublishableModel) -> Example | None:
    """Before and after for the card; None where it has one, or the network restores nothing.

    A card that stays keeps its example unless there are pictures to make a new one from.
    """
    from hfsr.publishing.measure import example_for
    from hfsr.zoo import spec_of

    spec = spec_of(source.model)
    shown = source.example or (source.folder / "example.webp").is_file()
    if spec is None or spec.role != "restorer" or (source.card is not None and not args.gt and shown):
        return None
    return example_for(args, source)
