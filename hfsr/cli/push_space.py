"""`hfsr push-space`: publishes a Space on the Hub that offers models in a browser."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("repo_id", metavar="REPO_ID", help="the Space: owner/name")
    add(
        "--model",
        nargs="+",
        required=True,
        metavar="MODEL_ID",
        help="models that the Space offers: ids on the Hub and bundled names; the first one is the default",
    )
    add("--hardware", metavar="H", help="hardware of a new Space: cpu-basic, zero-a10g, t4-small, ...")
    add("--private", action="store_true", help="make a new Space visible to its owners only")
    add(
        "--wheel",
        type=Path,
        metavar="FILE",
        help="a wheel of hfsr to upload too, while no package index has hfsr ('pip wheel --no-deps .')",
    )
    add("--dry-run", action="store_true", help="write the Space's folder; upload nothing")


def run(args: argparse.Namespace) -> int:
    from hfsr.hub.client import check_repo_id, require_token
    from hfsr.publishing.space import push_space, space_notes, stage_space

    check_repo_id(args.repo_id)
    if not args.dry_run:
        require_token()
    folder = Path(f"{args.repo_id.split('/')[-1]}_space")
    stage_space(folder, args.repo_id, args.model, hardware=args.hardware, wheel=args.wheel)
    print(f"{folder}: the Space, offering {', '.join(args.model)}")
    for note in space_notes(args.repo_id, args.model, private=args.private, wheel=args.wheel):
        print(f"note: {note}")
    if args.dry_run:
        print(f"nothing was uploaded; without --dry-run, this folder goes to {args.repo_id}")
        return 0
    result = push_space(folder, args.repo_id, private=args.private, hardware=args.hardware)
    print(f"uploaded {', '.join(result.changed)}" if result.changed else "nothing has changed")
    print(result.address)
    return 0
