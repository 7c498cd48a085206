"""`hfsr quantize`: converts the convolutions of a model to 8-bit integers and measures the loss."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from hfsr.cli.tables import print_pairs

if TYPE_CHECKING:
    from torch import nn

MEASURED_IMAGES = 8
"""Images on which the loss of quality is measured."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", metavar="MODEL", help="Hub id, model folder, checkpoint file or bundled name")
    add("folder", type=Path, metavar="OUT_DIR", help="receives config.json, model.safetensors and README.md")
    add(
        "--calibration",
        type=Path,
        required=True,
        metavar="DIR",
        help="images like those to be processed; the samples are crops of them, reduced by the model's scale",
    )


def run(args: argparse.Namespace) -> int:
    from hfsr import hub
    from hfsr.evaluation import calibration_samples, evaluate, find_pairs
    from hfsr.inference import Upscaler
    from hfsr.inference.conversion.quantization import quantize_model
    from hfsr.model_zoo import check_restorer

    model = hub.from_pretrained(args.model)
    check_restorer(model)
    pairs = find_pairs(args.calibration, scale=float(model.scale))
    quantized = quantize_model(model, calibration_samples(pairs, float(model.scale)))
    measured = pairs[:: -(-len(pairs) // MEASURED_IMAGES)]
    before, after = (
        evaluate(up.tensor, measured, scale=up.scale)
        for up in (
            Upscaler(model, dtype="fp32", device="cpu"),
            Upscaler(quantized, dtype="fp32", backend="openvino", device="cpu"),
        )
    )
    hub.save_pretrained(quantized, args.folder)
    print_pairs(
        [
            ("network", type(model).__name__),
            ("layers in int8", len(_int8_layers(quantized))),
            ("calibrated with", f"{len(pairs)} images of '{args.calibration}'"),
            ("PSNR-Y", f"{after.psnr_y:.3f} dB, {before.psnr_y - after.psnr_y:.3f} dB less than fp32"),
            ("measured on", f"{after.images} of these images"),
            ("size", f"{_size(quantized):,} bytes, fp32 {_size(model):,}"),
            ("folder", args.folder),
            ("run it with", f"hfsr upscale IMAGE -m {args.folder}"),
        ]
    )
    return 0


def _int8_layers(model: nn.Module) -> list[str]:
    from hfsr.archs import input_ranges

    return list(input_ranges(model))


def _size(model: nn.Module) -> int:
    """Returns the bytes of the model's tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
