"""Restoration by priors, fitted at test time to one picture.

`zeroshot` needs no weights: a small network learns from the picture itself. `generative` needs a generator
and its discriminator, and finds the picture among those that the generator can make.
"""

from .fit_progress import FitProgress
from .generative import GenerativePrior
from .zeroshot import ZeroShot

__all__ = ["FitProgress", "GenerativePrior", "ZeroShot"]
