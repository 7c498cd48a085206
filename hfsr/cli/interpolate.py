"""`hfsr interpolate`: interpolates between two sets of weights of one network."""

from __future__ import annotations

import argparse
from pathlib import Path

from hfsr.cli.tables import print_pairs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("first", metavar="A", help="checkpoint, model folder, bundled name or Hub id")
    add("second", metavar="B", help="another model of the same network, trained from A or from A's start")
    add("--alpha", type=float, required=True, metavar="X", help="share of B: (1 - X) * A + X * B, 0 to 1")
    add(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="OUT",
        help="a model folder, or a file that ends in .safetensors or .pth",
    )


def run(args: argparse.Namespace) -> int:
    from hfsr import hub
    from hfsr.checkpoints import interpolate, save_checkpoint, save_pth

    first, second = (hub.from_pretrained(name) for name in (args.first, args.second))
    model = interpolate(first, second, args.alpha, names=(args.first, args.second))
    made = f"{1 - args.alpha:g} × `{args.first}` + {args.alpha:g} × `{args.second}`, weight by weight"
    if args.output.suffix == ".safetensors":
        save_checkpoint(model, args.output)
    elif args.output.suffix == ".pth":
        save_pth(model, args.output)
    else:
        from hfsr.hub.cards.card import make_card
        from hfsr.hub.cards.schema import TrainingInfo

        card = make_card(model, name=str(args.output), training=TrainingInfo(interpolation=made))
        hub.save_pretrained(model, args.output, card=card)
    print_pairs([("network", type(model).__name__), ("weights", made), ("written", args.output)])
    return 0
