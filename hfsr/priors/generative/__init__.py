"""Deep generative prior: fits a generator and its latent vector to a degraded image."""

from .fit_schedules import BIASES, PRESETS, TASKS, FitSchedule, find_schedule
from .fitting import FitResult, GeneratorFitter
from .generative_prior import GenerativePrior, PriorResult
from .square_crop import hole_from_mask, hole_from_rectangle

__all__ = [
    "BIASES",
    "PRESETS",
    "TASKS",
    "FitResult",
    "FitSchedule",
    "GenerativePrior",
    "GeneratorFitter",
    "PriorResult",
    "find_schedule",
    "hole_from_mask",
    "hole_from_rectangle",
]
