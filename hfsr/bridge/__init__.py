"""Interoperability of hfsr and BasicSR; the only package that imports basicsr.

`import_basicsr()` imports BasicSR with patches for current versions of Python and torchvision. `install()`
connects the registries: BasicSR's programs find hfsr's networks, losses and metrics, and hfsr's training
finds the data sets, losses and metrics of BasicSR and its plugins. `find_network()` looks up
a network in both.
"""

from __future__ import annotations

from .compat_patches import import_basicsr
from .registries import find_network, install

__all__ = ["find_network", "import_basicsr", "install"]
