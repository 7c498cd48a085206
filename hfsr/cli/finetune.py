"""`hfsr finetune`: fine-tunes a model on a folder of photos and prints the gain on held-out ones."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from hfsr.cli.tables import print_table
from hfsr.cli.train import load_training

if TYPE_CHECKING:
    from hfsr.training import FinetunePlan, FinetuneResult


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", metavar="MODEL", help="bundled name, Hub id, run, model folder or checkpoint to start from")
    add(
        "photos",
        metavar="PHOTOS",
        help="folder of photos (also hf://datasets/owner/name/folder), or of pairs in subfolders gt and lq",
    )
    add("--lq", metavar="DIR", help="LQ images of PHOTOS, with the same names (default: made from PHOTOS)")
    add("--val", metavar="DIR", help="photos to measure on (default: some of PHOTOS are held out)")
    add("-o", "--name", metavar="NAME", help="name of the run (default: names of the model and of PHOTOS)")
    add("--iter", type=int, metavar="N", help="iterations (default: by the number of photos, 1000 to 10000)")
    add("--lr", type=float, metavar="RATE", help="learning rate (default: 1e-4, less for large models)")
    add(
        "--degradation",
        metavar="YAML",
        help="makes the LQ images (default: what MODEL was trained to undo), for example "
        "'[{type: GaussianBlur, kernel_size: 7, sigma: 1.6}, {type: Subsample}]'",
    )
    add("--license", metavar="L", help="license of the new weights, for the card (default: that of MODEL)")
    add("--auto_resume", action="store_true", help="resume from the newest training state of this run")
    add("--force_yml", nargs="+", default=[], metavar="A:B=C", help="change values of the option file (YAML)")
    add("--check", action="store_true", help="print the option file, memory and time; train nothing")


def run(args: argparse.Namespace) -> int:
    training = load_training()
    settings = training.FinetuneSettings(
        model=args.model,
        photos=args.photos,
        lq=args.lq,
        validation=args.val,
        name=args.name,
        iterations=args.iter,
        rate=args.lr,
        degradation=args.degradation,
        license=args.license,
    )
    if args.check:
        plan, text, report = training.check_finetuning(settings, overrides=args.force_yml)
        print(text)
        print(plan.summary())
        print(report)
        return 0
    result = training.finetune(
        settings, overrides=args.force_yml, auto_resume=args.auto_resume, on_plan=_print_plan
    )
    _print_result(args.model, result)
    return 0


def _print_plan(plan: FinetunePlan, path: Path) -> None:
    print(f"option file: {path}")
    print(plan.summary(), flush=True)


def _print_result(model: str, result: FinetuneResult) -> None:
    before, after, photos = result.before, result.after, result.before.images
    rows = [("bicubic", f"{before.bicubic_psnr_y:.2f}", "")] if before.scale > 1 else []
    rows += [
        (f"before: {model}", f"{before.psnr_y:.2f}", f"{before.ssim_y:.4f}"),
        (f"after: {result.run}", f"{after.psnr_y:.2f}", f"{after.ssim_y:.4f}"),
    ]
    print()
    print_table((f"{photos} held-out photos", "PSNR-Y", "SSIM-Y"), rows)
    print()
    if result.has_gained:
        print(f"gained {result.gain:+.2f} dB; better on {result.improved} of {photos} held-out photos")
    else:
        print(
            "nothing was gained on the held-out photos: keep the model as it is, or try more photos, --iter, "
            "or a degradation that is closer to that of your images"
        )
    run = shlex.quote(str(result.run))
    print(f"use it: hfsr upscale IMAGE -m {run}; publish it: hfsr push {run} OWNER/NAME")
