"""Losses by the names that option files use. Importing this package registers them."""

from .adversarial import GANLoss
from .perceptual import PerceptualLoss, TextureLoss
from .pixel import CharbonnierLoss, L1Loss, MSELoss
from .vgg_features import Features

__all__ = ["CharbonnierLoss", "Features", "GANLoss", "L1Loss", "MSELoss", "PerceptualLoss", "TextureLoss"]
