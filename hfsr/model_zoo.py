"""Lists networks, presets and bundled models, and builds networks by name with random weights."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn

from hfsr import _resources
from hfsr.archs import ArchSpec, LumaRestorer
from hfsr.errors import HfsrError, OptionsError, UnknownNameError, suggest
from hfsr.registry import ARCHS

__all__ = [
    "build",
    "check_takes_rgb",
    "create_model",
    "default_task",
    "input_channels",
    "is_luma_network",
    "list_archs",
    "list_models",
    "presets",
    "register_arch",
    "restorer_of_rgb",
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
    """
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


def input_channels(model: nn.Module) -> int:
    """Returns the channels of the images that a network takes: 3 for RGB, 1 for luma, or another number.

    Some networks that compute luma alone take RGB all the same.
    """
    stated = vars(model).get("model_args", {}).get("num_in_ch", 3)
    if stated == 3:
        return 3
    parameter = next(model.parameters())
    was_training = model.training
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, 3, 8, 8, device=parameter.device, dtype=parameter.dtype))
    except RuntimeError:  # as torch says that a convolution expects other channels
        return int(stated)
    finally:
        model.train(was_training)
    return 3


def check_takes_rgb(model: nn.Module) -> None:
    """
    Raises:
        OptionsError: the network takes other images than RGB, and so cannot be converted.
    """
    if (channels := input_channels(model)) != 3:
        name = type(model).__name__
        raise OptionsError(f"this {name} takes {channels} channel(s); only networks of RGB are converted")


def restorer_of_rgb(model: nn.Module) -> nn.Module:
    """Returns the network itself if it takes RGB; for a network of one channel, one that runs it on the luma.

    Raises:
        OptionsError: it takes another number of channels, or gives another number than it takes.
    """
    channels = input_channels(model)
    given = vars(model).get("model_args", {}).get("num_out_ch", channels)
    if channels == 3 and given == 3:
        return model
    spec = spec_of(model)
    if channels not in (1, 3) or given != channels:
        name = type(model).__name__ if spec is None else spec.name
        raise OptionsError(
            f"{name} takes {channels} channels and gives {given}; images are restored by networks of 3 (RGB) "
            "or of 1 (luma)"
        )
    return LumaRestorer(model, int(getattr(model, "scale", 1)), spec)


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
