"""A denoiser beside scikit-image's, on the same noise: python tests/benchmarks/denoising.py MODEL --gt DIR

Its non-local means and wavelets get each setting of a small grid, know the strength of the noise, and are
judged by the best setting for these very images; the model is told nothing. PyWavelets has to be installed.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.restoration import denoise_nl_means, denoise_wavelet
from torch import Tensor

import hfsr
from hfsr.degradations import GaussianNoise, Seeded
from hfsr.evaluation import Report, evaluate, find_pairs

Denoise = Callable[[NDArray], NDArray]
"""RGB float (H, W, 3) in [0, 1] to the same."""


def nl_means(sigma: float) -> Iterator[tuple[str, Denoise]]:
    """Non-local means with the noise's variance taken off the distances, as its documentation advises."""
    for patch, reach, strength, fast in itertools.product((3, 5, 7), (6, 11), (0.5, 0.7, 0.9), (True, False)):
        words = {"patch_size": patch, "patch_distance": reach, "h": strength * sigma, "fast_mode": fast}
        if fast or (patch <= 5 and reach == 6 and strength == 0.7):  # the exact mode takes minutes with more
            yield _named(words), partial(denoise_nl_means, sigma=sigma, channel_axis=-1, **words)


def wavelets(sigma: float) -> Iterator[tuple[str, Denoise]]:
    """Wavelet shrinkage by both rules: in RGB with thresholds for the noise and for less of it; in YCbCr,
    whose channels have scales of their own, with the strength that it finds itself.
    """
    strengths: list[dict[str, Any]] = [{"convert2ycbcr": True}]
    strengths += [{"sigma": share * sigma} for share in (1.0, 0.7, 0.4)]
    for method, wavelet in itertools.product(("BayesShrink", "VisuShrink"), ("db1", "db2", "sym4")):
        for strength in strengths:
            words = {"method": method, "wavelet": wavelet, **strength}
            yield _named(words), partial(denoise_wavelet, channel_axis=-1, rescale_sigma=True, **words)


def _named(words: dict[str, Any]) -> str:
    return ", ".join(f"{k}={round(v, 4) if isinstance(v, float) else v}" for k, v in words.items())


def as_restore(denoise: Denoise) -> Callable[[Tensor], Tensor]:
    def restore(x: Tensor) -> Tensor:
        pixels = x[0].permute(1, 2, 0).numpy()
        return torch.from_numpy(np.ascontiguousarray(denoise(pixels), np.float32)).permute(2, 0, 1)[None]

    return restore


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="what from_pretrained reads")
    parser.add_argument("--gt", required=True, help="folder of images that the model was not trained on")
    parser.add_argument("--sigma", type=float, default=25, help="of the noise, gray levels")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    model = hfsr.from_pretrained(args.model).eval()
    pairs = find_pairs(args.gt)
    noise = Seeded(GaussianNoise(sigma=args.sigma), args.seed)
    judge = partial(evaluate, pairs=pairs, scale=1, degradation=noise)

    def row(name: str, restore: Callable[[Tensor], Tensor]) -> Report:
        started = time.perf_counter()
        report = judge(restore)
        print(
            f"{name:<16} PSNR RGB {report.psnr_rgb:6.2f} dB, Y {report.psnr_y:6.2f} dB, "
            f"SSIM RGB {report.ssim_rgb:.4f}, {time.perf_counter() - started:7.1f} s",
            flush=True,
        )
        return report

    print(f"{len(pairs)} images of {args.gt}, {noise.protocol()}")
    row("as they are", lambda x: x)
    best = 0.0
    for family in (nl_means, wavelets):
        found = {
            words: (judge(as_restore(denoise)).psnr_rgb, denoise)
            for words, denoise in family(args.sigma / 255)
        }
        words = max(found, key=lambda key: found[key][0])
        best = max(best, row(family.__name__, as_restore(found[words][1])).psnr_rgb)
        print(f"{'':<16} the best of {len(found)}: {words}")
    ours = row("hfsr", lambda x: model(x).clamp(0, 1))
    print(f"the model is {ours.psnr_rgb - best:+.2f} dB from the better one")
    return 0


if __name__ == "__main__":
    sys.exit(main())
