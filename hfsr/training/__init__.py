"""Training: one engine on accelerate, and a recipe per `model_type`.

Importing this package registers the recipes.
"""

from hfsr.options import find_option_file

from . import recipes
from .dry_run import DryRunReport, check_training
from .engine import train
from .finetuning.plan import FinetunePlan, FinetuneSettings
from .finetuning.run import FinetuneResult, check_finetuning, finetune
from .launch import adopt_slurm, is_worker, launch
from .loop.stop_signals import TrainingStopped
from .setup import load_options
from .testing import test

__all__ = [
    "DryRunReport",
    "FinetunePlan",
    "FinetuneResult",
    "FinetuneSettings",
    "TrainingStopped",
    "adopt_slurm",
    "check_finetuning",
    "check_training",
    "find_option_file",
    "finetune",
    "is_worker",
    "launch",
    "load_options",
    "recipes",
    "test",
    "train",
]
