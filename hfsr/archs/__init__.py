"""The networks: one file per system, each ending with its `ArchSpec`. Importing this registers them all."""

from . import a2n, edsr, msrresnet, rcan
from ._spec import ArchSpec

__all__ = ["ArchSpec", "a2n", "edsr", "msrresnet", "rcan"]
