"""Calibrates the bundled models for 8-bit integers: `python model_cards/int8.py IMAGES [NAME ...]`.

Writes `int8.safetensors` beside the weights of each model, which then loads as NAME-int8. IMAGES are
photographs; their samples are crops, reduced by the scale of the model, as JPEGs of quality 30 to 90 for
models that expect such images.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hfsr import _resources
from hfsr.checkpoints import read_model_folder
from hfsr.checkpoints.int8_calibration import write_calibration
from hfsr.degradations import Jpeg
from hfsr.evaluation import calibration_samples, find_pairs
from hfsr.inference.conversion.quantization import quantize_model

QUALITIES = range(30, 100, 20)


def compressed(sample: Tensor, quality: int) -> Tensor:
    """The sample (1, 3, H, W) after JPEG."""
    pixels = (sample[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    decoded = Jpeg(quality=quality)(pixels, np.random.default_rng(0))
    return torch.from_numpy(decoded).permute(2, 0, 1)[None].float() / 255


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("names", nargs="*", default=_resources.bundled_models())
    args = parser.parse_args()
    for name in args.names:
        folder = _resources.path("weights", name)
        model = read_model_folder(folder).eval()
        pairs = find_pairs(args.images, scale=float(model.scale))
        samples = calibration_samples(pairs, float(model.scale))
        is_lossy = name.endswith(("photo", "dejpeg"))
        if is_lossy:
            samples = [compressed(s, QUALITIES[i % len(QUALITIES)]) for i, s in enumerate(samples)]
        with torch.no_grad():
            quantized = quantize_model(model, samples)
        file = folder / _resources.CALIBRATION_NAME
        images = f"{len(samples)} crops of {len(pairs)} photographs{', as JPEGs' if is_lossy else ''}"
        write_calibration(model, quantized, file, images=images)
        print(f"{name}: {file.stat().st_size:,} bytes, from {images}", flush=True)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
