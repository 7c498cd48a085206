"""`hfsr evaluate --compare-tiling`: compares independent tiles and the tiles of hfsr with the whole image."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfsr.errors import ImageError, OptionsError

if TYPE_CHECKING:
    from hfsr.evaluation import TilingReport
    from hfsr.inference import Upscaler

__all__ = ["OUR_TILE", "run_comparison", "shows_progress"]

OUR_TILE = 128
"""Side of the tiles of hfsr in LQ px: the smallest tile of the other tools."""


def run_comparison(
    args: argparse.Namespace, images: str | None, name: str, whole: Upscaler, ours: Upscaler
) -> int:
    """Runs images whole, in independent tiles and in tiles of hfsr; prints and writes the differences.

    Args:
        args: the arguments, with output folder and format.
        images: an image or folder, also on the Hub; None means the sample image of hfsr.
        name: name of the model.
        whole: upscaler of whole images.
        ours: upscaler with tiles.

    Raises:
        OptionsError: if there are no images, or the scale is fractional.
        ImageError: if an image cannot be read.
    """
    from hfsr.atomic import replacing
    from hfsr.evaluation import compare_tiling
    from hfsr.images import eight_bit, read_image

    scale = int(whole.scale)
    if scale != whole.scale:
        raise OptionsError(
            f"independent tiles need an integer scale, not {whole.scale:g}; choose another with -s"
        )
    rows: list[dict[str, Any]] = []

    def show(method: str) -> None:
        if shows_progress(args):
            print(f"running {method}", file=sys.stderr)

    files = _image_files(images)
    stems = Counter(path.stem for path in files)
    for path in files:
        report = compare_tiling(
            path.name,
            eight_bit(read_image(path).pixels),
            scale=scale,
            whole=whole.tensor,
            ours=ours.tensor,
            ours_label=f"hfsr in pieces of {ours.tile} px",
            progress=show,
        )
        # Images that differ only in their suffix keep it, so that their difference images get distinct names.
        target = args.output / f"{path.stem if stems[path.stem] == 1 else path.name}_tiling.png"
        args.output.mkdir(parents=True, exist_ok=True)
        with replacing(target, error=ImageError) as partial:
            report.image.save(partial, "PNG")
        rows.append({**report.to_json(), "picture": str(target)})
        if not args.json:
            print(_format_report(report, name, target))
    if args.json:
        print(json.dumps({"model": name, "scale": scale, "dtype": whole.dtype_name, "pictures": rows}))
    return 0


def _image_files(images: str | None) -> list[Path]:
    from hfsr.hub.download.datasets import local_folder
    from hfsr.images import list_images

    if not images:
        from hfsr.samples import SAMPLE

        return [SAMPLE]
    path = local_folder(images)
    files = list_images(path) if path.is_dir() else [path]
    if not files:
        raise OptionsError(f"'{path}' holds no images; name LQ images or a folder of them")
    return files


def _format_report(report: TilingReport, name: str, target: Path) -> str:
    lines = [f"{name} on {report.name}, against the whole image (RGB, 8 bit):", ""]
    for result in report.results:
        psnr = "equal" if result.largest == 0 else f"{result.psnr:.2f} dB"
        lines.append(
            f"  {result.method:<48} {psnr:>9}, {result.changed:7.2%} of pixels by up to {result.largest:3d} "
            f"levels, {result.of_range:.0e} of the range unrounded"
        )
    return "\n".join([*lines, "", f"Differences: {target}"])


def shows_progress(args: argparse.Namespace) -> bool:
    """Returns True if progress is shown: on a terminal, and without --json."""
    return not args.json and sys.stderr.isatty()
