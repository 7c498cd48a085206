"""What a `model_type` trains and how: one file per kind. Importing this package registers them."""

from ._recipe import Recipe
from .psnr import PsnrRecipe

__all__ = ["PsnrRecipe", "Recipe"]
