"""Image quality metrics that compare a result with its ground truth.

PSNR, SSIM, MS-SSIM and ZNCC are implemented here in float64; LPIPS and DISTS come from torchmetrics, which is
imported when they are used. `option_metrics` registers them for option files.

To add a metric for option files, write a module here whose function has the decorator `@METRICS.register`,
and its test in `tests/metrics/`. Every module of the package is imported; nothing else lists the metrics.
"""

import importlib
import pkgutil

from .fidelity import PEAK, Channel, ms_ssim, psnr, ssim, zncc
from .perceptual import LpipsNet, dists, lpips

__all__ = ["PEAK", "Channel", "LpipsNet", "dists", "lpips", "ms_ssim", "psnr", "ssim", "zncc"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
