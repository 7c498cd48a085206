"""Networks that only the package spandrel defines, behind the interface of hfsr's networks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hfsr._compat import import_torchvision
from hfsr.archs import ArchSpec, Bicubic, luma, range_argument, with_luma
from hfsr.errors import (
    CheckpointError,
    HfsrError,
    HfsrWarning,
    MissingDependencyError,
    OptionsError,
    some_of,
)

from .file_evidence import named_scale
from .other_networks import kind_of_network
from .spandrel_value_check import check_values

__all__ = ["ARGUMENTS_OF_TRAINING", "FOREIGN", "ForeignNetwork", "family_of_config", "load_foreign", "plain"]

FOREIGN = "spandrel/"
"""Prefix of the architecture in the config of a network that spandrel defines, as "spandrel/SwinIR"."""
ARGUMENTS_OF_TRAINING = frozenset(
    {
        *("img_size", "use_checkpoint", "use_checkpoints", "drop_path_rate", "drop_rate"),
        *("attn_drop_rate", "norm_layer", "act_layer", "pretrained", "training_img_size"),
    }
)
"""Constructor arguments of such networks that do not change the result: FLOP counts, and training only."""

_NOISE_LEVEL = "noise_level"
"""Argument of networks that take the noise level as a further channel: standard deviation, 0..255."""
_ASSUMED_LEVEL = 15.0
"""Noise level that spandrel assumes, the one of the authors' test scripts."""

_WINDOW, _OVERLAP = 256, 64
"""Side and overlap in LR px of the tiles of networks that cannot be traced: similar to the values in the
test scripts of the window transformers."""


