"""Losses by the names that option files use. Importing this package registers them."""

from .adversarial import GANLoss
from .features import Features
from .perceptual import PerceptualLoss, TextureLoss
from .pixel import CharbonnierLoss, L1Loss, MSELoss

__all__ = ["CharbonnierLoss", "Features", "GANLoss", "L1Loss", "MSELoss", "PerceptualLoss", "TextureLoss"]
