"""`hfsr prepare`: prepares data sets before training."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hfsr.errors import OptionsError, some_of

if TYPE_CHECKING:
    from hfsr.data.decoded_images import Progress
    from hfsr.data.prepare import Found, Task

SCALES = (2, 3, 4)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    add = _adder(kinds)

    one = add("subimages", "crops of large images, which load faster (BasicSR's extract_subimages)")
    one.add_argument("--size", type=int, default=480, metavar="N", help="side of a crop in px (default 480)")
    one.add_argument("--step", type=int, default=240, metavar="N", help="px between crops (default 240)")
    one.add_argument(
        "--thresh-size",
        type=int,
        default=0,
        metavar="N",
        help="add one more crop if more px than this remain at an edge (default 0)",
    )
    _add_working(one)

    one = add("lr", "LR images by MATLAB's bicubic, in OUT/X2, OUT/X3, ...")
    one.add_argument(
        "-s", "--scale", type=int, nargs="+", default=SCALES, metavar="S", help="scales (default 2 3 4)"
    )
    _add_working(one)

    add("meta_info", "BasicSR's list of the images of a folder")
    add("lmdb", "BasicSR's LMDB of the images of a folder (OUT ends with .lmdb)")
    one = add("h5", "HDF5 of the images of a folder, as uint8")
    one.add_argument("--lq", type=Path, metavar="DIR", help="LQ images of the same names, stored as well")

    one = add("pack", "one file with the most detailed crops of folders, read without decoding", several=True)
    one.add_argument("--size", type=int, default=128, metavar="N", help="side of a crop in px (default 128)")
    one.add_argument("--megabytes", type=float, default=40.0, metavar="MB", help="maximum size (default 40)")

    pairs = kinds.add_parser("pairs", help="find the pairs of a published set and report missing ones")
    pairs.add_argument("name", metavar="NAME", help="DIV2K, SIDD, RealSR, LoL or FiveK")
    pairs.add_argument("root", type=Path, metavar="ROOT", help="the folder of the unpacked set")
    pairs.add_argument(
        "--link",
        type=Path,
        metavar="OUT",
        help="create OUT/PART/groundtruth and OUT/PART/input, as option files read them",
    )


def run(args: argparse.Namespace) -> int:
    return _RUN[args.what](args)


def _adder(kinds: argparse._SubParsersAction) -> Callable[..., argparse.ArgumentParser]:
    def add(name: str, about: str, *, several: bool = False) -> argparse.ArgumentParser:
        parser = kinds.add_parser(name, help=about, description=about[0].upper() + about[1:] + ".")
        parser.add_argument(
            "source", type=Path, metavar="SOURCE", nargs="+" if several else None, help="folder of images"
        )
        parser.add_argument("out", type=Path, metavar="OUT", help="the folder or file to create")
        parser.add_argument("--dry-run", action="store_true", help="report the result; write nothing")
        return parser

    return add


def _add_working(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, metavar="N", help="images at a time (default: processors)")
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    parser.add_argument("--skip-unreadable", action="store_true", help="skip images that cannot be read")
    parser.add_argument(
        "--compression", type=int, choices=range(10), default=3, metavar="0-9", help="PNG level (default 3)"
    )


# One file per image or crop


def _subimages(args: argparse.Namespace) -> int:
    from hfsr.data.prepare import subimages

    if args.size < 1 or args.step < 1 or args.thresh_size < 0:
        raise OptionsError("--size and --step must be 1 or more, --thresh-size 0 or more")
    tasks = subimages(
        args.source,
        args.out,
        size=args.size,
        step=args.step,
        thresh_size=args.thresh_size,
        compression=args.compression,
    )
    return _make(args, tasks)


def _lr(args: argparse.Namespace) -> int:
    from hfsr.data.prepare import lr_images

    if min(args.scale) < 2:
        raise OptionsError(f"--scale {min(args.scale)} does not reduce the images; choose 2 or more")
    scales = sorted(set(args.scale))
    return _make(args, lr_images(args.source, args.out, scales=scales, compression=args.compression))


def _make(args: argparse.Namespace, tasks: Sequence[Task]) -> int:
    from hfsr.data.prepare import run_tasks

    count = sum(len(task.targets) for task in tasks)
    if args.dry_run:
        there = sum(target.is_file() for task in tasks for target in task.targets)
        print(f"would make {count - there} images of {len(tasks)} in '{args.out}'; {there} are there")
        return 0
    with _bar("image") as progress:
        done = run_tasks(
            tasks,
            threads=args.threads,
            overwrite=args.overwrite,
            skip_unreadable=args.skip_unreadable,
            progress=progress,
        )
    print(f"'{args.out}': {done.made} images made, {done.kept} were there")
    for what, names in (("too small", done.too_small), ("left out", done.unreadable)):
        if names:
            print(f"{len(names)} {what}: {some_of(names)}")
    return 0


# One file for all images


def _meta_info(args: argparse.Namespace) -> int:
    from hfsr.data.prepare import write_meta_info

    return _gather(args, lambda progress: write_meta_info(args.source, args.out, progress=progress))


def _lmdb(args: argparse.Namespace) -> int:
    from hfsr.data.prepare import to_lmdb

    return _gather(args, lambda progress: to_lmdb(args.source, args.out, progress=progress))


def _h5(args: argparse.Namespace) -> int:
    from hfsr.data.prepare import to_h5

    sources = {"gt": args.source} if args.lq is None else {"gt": args.source, "lq": args.lq}
    return _gather(args, lambda progress: to_h5(sources, args.out, progress=progress))


def _pack(args: argparse.Namespace) -> int:
    from hfsr.data.prepare import pack_crops

    if args.size < 1 or args.megabytes <= 0:
        raise OptionsError("--size and --megabytes must be more than 0")
    if args.out.suffix != ".pack":
        raise OptionsError(f"'{args.out}' must end with .pack: data sets recognize the format by it")
    return _gather(
        args,
        lambda progress: pack_crops(
            args.source, args.out, size=args.size, megabytes=args.megabytes, progress=progress
        ),
    )


def _gather(args: argparse.Namespace, work: Callable[[Progress], int]) -> int:
    from hfsr.data.prepare.parallel_files import images_of

    if args.dry_run:
        sources = args.source if isinstance(args.source, list) else [args.source]
        count = sum(len(images_of(source)) for source in sources)
        print(f"would make '{args.out}' of {count} images")
        return 0
    with _bar("image") as progress:
        count = work(progress)
    size = sum(p.stat().st_size for p in (args.out.iterdir() if args.out.is_dir() else [args.out]))
    print(f"'{args.out}': {count} images, {size / 1e6:.1f} MB")
    return 0


# Published sets


def _pairs(args: argparse.Namespace) -> int:
    from hfsr.data.prepare import find_layout, link_pairs

    for found in find_layout(args.name, args.root):
        print(_told(found))
        if args.link and found.pairs:
            groundtruth, bad = link_pairs(found, args.link)
            print(f"  dataroot_gt: {groundtruth}\n  dataroot_lq: {bad}")
    return 0


def _told(found: Found) -> str:
    lines = [
        f"{found.part.name}: {len(found.pairs)} pairs" if found.pairs else f"{found.part.name}: not here"
    ]
    if found.pairs and found.missing:
        lines.append(f"  {found.missing} of the published {found.part.count} are missing")
    for what, names in (("LQ", found.without_lq), ("GT", found.without_gt)):
        if names and found.pairs:
            lines.append(f"  {len(names)} without {what}: {some_of(names)}")
    return "\n".join(lines)


@contextmanager
def _bar(unit: str) -> Iterator[Progress]:
    from tqdm import tqdm

    with tqdm(unit=unit, leave=False, disable=not sys.stderr.isatty()) as bar:

        def advance(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield advance


_RUN: dict[str, Callable[[argparse.Namespace], int]] = {
    "subimages": _subimages,
    "lr": _lr,
    "meta_info": _meta_info,
    "lmdb": _lmdb,
    "h5": _h5,
    "pack": _pack,
    "pairs": _pairs,
}
