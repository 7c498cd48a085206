"""Networks that are none of ours, as the package spandrel knows them, under our contract."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hfsr._compat import import_torchvision
from hfsr.archs import ArchSpec, Bicubic, luma, with_luma
from hfsr.errors import CheckpointError, HfsrError, HfsrWarning, MissingDependencyError, some_of

from .evidence import named_scale
from .foreign_values import check_values
from .other_networks import kind_of_network

__all__ = ["FOREIGN", "ForeignNetwork", "family_of_config", "load_foreign"]

FOREIGN = "spandrel/"
"""In a config: begins the architecture of a network that spandrel defines, as "spandrel/SwinIR"."""
_WITHOUT_WEIGHTS = frozenset(
    {
        *("img_size", "use_checkpoint", "use_checkpoints", "drop_path_rate", "drop_rate"),
        *("attn_drop_rate", "norm_layer", "act_layer", "pretrained", "training_img_size"),
    }
)
"""Constructor arguments of such networks that change no result: sizes for counting, and training alone."""

_WINDOW, _OVERLAP = 256, 64
"""Side and overlap in LR px of the tiles of what no graph can cut: the window transformers' own test scripts
take about as much."""


class ForeignNetwork(nn.Module):
    """A network of spandrel: RGB float [0, 1], (B, 3, H, W) -> (B, 3, H*scale, W*scale), for any H, W >= 1.

    A network of one channel makes the luma, and the colors are enlarged by bicubic interpolation.

    Attributes:
        network: spandrel's module, with the checkpoint's own weights.
        scale: output px per input px.
        model_args: the family's short name under "architecture", and what else the checkpoint's tensors told.
        spec: what `hfsr.archs.ArchSpec` says of a registered network.
    """

    def __init__(
        self, descriptor: Any, network: nn.Module, scale: int, *, notes: tuple[str, ...] = ()
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
        needs = descriptor.size_requirements
        self._minimum, self._multiple, self._square = needs.minimum, needs.multiple_of, needs.square
        # The public call clamps and forbids gradients; this is the part of it that knows the network.
        self._call: Callable[[nn.Module, Tensor], Tensor] = descriptor._call_fn
        self.enlarge = Bicubic(self.scale) if descriptor.input_channels == 1 else None
        self.spec = _spec_of(descriptor, scale, notes)

    @property
    def family(self) -> str:
        """The name that spandrel gives to the architecture."""
        return str(self.model_args["architecture"])

    def core(self, x: Tensor) -> Tensor:
        if self.enlarge is not None:
            return with_luma(self.enlarge(x), self._call(self.network, luma(x)))
        return self._call(self.network, x)

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: RGB in [0, 1], (B, 3, H, W). Returns: RGB, nominally [0, 1], (B, 3, H*scale, W*scale)."""
        if x.shape[0] > 1:  # one by one: not all families can do otherwise
            return torch.cat([self.forward(one) for one in x.split(1)])
        height, width = x.shape[-2:]
        x = x.clone()  # several families scale their input in place
        for dim, side in enumerate(self._sides(height, width), start=2):
            if side != x.shape[dim]:
                x = x.index_select(dim, torch.tensor(_padded(x.shape[dim], side), device=x.device))
        return self.core(x)[..., : height * self.scale, : width * self.scale]

    def _sides(self, height: int, width: int) -> tuple[int, int]:
        """The size that the network can take."""
        least = [max(side, self._minimum) for side in (height, width)]
        padded = [side + -side % self._multiple for side in least]
        return (max(padded), max(padded)) if self._square else (padded[0], padded[1])


def _padded(length: int, padded: int) -> list[int]:
    """For each px of a padded side the px it shows: reflected, then repeated, as spandrel has it."""
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
    """Builds the network that spandrel finds in a state dict, with its weights, in evaluation mode.

    Args:
        state_dict: tensors that no registered network claims.
        source: where they come from, to begin an error message.
        scale: the scale asked for, where the tensors allow several.
        names: of the file and its repository, which may tell the scale.
        family: the architecture, where a config states it; the tensors must be its.
        arguments: constructor arguments that a config or an option file states, as `img_range`; those that
            spandrel's network does not have are left alone.

    Raises:
        CheckpointError: spandrel does not know the tensors either, drops some, or the network restores no
            image, is of another family, or cannot be built with `arguments`.
        MissingDependencyError: spandrel is not installed.

    Warns:
        HfsrWarning: another scale has the same tensors, and nothing tells which it is.
    """
    nobody = f"{source}: these tensors are no registered network's ({some_of(state_dict)})"
    try:
        import_torchvision()
        import spandrel
    except ModuleNotFoundError as error:
        _refuse_other_networks(state_dict, source)
        purpose = f"{nobody}; looking among some forty more families"
        if family is not None:
            purpose = f"{source} holds a {family} network, and running it"
        raise MissingDependencyError("spandrel", extra="spandrel", purpose=purpose) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its networks call torch in ways that torch warns of
            descriptor = spandrel.MAIN_REGISTRY.load(dict(state_dict))
    except Exception as error:  # tensors that only resemble a family's fail in any way they like
        _refuse_other_networks(state_dict, source)
        told = "hfsr list names those that hfsr knows"
        raise CheckpointError(f"{nobody}, nor those of a family that spandrel knows; {told}") from error
    name, purpose = descriptor.architecture.name, descriptor.purpose
    if purpose not in ("SR", "Restoration"):
        raise CheckpointError(
            f"{source} is a {name} network ({purpose}), which restores no image by itself; "
            "hfsr runs super-resolution and restoration"
        )
    if family is not None and descriptor.architecture.id != family:
        raise CheckpointError(
            f"{source} says that it holds a {family} network, but its tensors are of {name}; write it again"
        )
    channels = (descriptor.input_channels, descriptor.output_channels)
    if channels not in ((3, 3), (1, 1)):
        raise CheckpointError(
            f"{source} is a {name} network from {channels[0]} to {channels[1]} channels; "
            "hfsr runs RGB and gray"
        )
    notes = check_values(state_dict, descriptor.model, source=source)
    network, settled = _at_settled_scale(descriptor, scale, names, source)
    network = _with_arguments(network, arguments or {}, source)
    return ForeignNetwork(descriptor, network, settled, notes=notes).eval()


