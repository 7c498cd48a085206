"""Tests of importing BasicSR with current Python and torchvision."""

from __future__ import annotations

import importlib
import sys
from typing import NamedTuple

import pytest
import torch

from hfsr import bridge
from hfsr.bridge import compat_patches
from hfsr.errors import HfsrError, MissingDependencyError


class Version(NamedTuple):
    major: int
    minor: int


def test_import_fills_the_registries_of_basicsr():
    basicsr = bridge.import_basicsr()
    assert basicsr.__name__ == "basicsr"
    registry = importlib.import_module("basicsr.utils.registry")
    assert {"SRModel", "ESRGANModel"} <= set(registry.MODEL_REGISTRY.keys())
    assert bridge.import_basicsr() is basicsr


def test_substitute_for_functional_tensor():
    bridge.import_basicsr()
    from torchvision.transforms.functional_tensor import rgb_to_grayscale

    assert rgb_to_grayscale(torch.full((1, 3, 2, 2), 0.5)).shape == (1, 1, 2, 2)
    # A module without a spec would make every later find_spec of it fail.
    assert importlib.util.find_spec("torchvision.transforms.functional_tensor") is not None


def test_missing_basicsr(monkeypatch):
    monkeypatch.setattr(compat_patches, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "version_info", Version(3, 12))
    with pytest.raises(
        MissingDependencyError,
        match=r"needs basicsr.*pip install -c constraints.txt '.\[train\]' in the checkout of hfsr$",
    ):
        bridge.import_basicsr()


def test_python_3_13_is_not_supported(monkeypatch):
    monkeypatch.setattr(compat_patches, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "version_info", Version(3, 13))
    with pytest.raises(HfsrError, match=r"cannot be installed on Python 3\.13; use Python 3\.10"):
        bridge.import_basicsr()


def test_other_package_named_basicsr_is_reported(tmp_path, run_python):
    """Some projects contain a copy of basicsr, which is found first if the program runs in their folder."""
    (tmp_path / "basicsr" / "utils").mkdir(parents=True)
    (tmp_path / "basicsr" / "__init__.py").touch()
    (tmp_path / "basicsr" / "utils" / "__init__.py").touch()
    out = run_python(
        """
        import hfsr.bridge
        from hfsr.errors import HfsrError

        try:
            hfsr.bridge.import_basicsr()
        except HfsrError as error:
            print(error)
        """
    )
    assert str(tmp_path / "basicsr") in out
    assert "needs BasicSR 1.4.2" in out
    assert len(out.splitlines()) == 1


def test_distutils_substitute_is_removed_after_the_import(run_python):
    """Python 3.12 without setuptools, simulated by hiding the module."""
    out = run_python(
        """
        import sys
        from importlib.machinery import PathFinder
        from importlib.util import find_spec

        find = PathFinder.find_spec

        def find_no_distutils(cls, name, path=None, target=None):
            return None if name.startswith("distutils") else find(name, path, target)

        PathFinder.find_spec = classmethod(find_no_distutils)
        # setuptools installs its own finder
        sys.meta_path = [finder for finder in sys.meta_path if "Distutils" not in type(finder).__name__]
        print(find_spec("distutils"))

        import hfsr.bridge
        hfsr.bridge.import_basicsr()
        from basicsr.archs.arch_util import LooseVersion
        print(LooseVersion.__module__, LooseVersion("0.28.0+cpu") >= LooseVersion("0.9.0"))
        print("distutils" in sys.modules, "distutils.version" in sys.modules)
        """
    )
    assert out.splitlines() == ["None", "torch.torch_version True", "False False"]
