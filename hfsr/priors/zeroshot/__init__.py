"""Zero-shot super-resolution: a network learns from the one picture that it enlarges."""

from .estimate import estimate_kernel
from .forecasting import Forecast
from .kernels import read_kernel
from .learning import Recipe
from .shot import ZeroShot

__all__ = ["Forecast", "Recipe", "ZeroShot", "estimate_kernel", "read_kernel"]
