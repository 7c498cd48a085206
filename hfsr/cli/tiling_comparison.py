"""`hfsr evaluate --compare-tiling`: what independent tiles cost, and what our pieces do not."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfsr.errors import OptionsError

if TYPE_CHECKING:
    from hfsr.evaluation import TilingReport
    from hfsr.inference import Upscaler

__all__ = ["OUR_TILE", "run_comparison", "talkative"]

OUR_TILE = 128
"""LR px a piece owns when tilings are compared: as small as the others' smallest tile."""


def run_comparison(args: argparse.Namespace, name: str, whole: Upscaler, ours: Upscaler) -> int:
    """Runs the pictures whole, in independent tiles and in our pieces; shows and writes the differences.

    Raises:
        OptionsError: there are no pictures, or the scale is no whole one.
        ImageError: one cannot be read.
    """
    from hfsr.evaluation import compare_tiling
    from hfsr.images import eight_bit, read_picture, replacing

    scale = int(whole.scale)
    if scale != whole.scale:
        raise OptionsError(
            f"independent tiles need a whole scale, not {whole.scale:g}; choose another with -s"
        )
    rows: list[dict[str, Any]] = []

    def show(way: str) -> None:
        if talkative(args):
            print(f"running {way}", file=sys.stderr)

    for path in _tiling_pictures(args):
        report = compare_tiling(
            path.name,
            eight_bit(read_picture(path).pixels),
            scale=scale,
            whole=whole.tensor,
            ours=ours.tensor,
            ours_label=f"hfsr in pieces of {ours.tile} px",
            progress=show,
        )
        target = args.output / f"{path.stem}_tiling.png"
        args.output.mkdir(parents=True, exist_ok=True)
        with replacing(target) as file:
            report.picture.save(file, "PNG")
        rows.append({**report.to_json(), "picture": str(target)})
        if not args.json:
            print(_tiling_table(report, name, target))
    if args.json:
        print(json.dumps({"model": name, "scale": scale, "dtype": whole.dtype_name, "pictures": rows}))
    return 0


def _tiling_pictures(args: argparse.Namespace) -> list[Path]:
    from hfsr.hub.download.datasets import local_folder
    from hfsr.images import list_pictures

    named = args.compare_tiling or args.lq or args.gt
    if not named:
        from hfsr.samples import SAMPLE

        return [SAMPLE]
    place = local_folder(named)
    pictures = list_pictures(place) if place.is_dir() else [place]
    if not pictures:
        raise OptionsError(f"'{place}' holds no pictures; name LR pictures or a folder of them")
    return pictures


def _tiling_table(report: TilingReport, name: str, target: Path) -> str:
    lines = [f"{name} on {report.name}, against the whole picture (RGB, 8 bit):", ""]
    for cut in report.cuts:
        level = "equal" if cut.largest == 0 else f"{cut.psnr:.2f} dB"
        lines.append(
            f"  {cut.method:<48} {level:>9}, {cut.changed:7.2%} of pixels by up to {cut.largest:3d} levels, "
            f"{cut.of_range:.0e} of the range unrounded"
        )
    return "\n".join([*lines, "", f"Differences: {target}"])


def talkative(args: argparse.Namespace) -> bool:
    """Whether progress is shown: to a person, and not beside JSON."""
    return not args.json and sys.stderr.isatty()
