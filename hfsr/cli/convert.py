"""`hfsr convert`: a released checkpoint becomes a model folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from hfsr.cli.tables import print_pairs
from hfsr.hub.cards.schema import TASKS, current_task


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "checkpoint",
        type=Path,
        metavar="CHECKPOINT",
        help="a .pth, .pt, .mat or .safetensors file, ours or as released",
    )
    add("folder", type=Path, metavar="OUT_DIR", help="gets config.json, model.safetensors and README.md")
    add("--arch", metavar="NAME", help="the network, where the tensors alone do not tell it")
    add("-s", "--scale", type=float, metavar="S", help="the scale, where the tensors do not tell it")
    add(
        "--task",
        type=current_task,
        choices=TASKS,
        help="what the weights are for, where the network has several uses",
    )
    add(
        "--dtype",
        choices=["fp32", "fp16"],
        default="fp32",
        help="how the weights are stored; fp16 halves the folder, networks read it back into fp32 "
        "(default fp32)",
    )
    add(
        "--licence",
        "--license",
        metavar="L",
        help="licence of the weights, for the card (apache-2.0, mit, ...)",
    )


def run(args: argparse.Namespace) -> int:
    from hfsr import hub
    from hfsr.checkpoints import config_of, halved, load_checkpoint
    from hfsr.hub.cards.card import make_card
    from hfsr.publishing.publishable import read_provenance
    from hfsr.registry import ARCHS

    model = load_checkpoint(args.checkpoint, arch=args.arch, scale=args.scale)
    if args.dtype == "fp16":
        model = halved(model, source=f"'{args.checkpoint}'")
    spec = ARCHS[config_of(model)["architecture"]]
    # Read before anything is written: OUT_DIR may be where the checkpoint is.
    provenance = read_provenance(args.checkpoint, license=args.licence)
    card = make_card(model, name=str(args.folder), task=args.task, provenance=provenance)
    hub.save_pretrained(model, args.folder, card=card, task=args.task)
    print_pairs(
        [
            ("network", spec.name),
            ("scale", f"{model.scale:g}") if spec.role == "restorer" else ("role", spec.role),
            ("parameters", f"{sum(p.numel() for p in model.parameters()):,}"),
            *(("note", note) for note in spec.notes),
            ("folder", args.folder),
        ]
    )
    return 0
