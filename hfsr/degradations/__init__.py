"""Degradations of images: the same code for training on the fly and for evaluation.

Contains functions on pixels, and steps that the `degradation` of an option file chains. Importing this
package registers the steps.
"""

from .base import Chain, Seeded, Step, build_chain, seed_of
from .blur import GaussianBlur, KernelBlur, UnsharpMask
from .compression import Jpeg, jpeg
from .describe import describe_degradation
from .kernels import blurred, gaussian_kernel, read_kernels, sinc_kernel
from .mosaic import Mosaic
from .noise import ChromaNoise, GaussianNoise, PoissonNoise, gaussian_noise, poisson_noise
from .random_choice import RandomChoice
from .reduction import Bicubic, Resample, Subsample
from .resize import bicubic_down, bicubic_up, cubic_taps, kernel_centers, kernel_down, modcrop
from .second_order import SecondOrder
from .sharpening import SHARPENING_REACH, sharpened

__all__ = [
    "SHARPENING_REACH",
    "Bicubic",
    "Chain",
    "ChromaNoise",
    "GaussianBlur",
    "GaussianNoise",
    "Jpeg",
    "KernelBlur",
    "Mosaic",
    "PoissonNoise",
    "RandomChoice",
    "Resample",
    "SecondOrder",
    "Seeded",
    "Step",
    "Subsample",
    "UnsharpMask",
    "bicubic_down",
    "bicubic_up",
    "blurred",
    "build_chain",
    "cubic_taps",
    "describe_degradation",
    "gaussian_kernel",
    "gaussian_noise",
    "jpeg",
    "kernel_centers",
    "kernel_down",
    "modcrop",
    "poisson_noise",
    "read_kernels",
    "seed_of",
    "sharpened",
    "sinc_kernel",
]