class ForeignNetwork(nn.Module):
    """Network of spandrel: RGB float [0, 1], (B, 3, H, W) -> (B, 3, H*scale, W*scale), for any H, W >= 1.

    A network with one channel restores the luma, and bicubic interpolation enlarges the color channels. A
    network that takes a map of the noise level gets a constant one.

    Attributes:
        network: spandrel's module, with the checkpoint's own weights.
        scale: output px per input px.
        model_args: the family's short name under "architecture", and the arguments inferred from the tensors.
        spec: the description that a registered network has as `hfsr.archs.ArchSpec`.
    """

    def __init__(
        self,
        descriptor: Any,
        network: nn.Module,
        scale: int,
        *,
        notes: tuple[str, ...] = (),
        noise_level: float | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.scale = scale
        self.model_args: dict[str, Any] = {
            "architecture": descriptor.architecture.id,
            **{
                name: value
                for name, value in getattr(network, "hyperparameters", {}).items()
                if isinstance(value, (bool, int, float, str, list, tuple))
            },
        }
        self.noise_level = noise_level
        if noise_level is not None:
            self.model_args[_NOISE_LEVEL] = noise_level
        needs = descriptor.size_requirements
        self._minimum, self._multiple, self._square = needs.minimum, needs.multiple_of, needs.square
        # The public call clamps and disables gradients; this is the part that runs the network.
        self._call: Callable[[nn.Module, Tensor], Tensor] = descriptor._call_fn
        self.enlarge = Bicubic(self.scale) if descriptor.input_channels == 1 else None
        self.spec = _spec_of(descriptor, scale, notes)

    @property
    def family(self) -> str:
        """The name that spandrel gives to the architecture."""
        return str(self.model_args["architecture"])

    def core(self, x: Tensor) -> Tensor:
        if self.enlarge is not None:
            return with_luma(self.enlarge(x), self._restore(luma(x)))
        return self._restore(x)

    def _restore(self, x: Tensor) -> Tensor:
        if self.noise_level is None:
            return self._call(self.network, x)
        result: Tensor = self.network(torch.cat([x, torch.full_like(x[:, :1], self.noise_level / 255)], 1))
        return result

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: RGB in [0, 1], (B, 3, H, W). Returns: RGB, nominally [0, 1], (B, 3, H*scale, W*scale)."""
        if x.shape[0] > 1:  # one by one: not all families support batches
            return torch.cat([self.forward(one) for one in x.split(1)])
        height, width = x.shape[-2:]
        x = x.clone()  # several families scale their input in place
        for dim, side in enumerate(self._sides(height, width), start=2):
            if side != x.shape[dim]:
                x = x.index_select(dim, torch.tensor(_padded(x.shape[dim], side), device=x.device))
        return self.core(x)[..., : height * self.scale, : width * self.scale]

    def _sides(self, height: int, width: int) -> tuple[int, int]:
        """Returns the padded size that the network accepts."""
        least = [max(side, self._minimum) for side in (height, width)]
        padded = [side + -side % self._multiple for side in least]
        return (max(padded), max(padded)) if self._square else (padded[0], padded[1])


def _padded(length: int, padded: int) -> list[int]:
    """Returns the source index of each px of a padded side: reflected, then repeated, as in spandrel."""
    last = length - 1
    return [*range(length), *(max(last - i, 0) for i in range(1, padded - last))]


def load_foreign(
    state_dict: Mapping[str, Tensor],
    *,
    source: str,
    scale: float | None = None,
    names: Sequence[str] = (),
    family: str | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> ForeignNetwork:
    """Builds the network that spandrel recognizes in a state dict, with its weights, in evaluation mode.

    Args:
        state_dict: tensors that no registered network claims.
        source: the origin of the tensors, which begins an error message.
        scale: the requested scale, if the tensors allow several.
        names: names of the file and its repository, which may contain the scale.
        family: the architecture, if a config states it; the tensors must belong to it.
        arguments: constructor arguments that a config, an option file or the user states, as `img_range`,
            and `noise_level`, 0..255, of networks that take it as input; others are ignored.

    Raises:
        CheckpointError: spandrel does not recognize the tensors either or drops some, or the network does not
            restore images, is of another family, or cannot be built with `arguments`.
        MissingDependencyError: spandrel is not installed.

    Warns:
        HfsrWarning: another scale has the same tensors, and neither `scale` nor a name decides; or the noise
            level is assumed.
    """
    arguments = {**_range_of_mean_layers(state_dict), **(arguments or {})}
    nobody = f"{source}: no registered network has these tensors ({some_of(state_dict)})"
    try:
        import_torchvision()
        import spandrel
    except ModuleNotFoundError as error:
        _refuse_other_networks(state_dict, source)
        purpose = f"{nobody}; checking about forty more families"
        if family is not None:
            purpose = f"{source} holds a {family} network, and running it"
        raise MissingDependencyError("spandrel", extra="spandrel", purpose=purpose) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its networks use deprecated calls of torch
            descriptor = spandrel.MAIN_REGISTRY.load(dict(state_dict))
    except Exception as error:  # tensors that only resemble those of a family can raise any exception
        _refuse_other_networks(state_dict, source)
        told = "hfsr list names the networks of hfsr"
        raise CheckpointError(f"{nobody}, and no family of spandrel does; {told}") from error
    name, purpose = descriptor.architecture.name, descriptor.purpose
    if purpose not in ("SR", "Restoration"):
        raise CheckpointError(
            f"{source} is a {name} network ({purpose}), which does not restore images by itself; "
            "hfsr runs super-resolution and restoration"
        )
    if family is not None and descriptor.architecture.id != family:
        raise CheckpointError(
            f"{source} states a {family} network, but its tensors are of {name}; write it again"
        )
    channels = (descriptor.input_channels, descriptor.output_channels)
    if channels not in ((3, 3), (1, 1)):
        raise CheckpointError(
            f"{source} is a {name} network from {channels[0]} to {channels[1]} channels; "
            "hfsr runs RGB and gray"
        )
    notes = check_values(state_dict, descriptor.model, source=source)
    network, settled = _at_settled_scale(descriptor, scale, names, source)
    network = _with_arguments(network, arguments, source)
    level = _noise_level(descriptor, arguments, source)
    return ForeignNetwork(descriptor, network, settled, notes=notes, noise_level=level).eval()


def family_of_config(config: Mapping[str, Any]) -> str | None:
    """Returns the family that a config states if spandrel defines it; None for registered networks."""
    name = config.get("architecture")
    return name.removeprefix(FOREIGN) if isinstance(name, str) and name.startswith(FOREIGN) else None


def _range_of_mean_layers(state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
    """Returns the range that the mean layers of the EDSR family show, which spandrel assumes to be 255."""
    found = range_argument(state_dict)
    return {"rgb_range": found["img_range"]} if found else {}


def _noise_level(descriptor: Any, arguments: Mapping[str, Any], source: str) -> float | None:
    """Returns the noise level that a network takes as a further channel; None if it takes none.

    Raises:
        OptionsError: the stated level is not a number in 0..255.
    """
    own = getattr(descriptor.model, "hyperparameters", {})
    if own.get("in_nc") != descriptor.input_channels + 1:
        return None
    level = arguments.get(_NOISE_LEVEL)
    if level is None:
        warnings.warn(
            f"{source} is a {descriptor.architecture.name} network, which takes the noise level as input: "
            f"{_ASSUMED_LEVEL:g} of 255 is assumed; state another one by hfsr convert with "
            f"--set {_NOISE_LEVEL}=25, or model_args",
            HfsrWarning,
            stacklevel=3,
        )
        return _ASSUMED_LEVEL
    if isinstance(level, bool) or not isinstance(level, (int, float)) or not 0 <= level <= 255:
        raise OptionsError(f"{_NOISE_LEVEL} {level!r} is not allowed; give a number from 0 to 255")
    return float(level)


def _with_arguments(network: nn.Module, stated: Mapping[str, Any], source: str) -> nn.Module:
    """Returns the network, built again if stated arguments differ from those that spandrel inferred.

    Raises:
        CheckpointError: the weights do not fit the network with these arguments.
    """
    concluded = getattr(network, "hyperparameters", {})
    differing = {
        name: value
        for name, value in stated.items()
        if name in concluded and name not in ARGUMENTS_OF_TRAINING and plain(value) != plain(concluded[name])
    }
    if not differing:
        return network
    told = ", ".join(f"{name}={value!r}" for name, value in differing.items())
    try:
        other = type(network)(**{**concluded, **differing})
        other.load_state_dict(network.state_dict(), strict=True)
    except Exception as error:  # constructors can raise any exception
        raise CheckpointError(
            f"{source}: the weights do not fit the network with {told}; check the config or option file that "
            "states these arguments"
        ) from error
    return other


def plain(value: Any) -> Any:
    """Normalizes a value from YAML or JSON for comparison: tuples to lists, whole floats to ints."""
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _refuse_other_networks(state_dict: Mapping[str, Tensor], source: str) -> None:
    """Raises CheckpointError for known networks that do not restore images."""
    if (kind := kind_of_network(state_dict)) is not None:
        raise CheckpointError(
            f"{source} holds {kind}, which does not restore images by itself; hfsr runs super-resolution and "
            "restoration"
        ) from None


def _at_settled_scale(
    descriptor: Any, scale: float | None, names: Sequence[str], source: str
) -> tuple[nn.Module, int]:
    """Returns the network and its scale; if the tensors allow x2 and x3, the requested or named scale.

    spandrel counts the upsampling steps and assumes a factor of 2 for each.
    """
    found: tuple[nn.Module, int] = (descriptor.model, int(descriptor.scale))
    if found[1] != 2 or (other := _rebuilt(descriptor.model, 3)) is None:
        return found
    wanted = scale if scale in (2, 3) else named_scale((2, 3), names)
    if wanted is None:
        warnings.warn(
            f"{source}: read as x2, though x3 has the same tensors and its name contains no scale; state the "
            "scale (--scale, scale=)",
            HfsrWarning,
            stacklevel=2,
        )
    return (other, 3) if wanted == 3 else found


def _rebuilt(network: nn.Module, scale: int) -> nn.Module | None:
    """Builds the network for another scale with the same tensors; returns None if that scale needs others."""
    arguments = getattr(network, "hyperparameters", {})
    word = next((name for name in ("scale", "upscale") if name in arguments), None)
    if word is None:
        return None
    try:
        other = type(network)(**{**arguments, word: scale})
        other.load_state_dict(network.state_dict(), strict=True)
    except (HfsrError, TypeError, ValueError, RuntimeError, AssertionError, NotImplementedError):
        return None  # the constructor or the shapes do not allow this scale
    with torch.no_grad():
        size = other.eval()(torch.zeros(1, arguments.get("in_nc", 3), 8, 8)).shape[-1]
    return other if size == 8 * scale else None


def _spec_of(descriptor: Any, scale: int, notes: tuple[str, ...]) -> ArchSpec:
    multiple = descriptor.size_requirements.multiple_of
    return ArchSpec(
        name=f"{descriptor.architecture.id} (spandrel)",
        cls=ForeignNetwork,
        task="super-resolution" if scale > 1 else "restoration",
        title=descriptor.architecture.name,
        paper="",
        reference="https://github.com/chaiNNer-org/spandrel",
        extra="spandrel",
        license="see the reference: each family has its own",
        scales=(scale,),
        presets={},
        size_multiple=lambda _: multiple,
        bf16=False,  # not measured
        fp16=descriptor.supports_half,
        tiling="traced",
        window=_WINDOW,
        overlap=_OVERLAP,
        radius=lambda _: 0,  # follows from its graph
        infer=lambda _: None,
        luma=descriptor.input_channels == 1,
        notes=notes,
    )
