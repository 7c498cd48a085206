"""The deep generative prior: a generator and its latent numbers fitted to what is left of a picture."""

from .fitting import Fit, Fitter
from .framing import brushed, checked_hole
from .prior import GenerativePrior, Outcome
from .schedules import BIASES, PRESETS, TASKS, Schedule, find_schedule

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
