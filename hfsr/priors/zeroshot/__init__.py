"""Zero-shot super-resolution: trains a small network on the one image that it upscales."""

from .blur_kernels import read_kernel
from .cost_estimate import CostEstimate
from .kernel_estimation import estimate_kernel
from .self_training import ZeroShotConfig
from .zero_shot import ZeroShot

__all__ = ["CostEstimate", "ZeroShot", "ZeroShotConfig", "estimate_kernel", "read_kernel"]
