"""Image restoration with priors that are fitted to one image at test time.

`zeroshot` needs no weights: it trains a small network on the image itself. `generative` needs a generator and
its discriminator, and searches for the image among those that the generator can produce.
"""

from .fit_progress import FitProgress
from .generative import GenerativePrior
from .zeroshot import ZeroShot

__all__ = ["FitProgress", "GenerativePrior", "ZeroShot"]
