"""Exact tiled inference: runs any network of hfsr on an image of any size in bounded memory.

`README.md` in this folder shows the way of an image through the modules.
"""

from .upscaler import Progress, Upscaler

__all__ = ["Progress", "Upscaler"]
