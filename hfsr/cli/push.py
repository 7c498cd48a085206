"""`hfsr push`: publishes a run, a model folder, a checkpoint or a bundled model on the Hub."""

from __future__ import annotations

import argparse

from hfsr.cli.degradation_arguments import add_degradation_arguments, degradation_spec
from hfsr.errors import OptionsError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "source",
        metavar="SRC",
        help="a run (experiments/NAME), a model folder, a checkpoint or a bundled name",
    )
    add("repo_id", metavar="REPO_ID", help="the repository: owner/name")
    add("--private", action="store_true", help="make a new repository visible to its owners only")
    add("--revision", metavar="R", help="a branch, created if there is none (default: main)")
    add("--create-pr", action="store_true", help="open a pull request instead of writing to the branch")
    add("--dry-run", action="store_true", help="write the model folder and its card; upload nothing")
    add(
        "--gt",
        nargs="+",
        default=[],
        metavar="DIR",
        help="measure on these folders (also hf://datasets/owner/name/folder) for the card",
    )
    add(
        "--lq",
        nargs="+",
        default=[],
        metavar="DIR",
        help="LQ images, one folder for each folder of --gt (default: made from --gt)",
    )
    add_degradation_arguments(parser, several=True)
    add("--no-example", action="store_true", help="put no example image and no speed on the card")
    add(
        "--license",
        "--licence",
        metavar="L",
        help="license of the weights, for the card (apache-2.0, mit, ...)",
    )
    add(
        "--i-may-publish",
        action="store_true",
        help="publish converted weights even if their license is unknown or does not allow it",
    )
    add(
        "--replace-card",
        action="store_true",
        help="replace a card on the Hub that has measurements which the new one lacks",
    )
    add("--message", metavar="TEXT", help="message of the commit on the Hub")


def run(args: argparse.Namespace) -> int:
    from hfsr.hub.client import check_repo_id, require_token
    from hfsr.publishing.measure import BenchmarkSets, summary_line
    from hfsr.publishing.push import push_staged, stage_for_push

    if args.lq and len(args.lq) != len(args.gt):
        raise OptionsError(f"--lq names {len(args.lq)} folders and --gt {len(args.gt)}; give one for each")
    check_repo_id(args.repo_id)
    if not args.dry_run:
        require_token()  # before measuring, which takes minutes
    staged = stage_for_push(
        args.source,
        args.repo_id,
        sets=BenchmarkSets(gt=args.gt, lq=args.lq, degradation=degradation_spec(args)),
        license=args.license,
        may_publish=args.dry_run or args.i_may_publish,
        with_example=not args.no_example,
        report_done=lambda report: print(summary_line(report)),
    )
    print(f"{staged.folder}: {', '.join(staged.files)} (from {staged.weights})")
    for note in staged.notes:
        print(f"note: {note}")
    if args.dry_run:
        print(f"nothing was uploaded; without --dry-run, this folder goes to {args.repo_id}")
        return 0
    result = push_staged(
        staged,
        args.repo_id,
        private=args.private,
        revision=args.revision,
        create_pr=args.create_pr,
        commit_message=args.message,
        replace_card=args.replace_card,
    )
    print(
        f"uploaded {', '.join(result.changed)}"
        if result.changed
        else "nothing has changed since the last push"
    )
    if result.removed:
        print(f"removed {', '.join(result.removed)} of the earlier card")
    print(result.address)
    return 0
