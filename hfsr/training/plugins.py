"""Imports modules of the user that register networks, losses, data sets, metrics and recipes."""

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

    If BasicSR is installed, it becomes importable first: a module may register in it or in hfsr.

    Raises:
        OptionsError: if a module cannot be imported; the message names it and the reason.
    """
    if not names:
        return
    with contextlib.suppress(HfsrError):  # without BasicSR, a module that needs it reports that
        bridge.install()
    here = os.getcwd()
    if here not in sys.path:
        sys.path.append(here)  # last, so that a file here does not hide an installed package
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:  # the user's code may raise anything
            reason = " ".join(str(error).split())
            raise OptionsError(
                f"import: the module '{name}' cannot be imported ({type(error).__name__}: {reason}); hfsr "
                f"searches '{here}' and the installed packages"
            ) from error