def family_of_config(config: Mapping[str, Any]) -> str | None:
    """The family that the config of a model states if spandrel defines it; None for registered networks."""
    name = config.get("architecture")
    return name.removeprefix(FOREIGN) if isinstance(name, str) and name.startswith(FOREIGN) else None


def _with_arguments(network: nn.Module, stated: Mapping[str, Any], source: str) -> nn.Module:
    """The network, built again where stated arguments differ from those that spandrel concluded.

    Raises:
        CheckpointError: the weights do not fit the network of these arguments.
    """
    concluded = getattr(network, "hyperparameters", {})
    differing = {
        name: value
        for name, value in stated.items()
        if name in concluded and name not in _WITHOUT_WEIGHTS and _plain(value) != _plain(concluded[name])
    }
    if not differing:
        return network
    told = ", ".join(f"{name}={value!r}" for name, value in differing.items())
    try:
        other = type(network)(**{**concluded, **differing})
        other.load_state_dict(network.state_dict(), strict=True)
    except Exception as error:  # constructors fail in any way they like
        raise CheckpointError(
            f"{source}: its weights do not fit the network with {told}, as stated beside them; check what "
            "states it"
        ) from error
    return other


def _plain(value: Any) -> Any:
    """A value that compares equal whatever YAML or JSON made of it: tuples as lists, whole floats as ints."""
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _refuse_other_networks(state_dict: Mapping[str, Tensor], source: str) -> None:
    """Raises CheckpointError for networks that are known and restore no images."""
    if (kind := kind_of_network(state_dict)) is not None:
        raise CheckpointError(
            f"{source} holds {kind}, which restores no image by itself; hfsr runs super-resolution and "
            "restoration"
        ) from None


def _at_settled_scale(
    descriptor: Any, scale: float | None, names: Sequence[str], source: str
) -> tuple[nn.Module, int]:
    """The network and its scale; where the tensors allow x2 and x3 alike, the one asked for or named.

    spandrel counts enlargements and takes each for a factor of 2.
    """
    found: tuple[nn.Module, int] = (descriptor.model, int(descriptor.scale))
    if found[1] != 2 or (other := _rebuilt(descriptor.model, 3)) is None:
        return found
    wanted = scale if scale in (2, 3) else named_scale((2, 3), names)
    if wanted is None:
        warnings.warn(
            f"{source}: read as x2, though x3 has the same tensors and its name tells no scale; state the "
            "scale (--scale, scale=)",
            HfsrWarning,
            stacklevel=2,
        )
    return (other, 3) if wanted == 3 else found


def _rebuilt(network: nn.Module, scale: int) -> nn.Module | None:
    """The network for another scale with the same tensors, or None where it has others at that scale."""
    arguments = getattr(network, "hyperparameters", {})
    word = next((name for name in ("scale", "upscale") if name in arguments), None)
    if word is None:
        return None
    try:
        other = type(network)(**{**arguments, word: scale})
        other.load_state_dict(network.state_dict(), strict=True)
    except (HfsrError, TypeError, ValueError, RuntimeError, AssertionError, NotImplementedError):
        return None  # its constructor, or the shapes, say that there is no such network
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
        license="see there, each family has its own",
        scales=(scale,),
        presets={},
        size_multiple=lambda _: multiple,
        bf16=False,  # not measured
        fp16=descriptor.supports_half,
        tiling="traced",
        window=_WINDOW,
        overlap=_OVERLAP,
        radius=lambda _: 0,  # its graph tells
        infer=lambda _: None,
        luma=descriptor.input_channels == 1,
        notes=notes,
    )
