"""Training: one engine on accelerate, a recipe per `model_type`.

Importing this package registers the recipes and the metrics.
"""

from hfsr.options import find_option_file

from . import metrics, recipes
from .engine import train
from .launch import is_worker, launch
from .probe import ProbeReport, probe
from .setup import load_options
from .testing import test

__all__ = [
    "ProbeReport",
    "find_option_file",
    "is_worker",
    "launch",
    "load_options",
    "metrics",
    "probe",
    "recipes",
    "test",
    "train",
]
