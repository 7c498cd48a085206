"""Gradio Space of hfsr, started by `app.py` on the Hub and by `hfsr demo` on a local machine.

`page` builds the page from `upscale_tab` and `zeroshot_tab`, which share `widgets`, `job_events` and the
`viewer` of results; `uploads` checks what visitors choose. `api` has the endpoints for programs, `tools`
those of assistants. Requests pass through `middleware`; `sessions` allows one job per visitor; `jobs`
processes image files, `choices` selects their models and size, `results` describes what they made;
`messages` formats progress and errors; `catalog` lists and loads the models.
"""

from contextlib import suppress

with suppress(ImportError):
    # ZeroGPU's package must be imported before torch. In a checkout, this imports our folder of that name.
    import spaces  # noqa: F401

from .catalog import load
from .page import launch

__all__ = ["launch", "load"]
