"""The networks: one file per system, each ending with its `ArchSpec`. Importing this registers them all."""

from . import a2n, edsr, msrresnet, rcan
from ._resize import Enlargement
from ._spec import ArchSpec

__all__ = ["ArchSpec", "Enlargement", "a2n", "edsr", "msrresnet", "rcan"]
