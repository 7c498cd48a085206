"""The Space of hfsr: what `app.py` starts on the Hub, and `hfsr demo` on one's own machine.

A request passes `door`; `visitors` lets one job of each into gradio's queue; `upscaling` or `experiments`
checks what it asks for; `jobs` does the work on files, and says by `words` how far it is.
"""

from contextlib import suppress

with suppress(ImportError):
    import spaces  # noqa: F401 - ZeroGPU's package, before torch; beside a checkout, our folder of that name

from .catalog import load
from .page import launch

__all__ = ["launch", "load"]
