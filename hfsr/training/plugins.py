"""Modules of the user that register networks, losses, data sets, metrics and recipes."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Sequence

from hfsr import bridge
from hfsr.errors import HfsrError, OptionsError

__all__ = ["import_modules"]


def import_modules(names: Sequence[str]) -> None:
    """Imports modules from the current directory or the environment, each once per process.

    BasicSR is made importable before, where it is installed: a module may register there or at hfsr.

    Raises:
        OptionsError: one cannot be imported; with its name and the reason.
    """
    if not names:
        return
    with contextlib.suppress(HfsrError):  # without BasicSR, a module that needs it says so
        bridge.install()
    here = os.getcwd()
    if here not in sys.path:
        sys.path.append(here)  # last: a file here must not hide an installed package
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:  # whatever the user's code raises
            reason = " ".join(str(error).split())
            raise OptionsError(
                f"import: the module '{name}' cannot be imported ({type(error).__name__}: {reason}); it is "
                f"looked for in '{here}' and among the installed packages"
            ) from error
