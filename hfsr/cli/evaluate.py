"""`hfsr evaluate`: PSNR and SSIM of a model on a folder of pictures, with the protocol stated."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from hfsr.cli.tiling_comparison import OUR_TILE, run_comparison, talkative
from hfsr.errors import OptionsError
from hfsr.evaluation.degradation_spec import add_words, degradations_of, task_word, told_task

if TYPE_CHECKING:
    from torch import nn

    from hfsr.degradations import Seeded
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
        help="good pictures: a folder, hf://datasets/owner/name/folder, or one picture; several folders for "
        "--from-card",
    )
    add(
        "--lq",
        "--lr",
        metavar="DIR",
        help="bad ones, NAME, NAMExS or NAME_LRBIxS (default: made from --gt)",
    )
    add("-s", "--scale", type=float, help="scale of the model (default: the model's, or 2)")
    add_words(parser)
    add("--dtype", default="fp32", help="fp32 (default), bf16, fp16 or auto")
    add("--tile", default="0", help="side in input px of what one piece owns; 0 runs whole (default 0)")
    add("--device", help="cpu, cuda or cuda:N (default: cuda where there is one)")
    add("--self-ensemble", action="store_true", help="average over eight flips")
    add(
        "--from-card",
        metavar="NAME",
        help="repeat the numbers of this model's card (Hub id, model folder, bundled name) on those of its "
        "sets that --gt names; 1 where they differ",
    )
    add("--json", action="store_true", help="one JSON object on stdout, nothing else")
    add(
        *("--compare-tiling",),
        nargs="?",
        const="",
        metavar="PICTURES",
        help="measure nothing, but compare whole, independent tiles and our pieces on these LR pictures "
        "(default: those of --lq or --gt, else a sample)",
    )
    add(
        "-o",
        "--output",
        type=Path,
        default=Path("results"),
        help="folder of the difference pictures (default results/)",
    )


def run(args: argparse.Namespace) -> int:
    from hfsr import hub

    if args.from_card:
        return _repeat(args)
    args.gt = _only_folder(args.gt)
    name = args.model or _default_model(args)
    if args.compare_tiling is None and args.gt is None:
        raise OptionsError("nothing to measure against; name the folder of good pictures with --gt")
    network = hub.from_pretrained(name, scale=args.scale)
    if args.compare_tiling is not None:
        tile = args.tile if args.tile not in ("0", "auto") else str(OUR_TILE)
        whole, ours = (_upscaler(network, t, args) for t in ("0", tile))
        return run_comparison(args, str(name), whole, ours)
    up = _upscaler(network, args.tile, args)
    report = _evaluate(args, str(name), up)
    if args.json:
        print(json.dumps(report.to_json()))
    else:
        print(_table(report))
    return 0


def _only_folder(named: list[str] | None) -> str | None:
    if named and len(named) > 1:
        raise OptionsError("--gt names several folders, which only --from-card takes; measure one at a time")
    return named[0] if named else None


def _upscaler(network: nn.Module, tile: str, args: argparse.Namespace) -> Upscaler:
    from hfsr.inference import Upscaler

    return Upscaler(
        network, tile=tile, dtype=args.dtype, device=args.device, self_ensemble=args.self_ensemble
    )


def _default_model(args: argparse.Namespace) -> str:
    task = told_task(args)
    if task in ("jpeg", "demosaic") or args.degradation:
        what = {"jpeg": "against JPEG artefacts", "demosaic": "for demosaicing"}.get(str(task), "for this")
        raise OptionsError(f"no model {what} is bundled; name one with -m")
    return "hfsr-denoise" if task == "denoise" else f"hfsr-x{args.scale or 2:g}"


# Numbers


def _evaluate(args: argparse.Namespace, name: str, up: Upscaler) -> Report:
    from hfsr.evaluation.benchmark import evaluate_set

    degradation = _degradation(args, args.model or name, up)
    return evaluate_set(
        up, args.gt, args.lq, degradation=degradation, model=name, shows_progress=talkative(args)
    )


def _degradation(args: argparse.Namespace, name: str, up: Upscaler) -> Seeded | None:
    """What makes the LQ pictures; None where they are given."""
    from hfsr.hub.download.resolve import task_of

    if args.lq:
        return None
    task = told_task(args) or ("sr" if up.scale != 1 or args.degradation else task_of(name, up.model))
    return degradations_of(args, task_word(task, name=name), up.scale)[0]


def _table(report: Report) -> str:
    baseline = "bicubic" if report.scale > 1 else "input"
    width = max(len(report.set), 4, *(len(scores.name) for scores in report.per_image))
    head = f"{'':{width}}  PSNR-Y  SSIM-Y  PSNR-RGB  SSIM-RGB  {baseline} PSNR-Y"
    lines = [f"{report.model} on {report.set}, x{report.scale:g}, {report.images} pictures", "", head]
    rows: list[tuple[str, Scores | Report]] = [(scores.name, scores) for scores in report.per_image]
    for name, s in [*rows, ("mean", report)]:
        lines.append(
            f"{name:{width}}  {s.psnr_y:6.3f}  {s.ssim_y:6.4f}  {s.psnr_rgb:8.3f}  {s.ssim_rgb:8.4f}  "
            f"{s.bicubic_psnr_y:{len(baseline) + 7}.3f}"
        )
    stated = "; ".join(f"{key} {value}" for key, value in report.protocol.items() if value is not None)
    return "\n".join([*lines, "", f"Protocol: {stated}."])


# Numbers of a card


def _repeat(args: argparse.Namespace) -> int:
    """Measures what a card tells again, the way it says; exit code 1 where they differ."""
    from hfsr import hub
    from hfsr.evaluation.card_check import Repeated, arguments_of, told_sets

    if args.compare_tiling is not None:
        raise OptionsError("--from-card measures and --compare-tiling does not; leave one out")
    told, left_out = told_sets(args.from_card, args.gt or [])
    network = hub.from_pretrained(args.model or args.from_card, scale=args.scale)
    sets: list[Repeated] = []
    for folder, card in told:
        words = arguments_of(args, card, folder)
        report = _evaluate(words, args.from_card, _upscaler(network, words.tile, words))
        sets.append(Repeated(card, report.to_json()))
        if not args.json:
            print(sets[-1].line)
            for deviation in sets[-1].deviations:
                print(f"  differs: {deviation}")
    if args.json:
        rows = [one.to_json() for one in sets]
        print(json.dumps({"card": args.from_card, "sets": rows, "left_out": left_out}))
    elif left_out:
        print(f"not repeated, as --gt names no folder of it: {', '.join(left_out)}")
    return 1 if any(one.deviations for one in sets) else 0
