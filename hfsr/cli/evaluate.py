"""`hfsr evaluate`: PSNR and SSIM of a model on a folder of images, with the protocol stated."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from hfsr.cli.degradation_arguments import add_degradation_arguments, degradation_spec
from hfsr.cli.tiling_comparison import OUR_TILE, run_comparison, shows_progress
from hfsr.errors import OptionsError

if TYPE_CHECKING:
    from torch import nn

    from hfsr.evaluation import Report, Scores
    from hfsr.inference import Upscaler


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "-m",
        "--model",
        help="Hub id, model folder, checkpoint file or bundled name (default: bundled, by -s)",
    )
    add(
        "--gt",
        "--hr",
        nargs="+",
        metavar="DIR",
        help="ground-truth images: a folder, hf://datasets/owner/name/folder, or an image; --from-card takes "
        "several folders",
    )
    add(
        "--lq",
        "--lr",
        metavar="DIR",
        help="LQ images, named NAME, NAMExS or NAME_LRBIxS (default: made from --gt)",
    )
    add("-s", "--scale", type=float, help="scale of the model (default: the model's, or 2)")
    add_degradation_arguments(parser)
    add("--dtype", default="fp32", help="fp32 (default), bf16, fp16 or auto")
    add("--tile", default="0", help="side of a tile in input px; 0 runs the image whole (default 0)")
    add("--device", help="cpu, cuda, cuda:N, mps or xpu (default: cuda if available)")
    add("--self-ensemble", action="store_true", help="average over eight flips")
    add(
        "--from-card",
        metavar="NAME",
        help="repeat the measurements of this model's card (Hub id, model folder, bundled name) on the sets "
        "that --gt names; exit code 1 if they differ",
    )
    add("--json", action="store_true", help="one JSON object on stdout, nothing else")
    add(
        *("--compare-tiling",),
        nargs="?",
        const="",
        metavar="IMAGES",
        help="instead, compare independent tiles and tiles of hfsr with the whole image, on these LQ images "
        "(default: those of --lq or --gt, else the sample image)",
    )
    add(
        "-o",
        "--output",
        type=Path,
        default=Path("results"),
        help="folder of the difference images of --compare-tiling (default results/)",
    )


def run(args: argparse.Namespace) -> int:
    from hfsr import hub

    if args.from_card:
        return _repeat_card(args)
    gt = _only_folder(args.gt)
    name = args.model or _default_model(args)
    if args.compare_tiling is not None:
        network = hub.from_pretrained(name, scale=args.scale)
        tile = args.tile if args.tile not in ("0", "auto") else str(OUR_TILE)
        whole, ours = (_upscaler(network, side, args) for side in ("0", tile))
        return run_comparison(args, args.compare_tiling or args.lq or gt, str(name), whole, ours)
    if gt is None:
        raise OptionsError("nothing to measure against; name the folder of ground-truth images with --gt")
    report = _evaluate(args, gt, str(name))
    print(json.dumps(report.to_json()) if args.json else _format_report(report))
    return 0


def _only_folder(folders: list[str] | None) -> str | None:
    if folders and len(folders) > 1:
        raise OptionsError("--gt names several folders, which only --from-card takes; measure one at a time")
    return folders[0] if folders else None


def _upscaler(network: nn.Module, tile: str, args: argparse.Namespace) -> Upscaler:
    from hfsr.inference import Upscaler

    return Upscaler(
        network, tile=tile, dtype=args.dtype, device=args.device, self_ensemble=args.self_ensemble
    )


def _default_model(args: argparse.Namespace) -> str:
    """Returns the name of the bundled model for the degradation that the arguments state."""
    from hfsr import _resources

    task, scale = degradation_spec(args).stated_task, args.scale
    if task == "jpeg" and args.task is None and scale not in (None, 1):
        task = "sr"  # a quality and a scale: reduced images that are compressed
    names = {"denoise": "hfsr-denoise", "jpeg": "hfsr-dejpeg"}
    name = names.get(str(task), f"hfsr-x{scale or 2:g}")
    for_compressed = f"{name}-photo" if task == "sr" and args.quality is not None else name
    bundled = _resources.bundled_models()
    if args.degradation or task == "demosaic" or (task == "jpeg" and name not in bundled):
        purpose = {"jpeg": "against JPEG artifacts", "demosaic": "for demosaicing"}.get(str(task), "for this")
        raise OptionsError(f"no bundled model {purpose}; name one with -m")
    return for_compressed if for_compressed in bundled else name


def _evaluate(args: argparse.Namespace, gt: str, name: str) -> Report:
    from hfsr import hub
    from hfsr.evaluation import evaluate_folder
    from hfsr.hub.download.resolve import task_of

    network = hub.from_pretrained(name, scale=args.scale)
    upscaler = _upscaler(network, args.tile, args)
    degradation = None
    if not args.lq:
        degradation = degradation_spec(args).build_for_model(
            scale=upscaler.scale, model_task=lambda: task_of(name, network), name=name
        )
    return evaluate_folder(
        upscaler, gt, args.lq, degradation=degradation, model=name, show_progress=shows_progress(args)
    )


def _format_report(report: Report) -> str:
    baseline = "bicubic" if report.scale > 1 else "input"
    width = max(len(report.set), 4, *(len(scores.name) for scores in report.per_image))
    head = f"{'':{width}}  PSNR-Y  SSIM-Y  PSNR-RGB  SSIM-RGB  {baseline} PSNR-Y"
    quality = report.protocol.get("quality")
    compressed = f", JPEG of quality {quality}" if quality is not None and report.scale > 1 else ""
    title = f"{report.model} on {report.set}, x{report.scale:g}{compressed}, {report.images} images"
    lines = [title, "", head]
    rows: list[tuple[str, Scores | Report]] = [(scores.name, scores) for scores in report.per_image]
    for name, s in [*rows, ("mean", report)]:
        lines.append(
            f"{name:{width}}  {s.psnr_y:6.3f}  {s.ssim_y:6.4f}  {s.psnr_rgb:8.3f}  {s.ssim_rgb:8.4f}  "
            f"{s.bicubic_psnr_y:{len(baseline) + 7}.3f}"
        )
    protocol = "; ".join(f"{key} {value}" for key, value in report.protocol.items() if value is not None)
    return "\n".join([*lines, "", f"Protocol: {protocol}."])


def _repeat_card(args: argparse.Namespace) -> int:
    """Repeats the measurements of a card; the exit code is 1 if the numbers differ."""
    from hfsr import hub
    from hfsr.evaluation.card_check import find_card_sets, repeat_measurement

    if args.compare_tiling is not None:
        raise OptionsError("--from-card measures a model, --compare-tiling compares tiles; leave one out")
    sets, missing = find_card_sets(args.from_card, args.gt or [])
    model = args.model or args.from_card
    network = hub.from_pretrained(model, scale=args.scale)
    comparisons = []
    for card_set in sets:
        comparison = repeat_measurement(
            network,
            card_set,
            name=args.from_card,
            model=model,
            dtype=args.dtype,
            device=args.device,
            degradation=degradation_spec(args),
            lq=args.lq,
            show_progress=shows_progress(args),
        )
        comparisons.append(comparison)
        if not args.json:
            print(comparison.line)
            for deviation in comparison.deviations:
                print(f"  differs: {deviation}")
    if args.json:
        rows = [comparison.to_json() for comparison in comparisons]
        print(json.dumps({"card": args.from_card, "sets": rows, "left_out": missing}))
    elif missing:
        print(f"not repeated, because --gt names no folder for them: {', '.join(missing)}")
    return 1 if any(comparison.deviations for comparison in comparisons) else 0
