"""The deep generative prior: a generator and its latent numbers fitted to what is left of a picture."""

from .fit_schedules import BIASES, PRESETS, TASKS, Schedule, find_schedule
from .fitting import Fit, Fitter
from .generative_prior import GenerativePrior, Outcome
from .square_crop import brushed, checked_hole

__all__ = [
    "BIASES",
    "PRESETS",
    "TASKS",
    "Fit",
    "Fitter",
    "GenerativePrior",
    "Outcome",
    "Schedule",
    "brushed",
    "checked_hole",
    "find_schedule",
]
