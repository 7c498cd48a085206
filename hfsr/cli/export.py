"""`hfsr export`: exports a model to ONNX, for any height and width."""

from __future__ import annotations

import argparse
from pathlib import Path

from hfsr.cli.tables import print_pairs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", metavar="MODEL", help="Hub id, model folder, checkpoint file or bundled name")
    add(
        "file",
        type=Path,
        metavar="OUT.onnx",
        help="the file to write; hfsr accepts it as a model",
    )


def run(args: argparse.Namespace) -> int:
    from hfsr import hub
    from hfsr.inference.conversion.onnx_export import export_onnx

    model = hub.from_pretrained(args.model)
    difference = export_onnx(model, args.file)
    print_pairs(
        [
            ("network", type(model).__name__),
            ("input", "lq: RGB in [0, 1], float32, (batch, 3, height, width)"),
            ("output", f"sr: the same, height and width times {model.scale:g}"),
            ("checked", f"onnxruntime is within {difference:.0e} of torch at three sizes"),
            ("file", f"{args.file}, {args.file.stat().st_size:,} bytes"),
        ]
    )
    return 0
