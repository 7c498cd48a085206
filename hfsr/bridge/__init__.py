"""Between hfsr and BasicSR: the only room that imports basicsr.

`import_basicsr()` makes BasicSR importable on a modern stack and returns it. `install()` makes the registries
meet, so that BasicSR's own programs know our networks, and our training knows BasicSR's data sets, losses and
metrics and those of other plugins. `find_network()` looks a network up in both.
"""

from __future__ import annotations

from .compat_patches import import_basicsr
from .registries import find_network, install

__all__ = ["find_network", "import_basicsr", "install"]
