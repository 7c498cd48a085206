"""Lists networks, presets and bundled models, and builds networks by name with random weights."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hfsr import _resources
from hfsr.archs import ArchSpec, has_one_channel
from hfsr.argument_checks import check_text
from hfsr.errors import HfsrError, OptionsError, UnknownNameError, suggest
from hfsr.registry import ARCHS

__all__ = [
    "Restorer",
    "build",
    "check_channels",
    "check_restorer",
    "create_model",
    "default_task",
    "input_channels",
    "is_luma_network",
    "list_archs",
    "list_models",
    "presets",
    "register_arch",
    "spec_of",
]


class Restorer(nn.Module):
    """Interface of a restoration network, for type checkers: networks do not inherit from it.

    Called with RGB float in [0, 1], (B, 3, H, W), it returns RGB, nominally in [0, 1] and not clamped,
    (B, 3, H*scale, W*scale).

    Attributes:
        scale: output px per input px along one side.
        model_args: the constructor's arguments.
    """

    scale: int | float
    model_args: dict[str, Any]

    def __call__(self, x: Tensor) -> Tensor:
        """Restores a batch of images."""
        raise NotImplementedError


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
    return spec is not None and (spec.luma or (spec.role == "restorer" and has_one_channel(model)))


def check_channels(spec: ArchSpec, arguments: Mapping[str, Any], *, source: str) -> None:
    """Checks that a restorer was built for images.

    Args:
        spec: the network.
        arguments: its constructor arguments.
        source: the network or its file, to begin the error message.

    Raises:
        OptionsError: it takes or gives other channels than RGB or one.
    """
    taken = arguments.get("num_in_ch", 3)
    channels = (taken, arguments.get("num_out_ch", taken))
    if spec.role == "restorer" and channels not in ((3, 3), (1, 1)):
        raise OptionsError(
            f"{source} is a {spec.name} network from {channels[0]} to {channels[1]} channels; hfsr runs RGB "
            "(3 to 3) and gray (1 to 1)"
        )


def check_restorer(model: nn.Module) -> None:
    """Checks that a network restores images.

    Raises:
        OptionsError: it is a discriminator, a generator, a feature network or a classifier, or it takes or
            gives other channels than RGB or one.
    """
    spec, name = spec_of(model), type(model).__name__
    if spec is None:
        layers = [module for module in model.modules() if not any(module.children())]
        if layers and isinstance(layers[-1], nn.Linear):
            raise OptionsError(
                f"{name} ends with a linear layer, as classifiers and discriminators do: it restores no "
                "image by itself; use a restorer (hfsr list names them)"
            )
        return
    if spec.role != "restorer":
        kind = "feature network" if spec.role == "features" else spec.role
        raise OptionsError(
            f"{spec.name} is a {kind}, which restores no image by itself; use a restorer (hfsr list names "
            "them)"
        )
    check_channels(spec, vars(model)["model_args"], source="the model")


def input_channels(model: nn.Module) -> int:
    """Returns the channels of the images that a network takes: 3 for RGB, 1 for luma, or another number.

    Some networks that compute luma alone take RGB all the same: VDSR, FSRCNN, PyramidAttentionNet.
    """
    stated = int(vars(model).get("model_args", {}).get("num_in_ch", 3))
    if stated == 3:
        return 3
    parameter = next(model.parameters())
    was_training = model.training
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, stated, 8, 8, device=parameter.device, dtype=parameter.dtype))
    except RuntimeError:  # as torch says that a convolution expects other channels
        return 3
    finally:
        model.train(was_training)
    return stated


def build(arch: str, /, **arguments: Any) -> nn.Module:
    """Builds the network `arch` with random weights; accepts `scale` for networks that call it `upscale`.

    Raises:
        UnknownNameError: the network does not exist.
        OptionsError: the constructor does not have an argument, or rejects a value.
    """
    spec = ARCHS[arch]
    return _construct(spec, _constructor_arguments(spec, {**spec.former_names.get(arch, {}), **arguments}))


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
