"""`hfsr convert`: converts a released checkpoint into a model folder."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

from hfsr.cli._settings import parse_settings
from hfsr.cli.tables import print_pairs
from hfsr.errors import HfsrWarning, some_of
from hfsr.hub.cards.schema import TASKS, current_task


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "checkpoint",
        type=Path,
        metavar="CHECKPOINT",
        help="a .pth, .pt, .mat or .safetensors file, of hfsr or as released",
    )
    add("folder", type=Path, metavar="OUT_DIR", help="receives config.json, model.safetensors and README.md")
    add("--arch", metavar="NAME", help="the network, if the tensors alone do not determine it")
    add("-s", "--scale", type=float, metavar="S", help="the scale, if the tensors do not determine it")
    add(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a constructor argument that no tensor determines, such as img_range=1, residual=true or "
        "rgb_mean=0.5,0.5,0.5; may be repeated",
    )
    add(
        "--task",
        type=current_task,
        choices=TASKS,
        help="the task of the weights, if the network has several uses",
    )
    add(
        "--dtype",
        choices=["fp32", "fp16"],
        default="fp32",
        help="storage of the weights; fp16 halves the folder, and networks read it back into fp32 "
        "(default fp32)",
    )
    add(
        "--license",
        "--licence",
        metavar="L",
        help="license of the weights, for the card (apache-2.0, mit, ...)",
    )


def run(args: argparse.Namespace) -> int:
    from hfsr import hub
    from hfsr.archs import count_parameters
    from hfsr.checkpoints import config_of, halved, load_checkpoint
    from hfsr.hub.cards.card import make_card
    from hfsr.model_zoo import spec_of
    from hfsr.publishing.publishable import read_provenance

    settings = parse_settings(args.settings)
    with warnings.catch_warnings():
        warnings.simplefilter("always", HfsrWarning)  # despite PYTHONWARNINGS: they affect the folder
        model = load_checkpoint(
            args.checkpoint, arch=args.arch, scale=args.scale, task=args.task, model_args=settings
        )
    left_out = vars(model).get("left_out", [])
    if args.dtype == "fp16":
        model = halved(model, source=f"'{args.checkpoint}'")
    config_of(model)  # raises if a model folder cannot describe the network
    spec = spec_of(model)
    assert spec is not None
    # Read before anything is written: OUT_DIR may be the folder of the checkpoint.
    provenance = read_provenance(args.checkpoint, license=args.license)
    card = make_card(model, name=str(args.folder), task=args.task, provenance=provenance)
    hub.save_pretrained(model, args.folder, card=card, task=args.task)
    print_pairs(
        [
            ("network", spec.name),
            ("scale", f"{model.scale:g}") if spec.role == "restorer" else ("role", spec.role),
            ("parameters", f"{count_parameters(model):,}"),
            *vars(model).get("evidence", {}).items(),
            *(("note", note) for note in spec.notes),
            *([("left out", f"{some_of(left_out)}: not tensors of the network")] if left_out else []),
            ("folder", args.folder),
        ]
    )
    return 0
