"""Losses, registered by class name for option files (`type: L1Loss`). Importing the package registers them.

To add a loss, write a module here whose class has the decorator `@LOSSES.register`, and its test in
`tests/losses/`. Every module of the package is imported; nothing else lists the losses.
"""

import importlib
import pkgutil

from .adversarial import GANLoss
from .perceptual import PerceptualLoss, TextureLoss
from .perceptual_metrics import DISTSLoss, LPIPSLoss
from .pixel import CharbonnierLoss, L1Loss, MSELoss
from .restorer_features import RestorerFeatureLoss
from .structural import FFTLoss, MSSSIML1Loss, PSNRLoss, SmoothL1Loss, artifact_map
from .vgg_features import VGGFeatures

__all__ = [
    "CharbonnierLoss",
    "DISTSLoss",
    "FFTLoss",
    "GANLoss",
    "L1Loss",
    "LPIPSLoss",
    "MSELoss",
    "MSSSIML1Loss",
    "PSNRLoss",
    "PerceptualLoss",
    "RestorerFeatureLoss",
    "SmoothL1Loss",
    "TextureLoss",
    "VGGFeatures",
    "artifact_map",
]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
