"""Networks by name: which there are, and how to build one with fresh weights."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from hfsr import _resources
from hfsr.archs import ArchSpec
from hfsr.errors import HfsrError, OptionsError, UnknownNameError, suggest
from hfsr.registry import ARCHS

__all__ = [
    "build",
    "create_model",
    "is_luma_network",
    "list_archs",
    "list_models",
    "presets",
    "register_arch",
    "spec_of",
    "usual_task",
]


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
        ValueError: its name or one of its presets is taken, or it is not named as its class is.
    """
    if spec.name != spec.cls.__name__:
        raise ValueError(f"network '{spec.name}' must have the name of its class, '{spec.cls.__name__}'")
    known = presets()
    for preset in spec.presets:
        if known.get(preset, spec) is not spec:
            raise ValueError(f"preset '{preset}' is already registered; choose another name")
    return ARCHS.register(spec)


def spec_of(model: nn.Module) -> ArchSpec | None:
    """The facts of a network: those registered for its class, else those it carries itself as `spec`."""
    registered = (spec for spec in ARCHS.own().values() if spec.cls is type(model))
    return next(registered, getattr(model, "spec", None))


def usual_task(model: nn.Module) -> str:
    """What a network is for where its weights do not say; one for enlarging that keeps sizes, restores."""
    spec = spec_of(model)
    if spec is None or (spec.task == "super-resolution" and getattr(model, "scale", 1) == 1):
        return "restoration"
    return spec.task


def is_luma_network(model: nn.Module) -> bool:
    """Whether a network makes the luma alone, and is measured by it."""
    spec = spec_of(model)
    return spec is not None and spec.luma


def build(arch: str, /, **arguments: Any) -> nn.Module:
    """Builds the network `arch` with fresh weights; `scale` is understood where it says `upscale`.

    Raises:
        UnknownNameError: no such network.
        OptionsError: an argument that the constructor does not know or cannot build.
    """
    spec = ARCHS[arch]
    return _construct(spec, _in_its_words(spec, arguments))


def create_model(name: str, /, **arguments: Any) -> nn.Module:
    """Builds a preset ("edsr_baseline_x2") or a network by class name ("EDSR", scale=2), with fresh weights.

    Arguments given override the preset's. See `list_models(pretrained=False)` and `list_archs()`.

    Raises:
        UnknownNameError: neither a preset nor a network.
        OptionsError: an argument that the constructor does not know or cannot build.
    """
    known = presets()
    if name in known:
        spec = known[name]
        return _construct(spec, {**spec.presets[name], **_in_its_words(spec, arguments)})
    if name in ARCHS:
        return build(name, **arguments)
    raise UnknownNameError(f"no preset or network named '{name}'{suggest(name, [*known, *ARCHS])}")


def _in_its_words(spec: ArchSpec, arguments: dict[str, Any]) -> dict[str, Any]:
    """Says `scale` as the constructor says it, 2.0 as 2, and refuses what it does not know."""
    allowed = inspect.signature(spec.cls).parameters
    given = dict(arguments)
    for word in ("scale", "upscale"):
        if isinstance(given.get(word), float) and given[word].is_integer():
            given[word] = int(given[word])
    if "scale" in given and "scale" not in allowed:
        scale = given.pop("scale")
        if "upscale" in allowed:
            if given.setdefault("upscale", scale) != scale:
                raise OptionsError(
                    f"{spec.name}: scale={scale} and upscale={given['upscale']} differ; give one"
                )
        elif scale != 1:
            raise OptionsError(f"{spec.name} keeps the size of a picture: its scale is 1, not {scale}")
    for name in given:
        if name not in allowed:
            raise OptionsError(f"{spec.name} has no argument '{name}'{suggest(name, allowed)}")
    return given


def _construct(spec: ArchSpec, arguments: dict[str, Any]) -> nn.Module:
    try:
        return spec.cls(**arguments)
    except HfsrError:
        raise
    except (
        TypeError,
        ValueError,
        RuntimeError,
    ) as error:  # what torch says of sizes and types it cannot build
        given = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        raise OptionsError(f"{spec.name} cannot be built with {given or 'no arguments'}: {error}") from error
