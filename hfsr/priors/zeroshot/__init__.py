"""Zero-shot super-resolution: a network learns from the one picture that it enlarges."""

from .blur_kernels import read_kernel
from .cost_estimate import Forecast
from .kernel_estimation import estimate_kernel
from .self_training import Recipe
from .zero_shot import ZeroShot

__all__ = ["Forecast", "Recipe", "ZeroShot", "estimate_kernel", "read_kernel"]
