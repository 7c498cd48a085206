"""How a good picture becomes a bad one: for training on the fly and for evaluation, the very same code.

Functions on pixels, and steps that the `degradation` of an option file chains. Importing this package
registers the steps.
"""

from .compression import Jpeg, jpeg
from .noise import GaussianNoise, gaussian_noise
from .reduction import Bicubic
from .resize import bicubic_down, bicubic_up, cubic_taps, kernel_centres, kernel_down, modcrop
from .step import Chain, Seeded, Step, build_chain, seed_of

__all__ = [
    "Bicubic",
    "Chain",
    "GaussianNoise",
    "Jpeg",
    "Seeded",
    "Step",
    "bicubic_down",
    "bicubic_up",
    "build_chain",
    "cubic_taps",
    "gaussian_noise",
    "jpeg",
    "kernel_centres",
    "kernel_down",
    "modcrop",
    "seed_of",
]
