"""What a `model_type` trains and how: one file per kind. Importing this package registers them."""

from ._learner import Learner
from ._recipe import Recipe, restore, state_of
from .psnr import PsnrRecipe

__all__ = ["Learner", "PsnrRecipe", "Recipe", "restore", "state_of"]
