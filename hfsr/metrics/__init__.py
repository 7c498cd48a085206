"""How alike two pictures are: by the protocol of the tables, and by what networks see.

PSNR, SSIM, MS-SSIM and ZNCC are ours, in float64; LPIPS and DISTS are torchmetrics', loaded when asked for.
"""

from . import option_metrics  # noqa: F401  (registers the metrics of option files)
from .fidelity import PEAK, Channel, ms_ssim, psnr, ssim, zncc
from .perceptual import LpipsNet, dists, lpips

__all__ = ["PEAK", "Channel", "LpipsNet", "dists", "lpips", "ms_ssim", "psnr", "ssim", "zncc"]
