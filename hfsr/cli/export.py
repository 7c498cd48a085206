"""`hfsr export`: exports a model to ONNX, for any height and width, or for the browser."""

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
        metavar="OUT",
        help="OUT.onnx, a name of this model from then on; with --web a folder",
    )
    add("--web", action="store_true", help="for the static Space: a folder with model.onnx and manifest.json")


def run(args: argparse.Namespace) -> int:
    return _export_web(args) if args.web else _export(args)


def _export_web(args: argparse.Namespace) -> int:
    from hfsr.publishing.web_model import write_web_model

    manifest = write_web_model(args.model, args.file)
    if manifest["tiling"] == "local":
        size = f"any, in tiles with {manifest['halo']} px of halo"
    else:
        size = f"up to {manifest['max_pixels']:,} px, whole: the network pools over the whole image"
    print_pairs(
        [
            ("network", f"{manifest['architecture']}, {manifest['parameters']:,} parameters"),
            ("scale", f"{manifest['scale']}"),
            ("image size", size),
            ("license", manifest["license"] or "not recorded"),
            ("folder", f"{args.file}, {manifest['bytes']:,} bytes"),
        ]
    )
    return 0


def _export(args: argparse.Namespace) -> int:
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
