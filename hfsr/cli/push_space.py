"""`hfsr push-space`: publishes a Space on the Hub that offers models in a browser."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from hfsr.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("repo_id", metavar="REPO_ID", help="the Space: owner/name")
    add(
        "--model",
        nargs="+",
        metavar="MODEL_ID",
        help="models that the Space offers: ids on the Hub and bundled names; the first one is the default "
        "(with --static, all bundled models if there is none)",
    )
    add("--hardware", metavar="H", help="hardware of a new Space: cpu-basic, zero-a10g, t4-small, ...")
    add("--private", action="store_true", help="make a new Space visible to its owners only")
    add(
        "--wheel",
        type=Path,
        metavar="FILE",
        help="a wheel of hfsr to upload too, while no package index has hfsr ('pip wheel --no-deps .')",
    )
    add(
        "--static",
        action="store_true",
        help="a static Space: the models run in the visitor's browser; it needs no hardware",
    )
    add(
        "--runtime",
        type=Path,
        metavar="FILE",
        help="with --static: the .tgz of onnxruntime-web (default: fetched once by npm, then kept)",
    )
    add("--dry-run", action="store_true", help="write the Space's folder; upload nothing")


def run(args: argparse.Namespace) -> int:
    _check_usage(args)
    return _push_static(args) if args.static else _push_gradio(args)


def _check_usage(args: argparse.Namespace) -> None:
    if args.static and (args.hardware or args.wheel):
        raise UsageError("a static Space has no hardware and installs no wheel; leave these options out")
    if not args.static and args.runtime is not None:
        raise UsageError("--runtime is for a static Space; add --static")
    if not args.static and not args.model:
        raise UsageError("a Space needs a model to offer; name one with --model, or add --static")


def _push_static(args: argparse.Namespace) -> int:
    from hfsr.hub.client import check_repo_id, require_token
    from hfsr.publishing.static_space import bundled_page_models, stage_static_space

    check_repo_id(args.repo_id)
    if not args.dry_run:
        require_token()
    folder = Path(f"{args.repo_id.split('/')[-1]}_space")
    stage_static_space(
        folder,
        args.model,
        repo_id=args.repo_id,
        runtime=args.runtime,
        report=lambda name: print(f"preparing {name} for the browser", flush=True),
    )
    return _upload(args, folder, args.model or bundled_page_models(), sdk="static")


def _push_gradio(args: argparse.Namespace) -> int:
    from hfsr.hub.client import check_repo_id, require_token
    from hfsr.publishing.space import space_notes, stage_space

    check_repo_id(args.repo_id)
    if not args.dry_run:
        require_token()
    folder = Path(f"{args.repo_id.split('/')[-1]}_space")
    stage_space(folder, args.repo_id, args.model, hardware=args.hardware, wheel=args.wheel)
    for note in space_notes(args.repo_id, args.model, private=args.private, wheel=args.wheel):
        print(f"note: {note}")
    return _upload(args, folder, args.model, sdk="gradio")


def _upload(args: argparse.Namespace, folder: Path, models: Sequence[str], *, sdk: str) -> int:
    from hfsr.publishing.space import push_space

    print(f"{folder}: the Space, offering {', '.join(models)}")
    if args.dry_run:
        print(f"nothing was uploaded; without --dry-run, this folder goes to {args.repo_id}")
        return 0
    result = push_space(folder, args.repo_id, private=args.private, hardware=args.hardware, sdk=sdk)
    print(f"uploaded {', '.join(result.changed)}" if result.changed else "nothing has changed")
    print(result.address)
    return 0
