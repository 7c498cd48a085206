"""Lists networks, presets and bundled models, and builds networks by name with random weights."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from hfsr import _resources
from hfsr.archs import ArchSpec
from hfsr.argument_checks import check_text
from hfsr.errors import HfsrError, OptionsError, UnknownNameError, suggest
from hfsr.registry import ARCHS

__all__ = [
    "build",
    "create_model",
    "default_task",
    "is_luma_network",
    "list_archs",
    "list_models",
    "presets",
    "register_arch",
    "spec_of",
]


def list_archs() -> list[str]:
    """Returns the names of all registered networks."""
    return list(ARCHS)


def presets() -> dict[str, ArchSpec]:
    """Returns the spec of the network of each preset, by preset name."""
    return {preset: spec for spec in ARCHS.values() for preset in spec.presets}


def list_models(*, pretrained: bool = True) -> list[str]:
    """Returns the bundled models (`pretrained=True`), or the presets that `create_model` builds."""
    return _resources.bundled_models() if pretrained else sorted(presets())


def register_arch(spec: ArchSpec) -> ArchSpec:
    """Registers a network for training, loading, tiling and publishing.

    Raises:
        ValueError: its name or one of its presets is taken, or its name is not that of its class.
        OptionsError: it is no ArchSpec.
    """
    if not isinstance(spec, ArchSpec):
        raise OptionsError(f"spec is of type {type(spec).__name__}; use an ArchSpec")
    if spec.name != spec.cls.__name__:
        raise ValueError(f"network '{spec.name}' must have the name of its class, '{spec.cls.__name__}'")
    known = presets()
    for preset in spec.presets:
        if known.get(preset, spec) is not spec:
            raise ValueError(f"preset '{preset}' is already registered; choose another name")
    return ARCHS.register(spec)


def spec_of(model: nn.Module) -> ArchSpec | None:
    """Returns the ArchSpec registered for the class of a network, else its attribute `spec`, or None."""
    registered = (spec for spec in ARCHS.own().values() if spec.cls is type(model))
    return next(registered, getattr(model, "spec", None))


def default_task(model: nn.Module) -> str:
    """Returns the task of a network whose weights do not state one: that of its spec, or "restoration"."""
    spec = spec_of(model)
    if spec is None or (spec.task == "super-resolution" and getattr(model, "scale", 1) == 1):
        return "restoration"
    return spec.task


def is_luma_network(model: nn.Module) -> bool:
    """Returns True if a network predicts luma only, so that only luma is evaluated."""
    spec = spec_of(model)
    return spec is not None and spec.luma


def build(arch: str, /, **arguments: Any) -> nn.Module:
    """Builds the network `arch` with random weights; accepts `scale` for networks that call it `upscale`.

    Raises:
        UnknownNameError: the network does not exist.
        OptionsError: the constructor does not have an argument, or rejects a value.
    """
    spec = ARCHS[arch]
    return _construct(spec, _constructor_arguments(spec, arguments))


def create_model(name: str, /, **arguments: Any) -> nn.Module:
    """Builds a preset ("edsr_baseline_x2") or a network ("EDSR", scale=2), with random weights.

    Arguments override those of the preset. See `list_models(pretrained=False)` and `list_archs()`.

    Raises:
        UnknownNameError: the name is neither a preset nor a network.
        OptionsError: the constructor does not have an argument, or rejects a value.
    """
    check_text("name", name)
    known = presets()
    if name in known:
        spec = known[name]
        return _construct(spec, {**spec.presets[name], **_constructor_arguments(spec, arguments)})
    if name in ARCHS:
        return build(name, **arguments)
    raise UnknownNameError(f"no preset or network named '{name}'{suggest(name, [*known, *ARCHS])}")


def _constructor_arguments(spec: ArchSpec, arguments: dict[str, Any]) -> dict[str, Any]:
    """Renames `scale` to `upscale` if needed, converts 2.0 to 2, and rejects unknown arguments."""
    allowed = inspect.signature(spec.cls).parameters
    given = dict(arguments)
    for key in ("scale", "upscale"):
        if isinstance(given.get(key), float) and given[key].is_integer():
            given[key] = int(given[key])
    if "scale" in given and "scale" not in allowed:
        scale = given.pop("scale")
        if "upscale" in allowed:
            if given.setdefault("upscale", scale) != scale:
                raise OptionsError(
                    f"{spec.name}: scale={scale} and upscale={given['upscale']} differ; give one"
                )
        elif scale != 1:
            raise OptionsError(
                f"{spec.name} does not change the size of an image: its scale is 1, not {scale}"
            )
    for name in given:
        if name not in allowed:
            raise OptionsError(f"{spec.name} has no argument '{name}'{suggest(name, allowed)}")
    return given


def _construct(spec: ArchSpec, arguments: dict[str, Any]) -> nn.Module:
    try:
        return spec.cls(**arguments)
    except HfsrError:
        raise
    except (TypeError, ValueError, RuntimeError) as error:  # raised by torch for invalid sizes and types
        given = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        raise OptionsError(f"{spec.name} cannot be built with {given or 'no arguments'}: {error}") from error
