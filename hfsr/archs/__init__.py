"""The networks: one file per system, each ending with its `ArchSpec`. Importing this package registers them all."""

from . import edsr
from ._spec import ArchSpec

__all__ = ["ArchSpec", "edsr"]
