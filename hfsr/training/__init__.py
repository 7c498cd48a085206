"""Training: one engine on accelerate, and a recipe per `model_type`.

Importing this package registers the recipes.
"""

from hfsr.options import find_option_file

from . import recipes
from .dry_run import DryRunReport, check_training
from .engine import train
from .launch import adopt_slurm, is_worker, launch
from .loop.stop_signals import TrainingStopped
from .setup import load_options
from .testing import test

__all__ = [
    "DryRunReport",
    "TrainingStopped",
    "adopt_slurm",
    "check_training",
    "find_option_file",
    "is_worker",
    "launch",
    "load_options",
    "recipes",
    "test",
    "train",
]
