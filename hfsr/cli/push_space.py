"""`hfsr push-space`: a Space on the Hub that offers one's models in a browser."""

from __future__ import annotations

import argparse
from pathlib import Path

from hfsr.errors import HubError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("repo_id", metavar="REPO_ID", help="the Space: owner/name")
    add(
        "--model",
        nargs="+",
        required=True,
        metavar="MODEL_ID",
        help="what its menu offers: ids on the Hub and bundled names, the first one chosen at the start",
    )
    add("--hardware", metavar="H", help="of a new Space: cpu-basic, zero-a10g, t4-small, ...")
    add("--private", action="store_true", help="a Space made now is seen by its owners only")
    add(
        "--wheel",
        type=Path,
        metavar="FILE",
        help="a wheel of hfsr to go along, while no package index has hfsr ('pip wheel --no-deps .')",
    )
    add("--dry-run", action="store_true", help="write the Space's folder; upload nothing")


def run(args: argparse.Namespace) -> int:
    from hfsr.hub.client import check_repo_id, require_token
    from hfsr.hub.upload import upload_space
    from hfsr.publishing.space import write_space

    check_repo_id(args.repo_id)
    if not args.dry_run:
        require_token()
    place = Path(f"{args.repo_id.split('/')[-1]}_space")
    folder = write_space(place, args.repo_id, args.model, hardware=args.hardware, wheel=args.wheel)
    print(f"{folder}: the Space, offering {', '.join(args.model)}")
    if args.dry_run:
        print(f"nothing was uploaded; without --dry-run this goes to {args.repo_id}")
        return 0
    try:
        published = upload_space(folder, args.repo_id, private=args.private, hardware=args.hardware)
    except HubError as error:
        raise HubError(f"{error} ('{folder}' is kept)") from error
    told = f"uploaded {', '.join(published.changed)}" if published.changed else "nothing has changed"
    print(f"{told}\n{published.address}")
    return 0
