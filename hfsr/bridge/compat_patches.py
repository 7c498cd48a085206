"""What stops BasicSR 1.4.2 from being imported today, and the cures; torchvision's is in `hfsr._compat`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

from torch.torch_version import TorchVersion

from hfsr._compat import import_torchvision
from hfsr.errors import HfsrError, MissingDependencyError

__all__ = ["import_basicsr"]

_PURPOSE = "what comes from BasicSR"


def import_basicsr() -> ModuleType:
    """Imports BasicSR with everything it registers, after curing what breaks it; later calls cost nothing.

    Raises:
        MissingDependencyError: BasicSR is not installed.
        HfsrError: it cannot be installed on this Python, does not import, or another package took its name.
    """
    if find_spec("basicsr") is None:
        if sys.version_info >= (3, 13):
            python = f"{sys.version_info.major}.{sys.version_info.minor}"
            raise HfsrError(
                f"{_PURPOSE} needs basicsr, which cannot be installed on Python {python}; "
                "use Python 3.10, 3.11 or 3.12 (all that is not BasicSR's works here)"
            )
        raise MissingDependencyError("basicsr", extra="train", purpose=_PURPOSE)
    import_torchvision()
    _provide_functional_tensor()
    try:
        with _distutils():
            import basicsr
            from basicsr.utils.registry import ARCH_REGISTRY  # noqa: F401  what a vendored copy lacks
    except ImportError as error:
        place = find_spec("basicsr")
        where = place.origin if place else "nowhere"
        raise HfsrError(
            f"the package basicsr at {where} does not work: {error}; {_PURPOSE} needs BasicSR 1.4.2 "
            "(some projects carry a folder of that name: do not run from inside one), "
            "run: pip install --force-reinstall --no-deps basicsr==1.4.2"
        ) from error
    return basicsr


def _stand_in(name: str, **members: Any) -> ModuleType:
    """Puts a module of our own in the place of a missing one."""
    module = module_from_spec(ModuleSpec(name, loader=None))
    vars(module).update(members)
    sys.modules[name] = module
    return module


def _provide_functional_tensor() -> None:
    """torchvision 0.17 removed the module from which BasicSR, and plugins like it, take one function."""
    name = "torchvision.transforms.functional_tensor"
    if name not in sys.modules and find_spec(name) is None:
        functional = importlib.import_module("torchvision.transforms.functional")
        _stand_in(name, rgb_to_grayscale=functional.rgb_to_grayscale)


@contextmanager
def _distutils() -> Iterator[None]:
    """Lends BasicSR the `LooseVersion` of distutils, which Python 3.12 removed and setuptools may bring back.

    A stand-in for a standard package must not be seen by anybody else, so it goes when BasicSR is imported.
    """
    if "distutils" in sys.modules or find_spec("distutils") is not None:
        yield
        return
    version = _stand_in("distutils.version", LooseVersion=TorchVersion)
    _stand_in("distutils", version=version)
    try:
        yield
    finally:
        del sys.modules["distutils"], sys.modules["distutils.version"]
