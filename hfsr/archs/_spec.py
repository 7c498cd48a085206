"""`ArchSpec`, the description of a network, and the decorator that records constructor arguments."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from torch import Tensor, nn

from ._readings import Evidence, Reading, SavedBy

__all__ = ["ArchSpec", "Arguments", "StateDict", "no_rename", "records_arguments"]

StateDict = Mapping[str, Tensor]
Arguments = Mapping[str, Any]
ModuleT = TypeVar("ModuleT", bound=nn.Module)


def no_rename(state_dict: StateDict) -> StateDict:
    """Default of `ArchSpec.rename`: released checkpoints already use our keys."""
    return state_dict


def one_reading(state_dict: StateDict, arguments: Arguments, evidence: Evidence) -> Sequence[Reading]:
    """Default of `ArchSpec.readings`: the tensors determine every argument."""
    return (Reading(),)


@dataclass(frozen=True, kw_only=True)
class ArchSpec:
    """Description of one network, defined at the end of its file and read by all other packages."""

    name: str
    """Public name: the class name, and `network_g.type` in an option file."""
    cls: type[nn.Module]
    role: Literal["restorer", "discriminator", "generator", "features"] = "restorer"
    """Role of the network. Only restorers upscale images; the others serve training and priors."""
    task: str = "super-resolution"
    title: str
    """Title of the paper."""
    paper: str
    """Address of the paper, on arXiv if it is there."""
    reference: str
    """Address of the code that released weights come from."""
    license: str
    """License of the reference code ("none stated" if it has none); this implementation has its own."""
    scales: tuple[int, ...]
    """Supported scales; for a network with real scales, the whole numbers among them."""
    luma: bool = False
    """True for a network that predicts the luma only and whose paper measures that luma; `hfsr.evaluation`
    then measures it too. Neutral: False."""
    multi_scale: bool = False
    """True if one set of weights serves every scale, so that loading can choose the scale. Neutral: False."""
    in_channels: int = 3
    presets: Mapping[str, Arguments]
    """Named sizes, each a full set of constructor arguments; one name ends with "_tiny" (for tests)."""
    size_multiple: Callable[[Arguments], int] = lambda _: 1
    """Multiple to which `forward` pads the sides; tiles start on it. Neutral: 1."""
    bf16: bool = True
    """True if bfloat16 inference stays within 50 dB of float32."""
    fp16: bool = True
    """False if activations exceed 65504, the largest float16."""
    tiling: Literal["local", "pooled", "windowed", "positional", "traced"] = "local"
    """Tiling method; see `hfsr.inference`. "traced" derives it from the network's graph: exact if the graph
    can be traced, otherwise overlapping tiles."""
    window: int = 0
    """Side in LR px of the windows of a network that runs in overlapping tiles. Neutral: 0."""
    overlap: int = 16
    """LR px that two overlapping tiles share."""
    radius: Callable[[Arguments], int]
    """One-sided receptive field of the convolutions in LR px, without global pools; if sides must be a
    multiple of a size, the px that an aligned block of that size reads beyond itself.
    """
    infer: Callable[[StateDict], dict[str, Any] | None]
    """Returns the constructor arguments for a (renamed) state dict, or None if it is not this network."""
    rename: Callable[[StateDict], StateDict] = no_rename
    """Renames released layouts to our keys; returns the same mapping if it does not recognize the layout.

    Constructor arguments that a layout stores in tensors that are not weights of ours become entries under
    `argument_key(name)`.
    """
    readings: Callable[[StateDict, Arguments, Evidence], Sequence[Reading]] = one_reading
    """Returns the sets of constructor arguments that the tensors leave open, the most likely first.

    Takes the tensors under the file's own keys, the arguments from `infer`, and further evidence.
    """
    saved_by: Mapping[str, SavedBy] = field(default_factory=dict)
    """`model_type` in the `config.json` of another library -> differences of its files from the authors'."""
    keeps_flat_images: bool = True
    """True if trained weights return an image of one color unchanged, whatever they restore, so that
    a checkpoint can be checked with such images. Neutral: False."""
    former_names: Mapping[str, Arguments] = field(default_factory=dict)
    """Name in an earlier version -> the constructor arguments that it stood for. Model folders and option
    files with that name keep working; lists leave it out."""
    extra: str | None = None
    """Extra of hfsr that must be installed to run it. Neutral: None."""
    notes: tuple[str, ...] = field(default=())
    """Properties that shapes do not show and the released training decides; printed when converting."""

    @property
    def scale_argument(self) -> str | None:
        """Name of the constructor's scale argument, "upscale" or "scale"; None if there is none."""
        parameters = inspect.signature(self.cls).parameters
        return next((name for name in ("upscale", "scale") if name in parameters), None)

    def scale_of(self, arguments: Arguments) -> int | float:
        """Returns the scale that these constructor arguments build; an int if it is whole."""
        name = self.scale_argument
        if name is None:
            return 1
        scale = float(arguments.get(name, inspect.signature(self.cls).parameters[name].default))
        return int(scale) if scale.is_integer() else scale


def records_arguments(cls: type[ModuleT]) -> type[ModuleT]:
    """Class decorator: instances store all constructor arguments, including defaults, in `model_args`.

    Raises:
        TypeError: When decorating, if a parameter is positional or variadic: a misspelled name must be an
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
