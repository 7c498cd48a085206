"""Networks by name: which there are, and how to build one with fresh weights."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from hfsr import _resources
from hfsr.archs import ArchSpec
from hfsr.errors import OptionsError, UnknownNameError, suggest
from hfsr.registry import ARCHS

__all__ = ["build", "create_model", "list_archs", "list_models", "presets", "register_arch"]


def list_archs() -> list[str]:
    """Names of every registered network."""
    return list(ARCHS)


def presets() -> dict[str, ArchSpec]:
    """Every preset's name, with the network it belongs to."""
    return {preset: spec for spec in ARCHS.values() for preset in spec.presets}


def list_models(*, pretrained: bool = True) -> list[str]:
    """Names of the bundled models (`pretrained=True`), or of every preset that `create_model` builds."""
    return _resources.bundled_models() if pretrained else sorted(presets())


def register_arch(spec: ArchSpec) -> ArchSpec:
    """Adds a network: it then trains, loads, tiles and publishes like ours.

    Raises:
        ValueError: its name or one of its presets is taken.
    """
    taken = sorted(set(spec.presets) & set(presets()))
    if taken and ARCHS.get(spec.name) is not spec:
        raise ValueError(f"preset '{taken[0]}' is already registered; choose another name")
    return ARCHS.register(spec)


def build(arch: str, **arguments: Any) -> nn.Module:
    """Builds the network `arch` with fresh weights; `scale` is understood wherever the constructor says `upscale`.

    Raises:
        UnknownNameError: no such network.
        OptionsError: an argument the constructor does not know, with the nearest it does.
    """
    spec = ARCHS[arch]
    allowed = list(inspect.signature(spec.cls).parameters)
    if "scale" in arguments and "scale" not in allowed and "upscale" in allowed:
        arguments["upscale"] = arguments.pop("scale")
    elif arguments.get("scale") == 1 and "scale" not in allowed:
        del arguments["scale"]
    for name in arguments:
        if name not in allowed:
            raise OptionsError(f"{arch} has no argument '{name}'{suggest(name, allowed)}")
    return spec.cls(**arguments)


def create_model(name: str, **arguments: Any) -> nn.Module:
    """Builds a preset ("edsr_baseline_x2") or a network by its class name ("EDSR", scale=2), with fresh weights.

    Arguments given override the preset's. See `list_models(pretrained=False)` and `list_archs()`.

    Raises:
        UnknownNameError: neither a preset nor a network.
        OptionsError: an argument the constructor does not know.
    """
    known = presets()
    if name in known:
        spec = known[name]
        if "scale" in arguments:
            arguments["upscale"] = arguments.pop("scale")
        return build(spec.name, **{**spec.presets[name], **arguments})
    if name in ARCHS:
        return build(name, **arguments)
    raise UnknownNameError(f"no preset or network named '{name}'{suggest(name, [*known, *ARCHS])}")
