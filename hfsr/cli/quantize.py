"""`hfsr quantize`: a model folder whose convolutions multiply 8-bit integers."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from hfsr.cli._table import print_pairs
from hfsr.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hfsr.evaluation import Pair

_SIDE = 96
"""Px of a sample, LQ: the arithmetic of calibrating, and what a network sees at once, stay moderate."""
_MOST_SAMPLES = 64
_MEASURED = 8
"""Images on which the loss is measured."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", metavar="MODEL", help="Hub id, model folder, checkpoint file or bundled name")
    add("folder", type=Path, metavar="OUT_DIR", help="gets config.json, model.safetensors and README.md")
    add(
        "--calibration",
        type=Path,
        required=True,
        metavar="DIR",
        help="good pictures like those it is for; their reductions (for a scale of 1: they) are the samples",
    )


def run(args: argparse.Namespace) -> int:
    from hfsr import hub
    from hfsr.evaluation import evaluate, find_pairs
    from hfsr.inference import Upscaler
    from hfsr.inference.conversion.quantization import quantize_model

    model = hub.from_pretrained(args.model)
    pairs = find_pairs(args.calibration, scale=float(model.scale))  # type: ignore[arg-type]
    quantised = quantize_model(model, _samples(model, pairs))
    measured = pairs[:: -(-len(pairs) // _MEASURED)]
    before, after = (
        evaluate(up.tensor, measured, scale=up.scale)
        for up in (
            Upscaler(model, dtype="fp32", device="cpu"),
            Upscaler(quantised, dtype="fp32", backend="openvino", device="cpu"),
        )
    )
    hub.save_pretrained(quantised, args.folder)
    print_pairs(
        [
            ("network", type(model).__name__),
            ("layers in int8", len(_int8_layers(quantised))),
            ("calibrated with", f"{len(pairs)} pictures of '{args.calibration}'"),
            ("PSNR-Y", f"{after.psnr_y:.3f} dB, {before.psnr_y - after.psnr_y:.3f} dB less than fp32"),
            ("measured on", f"{after.images} of these pictures"),
            ("size", f"{_size(quantised):,} bytes, fp32 {_size(model):,}"),
            ("folder", args.folder),
            ("run it by", f"hfsr upscale PICTURE -m {args.folder} --backend openvino"),
        ]
    )
    return 0


def _samples(model: nn.Module, pairs: list[Pair]) -> list[Tensor]:
    """Square crops from the middle of the pictures, and around it where the pictures are few."""
    import torch

    from hfsr.degradations import Bicubic, Seeded

    scale = float(model.scale)  # type: ignore[arg-type]
    each = min(4, -(-_MOST_SAMPLES // len(pairs)))
    reduce, samples = Seeded(Bicubic(scale=scale)), []
    for pair in pairs[:_MOST_SAMPLES]:
        lq, _ = pair.load(reduce, scale)
        height, width = lq.shape[:2]
        if lq.ndim != 3 or min(height, width) < _SIDE:
            continue
        for index in range(each):
            top, left = (
                (side - _SIDE) * (2 * place + 1) // 4 if each > 1 else (side - _SIDE) // 2
                for side, place in ((height, index // 2), (width, index % 2))
            )
            crop = lq[top : top + _SIDE, left : left + _SIDE].transpose(2, 0, 1)
            samples.append(torch.from_numpy(crop.copy())[None].float() / 255)
    if not samples:
        raise DataError(
            f"no picture in colour of at least {_SIDE * scale:g} px to calibrate with; name larger ones"
        )
    return samples[:_MOST_SAMPLES]


def _int8_layers(model: nn.Module) -> list[str]:
    from hfsr.archs import input_ranges

    return list(input_ranges(model))


def _size(model: nn.Module) -> int:
    """Bytes of its tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
