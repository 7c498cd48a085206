"""Recipes: the training procedure of each `model_type`. Importing this package registers them."""

from .base import Recipe, restore, state_of
from .dual import DualRecipe
from .gan import EsrganRecipe, SrganRecipe
from .psnr import PsnrRecipe
from .supervised import PyramidRecipe, RecursiveRecipe
from .trainable_network import TrainableNetwork

__all__ = [
    "DualRecipe",
    "EsrganRecipe",
    "PsnrRecipe",
    "PyramidRecipe",
    "Recipe",
    "RecursiveRecipe",
    "SrganRecipe",
    "TrainableNetwork",
    "restore",
    "state_of",
]
