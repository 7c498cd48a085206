"""Patches that let BasicSR 1.4.2 be imported with current Python and torchvision; see also `hfsr._compat`."""

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

_PURPOSE = "a feature of BasicSR"


def import_basicsr() -> ModuleType:
    """Imports BasicSR, which registers its classes, after patching incompatibilities; idempotent.

    Raises:
        MissingDependencyError: BasicSR is not installed.
        HfsrError: BasicSR does not support this Python version, or fails to import; or another package of
            that name is found first.
    """
    if find_spec("basicsr") is None:
        if sys.version_info >= (3, 13):
            python = f"{sys.version_info.major}.{sys.version_info.minor}"
            raise HfsrError(
                f"{_PURPOSE} needs basicsr, which cannot be installed on Python {python}; "
                "use Python 3.10, 3.11 or 3.12 (everything else in hfsr works here)"
            )
        raise MissingDependencyError("basicsr", extra="train", purpose=_PURPOSE)
    import_torchvision()
    _provide_functional_tensor()
    try:
        with _temporary_distutils():
            import basicsr
            from basicsr.utils.registry import ARCH_REGISTRY  # noqa: F401  missing in vendored copies
    except ImportError as error:
        spec = find_spec("basicsr")
        where = spec.origin if spec else "an unknown path"
        raise HfsrError(
            f"the package basicsr at {where} does not work: {error}; {_PURPOSE} needs BasicSR 1.4.2 "
            "(some projects contain a folder of that name: do not run from inside one); "
            "run: pip install --force-reinstall --no-deps basicsr==1.4.2"
        ) from error
    return basicsr


def _add_module(name: str, **members: Any) -> ModuleType:
    """Adds a substitute for a missing module to `sys.modules`."""
    module = module_from_spec(ModuleSpec(name, loader=None))
    vars(module).update(members)
    sys.modules[name] = module
    return module


def _provide_functional_tensor() -> None:
    """Substitutes a module that torchvision 0.17 removed and from which BasicSR imports one function."""
    name = "torchvision.transforms.functional_tensor"
    if name not in sys.modules and find_spec(name) is None:
        functional = importlib.import_module("torchvision.transforms.functional")
        _add_module(name, rgb_to_grayscale=functional.rgb_to_grayscale)


@contextmanager
def _temporary_distutils() -> Iterator[None]:
    """Substitutes `distutils.version.LooseVersion`, which Python 3.12 removed, within the context.

    The substitute is removed afterwards, so that other packages do not mistake it for distutils, which
    setuptools may provide.
    """
    if "distutils" in sys.modules or find_spec("distutils") is not None:
        yield
        return
    version = _add_module("distutils.version", LooseVersion=TorchVersion)
    _add_module("distutils", version=version)
    try:
        yield
    finally:
        del sys.modules["distutils"], sys.modules["distutils.version"]
