"""Losses by the names that option files use. Importing this package registers them."""

from .pixel import CharbonnierLoss, L1Loss, MSELoss

__all__ = ["CharbonnierLoss", "L1Loss", "MSELoss"]
