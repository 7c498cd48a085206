"""`hfsr export`: exports a model to ONNX, to ncnn or for the browser, for any height and width."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from hfsr.cli.tables import print_pairs
from hfsr.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

MEASURED_IMAGES = 8
"""Images on which the loss of int8 is measured."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", metavar="MODEL", help="Hub id, model folder, checkpoint file or bundled name")
    add(
        "file",
        type=Path,
        metavar="OUT",
        help="OUT.onnx, which hfsr accepts as a model; or OUT.param for ncnn, with OUT.bin beside it, "
        "which Upscayl, realesrgan-ncnn-vulkan and chaiNNer run; with --web a folder",
    )
    add(
        "--dtype",
        choices=["fp32", "fp16", "int8"],
        default="fp32",
        help="fp16 halves the file; int8, for ONNX, is the smallest and fastest and needs --calibration "
        "(default fp32)",
    )
    add(
        "--calibration",
        type=Path,
        metavar="DIR",
        help="for int8: images like those to be processed; the samples are crops of them, reduced by the "
        "model's scale",
    )
    add("--web", action="store_true", help="for the static Space: a folder with model.onnx and manifest.json")


def run(args: argparse.Namespace) -> int:
    return _export_web(args) if args.web else _export(args)


def _export_web(args: argparse.Namespace) -> int:
    from hfsr.publishing.web_model import write_web_model

    if args.dtype != "fp32":
        raise UsageError("--dtype is for ONNX and ncnn; a model for the browser is float32")
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

    if args.file.suffix not in (".onnx", ".param"):
        raise UsageError(f"'{args.file}' must end in .onnx, or in .param for ncnn")
    if args.file.suffix == ".param" and args.dtype == "int8":
        raise UsageError("--dtype int8 is for ONNX; use fp16 for ncnn")
    if (args.dtype == "int8") != (args.calibration is not None):
        raise UsageError("--dtype int8 and --calibration DIR belong together; give both or none")
    model = hub.from_pretrained(args.model)
    if args.file.suffix == ".param":
        return _export_ncnn(model, args)
    if args.dtype != "fp32":
        return _export_reduced(model, args)
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


def _export_reduced(model: nn.Module, args: argparse.Namespace) -> int:
    from hfsr.evaluation import calibration_samples, evaluate, find_pairs
    from hfsr.inference import Upscaler
    from hfsr.inference.conversion.onnx_reduced import export_onnx_reduced, onnx_function

    scale = float(model.scale)  # type: ignore[arg-type]
    pairs = [] if args.calibration is None else find_pairs(args.calibration, scale=scale)
    samples = calibration_samples(pairs, scale) if pairs else []
    psnr = export_onnx_reduced(model, args.file, args.dtype, samples)
    rows = [
        ("network", type(model).__name__),
        ("input", "lq: RGB in [0, 1], float32, (batch, 3, height, width)"),
        ("output", f"sr: the same, height and width times {model.scale:g}"),
        ("checked", f"onnxruntime has {psnr:.1f} dB to torch"),
    ]
    if pairs:
        measured = pairs[:: -(-len(pairs) // MEASURED_IMAGES)]
        runs = (Upscaler(model, dtype="fp32", device="cpu").tensor, onnx_function(args.file))
        before, after = (evaluate(run, measured, scale=scale).psnr_y for run in runs)
        images = f"{len(measured)} of the images of '{args.calibration}'"
        rows.append(("PSNR-Y", f"{after:.3f} dB, {before - after:.3f} dB less than fp32, on {images}"))
    print_pairs([*rows, ("file", f"{args.file}, {args.file.stat().st_size:,} bytes")])
    return 0


def _export_ncnn(model: nn.Module, args: argparse.Namespace) -> int:
    from hfsr.inference.conversion.ncnn_export import export_ncnn
    from hfsr.inference.runner import network_name

    found = export_ncnn(model, args.file, half=args.dtype == "fp16")
    weights = args.file.with_suffix(".bin")
    print_pairs(
        [
            ("network", network_name(model)),
            ("input", "blob data: RGB in [0, 1], float32, (3, height, width)"),
            ("output", f"blob output: the same, height and width times {model.scale:g}"),
            (
                "checked",
                f"ncnn is within {found.fp32:.0e} of torch at three sizes, stored in 16 bit {found.fp16:.0e}",
            ),
            ("files", f"{args.file} and {weights}, {weights.stat().st_size:,} bytes"),
        ]
    )
    return 0
