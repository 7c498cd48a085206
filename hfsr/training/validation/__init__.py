"""Validation during training and by `hfsr test`."""
