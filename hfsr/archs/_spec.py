"""What every network file states, and the decorator that records how a network was built."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from torch import Tensor, nn

from ._evidence import Evidence, Reading, SavedBy

__all__ = ["ArchSpec", "Arguments", "StateDict", "no_rename", "records_arguments"]

StateDict = Mapping[str, Tensor]
Arguments = Mapping[str, Any]
ModuleT = TypeVar("ModuleT", bound=nn.Module)


def no_rename(state_dict: StateDict) -> StateDict:
    """The rename rule of a network whose released checkpoints already use its keys."""
    return state_dict


def one_reading(state_dict: StateDict, arguments: Arguments, evidence: Evidence) -> Sequence[Reading]:
    """The readings of a network whose tensors show everything."""
    return (Reading(),)


@dataclass(frozen=True, kw_only=True)
class ArchSpec:
    """The facts of one network: stated once, at the end of its file, and read by every other room."""

    name: str
    """Public name: the class name, and `network_g.type` in an option file."""
    cls: type[nn.Module]
    role: Literal["restorer", "discriminator", "generator", "features"] = "restorer"
    """Only restorers are upscaled with; the rest serve training and priors."""
    task: str = "super-resolution"
    title: str
    """Title of the paper."""
    paper: str
    """Where to read it, an arXiv address where there is one."""
    reference: str
    """The code that released weights come from."""
    license: str
    """License of the reference code ("none stated" where it has none); ours is our own."""
    scales: tuple[int, ...]
    """Scales it is built for; of a network for any real scale, the whole ones among them."""
    luma: bool = False
    """True of a network that makes the luma alone, whose paper measures that luma: so does `hfsr.evaluation`.
    Neutral: False."""
    multi_scale: bool = False
    """True when one set of weights serves every scale: it may be chosen when loading. Neutral: False."""
    in_channels: int = 3
    presets: Mapping[str, Arguments]
    """Named sizes, each a full set of constructor arguments; exactly one name ends with "_tiny" (for tests).
    """
    size_multiple: Callable[[Arguments], int] = lambda _: 1
    """Sides are padded to a multiple of this inside `forward`; pieces start on it. Neutral: 1."""
    bf16: bool = True
    """True guarantees that bfloat16 inference stays within 50 dB of float32."""
    fp16: bool = True
    """False where activations overflow 65504."""
    tiling: Literal["local", "pooled", "windowed", "positional", "traced"] = "local"
    """How it may be cut in pieces; see `hfsr.inference`. "traced" leaves it to the network's graph: exact
    where that can be read, else overlapping tiles."""
    window: int = 0
    """Side in LR px of what a network that runs in overlapping tiles is meant to see at once. Neutral: 0."""
    overlap: int = 16
    """LR px that two such tiles have in common."""
    radius: Callable[[Arguments], int]
    """One-sided receptive field of the convolutions in LR px, global pools left out; where sides must be a
    multiple of something, what an aligned block of that many px sees beyond itself.
    """
    infer: Callable[[StateDict], dict[str, Any] | None]
    """Constructor arguments from the tensors of a (renamed) state dict, or None when it is not this network.
    """
    rename: Callable[[StateDict], StateDict] = no_rename
    """Renames released layouts to our keys; returns the same mapping when it does not recognize the layout.

    Constructor arguments that a layout states in tensors which are none of ours become entries under
    `argument_key(name)`.
    """
    readings: Callable[[StateDict, Arguments, Evidence], Sequence[Reading]] = one_reading
    """The sets of constructor arguments that the tensors leave open, the most likely first.

    Takes the tensors under the file's own keys, the arguments from `infer`, and what else is known.
    """
    saved_by: Mapping[str, SavedBy] = field(default_factory=dict)
    """`model_type` in the `config.json` of another library -> how its files differ from the authors'."""
    keeps_flat_images: bool = True
    """True guarantees that trained weights return an image of one color unchanged, whatever they restore, so
    that a checkpoint can be checked with such images. Neutral: False."""
    extra: str | None = None
    """Extra of hfsr that must be installed to run it. Neutral: None."""
    notes: tuple[str, ...] = field(default=())
    """What shapes cannot tell and a released recipe decides (range, residual scale), said when converting."""

    @property
    def scale_argument(self) -> str | None:
        """The constructor's name for the scale, "upscale" or "scale"; None where it has one scale."""
        parameters = inspect.signature(self.cls).parameters
        return next((name for name in ("upscale", "scale") if name in parameters), None)

    def scale_of(self, arguments: Arguments) -> int | float:
        """The scale that these constructor arguments build; an int where it is whole."""
        name = self.scale_argument
        if name is None:
            return 1
        scale = float(arguments.get(name, inspect.signature(self.cls).parameters[name].default))
        return int(scale) if scale.is_integer() else scale


def records_arguments(cls: type[ModuleT]) -> type[ModuleT]:
    """Class decorator: the instance remembers in `model_args` every argument it was built with, defaults
    included.

    Raises:
        TypeError: at decoration, when a parameter is positional or variadic: a mistyped name must be an
        error.
    """
    init = cls.__init__
    signature = inspect.signature(init)
    for parameter in list(signature.parameters.values())[1:]:
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            raise TypeError(f"{cls.__name__}: parameter '{parameter.name}' must be keyword-only")

    @functools.wraps(init)
    def recording_init(self: Any, **arguments: Any) -> None:
        bound = signature.bind(self, **arguments)
        bound.apply_defaults()
        init(self, **arguments)
        self.model_args = {name: value for name, value in bound.arguments.items() if name != "self"}

    cls.__init__ = recording_init  # type: ignore[method-assign]
    return cls
