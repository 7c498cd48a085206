"""Checks the keys of every section with a `type` against the constructor of that type."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    create_model,
)

from hfsr import data, degradations, losses, metrics  # noqa: F401  (they register their types)
from hfsr.archs import ArchSpec
from hfsr.errors import suggest
from hfsr.optim import OPTIMIZERS, SCHEDULERS
from hfsr.registry import ARCHS, DATASETS, DEGRADATIONS, FOREIGN_ARCHS, LOSSES, METRICS, RECIPES

from .dialects import MODEL_TYPES
from .sections import DatasetOptions

__all__ = ["Kind", "Problem", "TypedSection", "arguments_model", "kinds", "recipe_problem", "typed_sections"]

Problem = Mapping[str, Any]
"""An error in pydantic's form: `type`, `loc`, `msg`, `input`."""
LocatedProblem = tuple[tuple[str, ...], Problem]
OPTIMIZER_KEYS = ("optim_g", "optim_d", "optim_dual")
LOSS_KEYS = (
    *("pixel_opt", "luma_opt", "perceptual_opt", "texture_opt", "gan_opt", "dual_opt"),
    *("fft_opt", "ldl_opt", "consistency_opt"),
)
"""Sections of `train` for an optimizer, and those for a loss."""
_CALLED_OTHERWISE = {"GANLoss": "gan_opt", "PerceptualLoss": "perceptual_opt"}
"""Losses that do not map two images to a scalar, and the section that calls each of them correctly."""
_SCALAR_FEATURE_LOSSES = frozenset({"DISTSLoss", "LPIPSLoss", "RestorerFeatureLoss"})
"""Losses between features of two images that give a scalar, also in `perceptual_opt`."""
_ROLES = {"network_g": "restorer", "network_d": "discriminator"}
"""Roles that networks of hfsr must have in a section."""


@dataclass(frozen=True)
class Kind:
    """Allowed content of one kind of section."""

    title: str
    """Name of an item in error messages ("network")."""
    items: Mapping[str, Any]
    """Types by name."""
    supplied: frozenset[str] = frozenset()
    """Arguments that the engine passes itself."""
    own: frozenset[str] = frozenset({"type"})
    """Keys of the section that are not arguments of the type."""

    def arguments(self, name: str) -> type[BaseModel] | None:
        """Returns the arguments that a type takes, or None if it accepts any."""
        item = self.items[name]
        factory: Any = item.cls if isinstance(item, ArchSpec) else item
        return arguments_model(factory, self.supplied)


class _Networks(Mapping[str, Any]):
    """Networks of hfsr and of other packages; iteration yields the former only, for suggestions of names."""

    def __getitem__(self, name: str) -> Any:
        return ARCHS[name] if name in ARCHS else FOREIGN_ARCHS[name]

    def __contains__(self, name: object) -> bool:
        return name in ARCHS or name in FOREIGN_ARCHS

    def __iter__(self) -> Iterator[str]:
        return iter(ARCHS)

    def __len__(self) -> int:
        return len(ARCHS)


_NETWORKS = _Networks()


def kinds() -> dict[str, Kind]:
    """Returns the kinds of sections that have a `type`."""
    return {
        "network": Kind("network", _NETWORKS),
        "dataset": Kind(
            "data set type", DATASETS, frozenset({"scale", "phase"}), frozenset(DatasetOptions.model_fields)
        ),
        "degradation": Kind("degradation", DEGRADATIONS),
        "optimizer": Kind("optimizer", OPTIMIZERS, frozenset({"params"})),
        "scheduler": Kind("scheduler", SCHEDULERS, frozenset({"base"})),
        "loss": Kind("loss", LOSSES),
        "metric": Kind(
            "metric", METRICS, frozenset({"img", "img2", "better"}), frozenset({"type", "better"})
        ),
    }


@dataclass(frozen=True)
class TypedSection:
    """One section of an option file with a `type`."""

    place: tuple[str, ...]
    section: Mapping[str, Any]
    kind: Kind
    scale: Any

    def is_known(self) -> bool:
        """Returns False if its type is not registered."""
        name = self.section.get("type")
        return not isinstance(name, str) or name in self.kind.items

    def arguments(self) -> type[BaseModel] | None:
        """Returns the model of its type's arguments; None if the type is unknown or accepts any."""
        name = self.section.get("type")
        return self.kind.arguments(name) if isinstance(name, str) and name in self.kind.items else None

    def keys(self) -> list[str]:
        """Returns the keys that are known in this section."""
        model = self.arguments()
        return [*self.kind.own, *(model.model_fields if model else ())]

    def validated(self) -> tuple[dict[str, Any], list[LocatedProblem]]:
        """Returns the given arguments as the type's constructor takes them, and every error with its place.

        Values are converted as those of all other keys are: quoted numbers and booleans, whole floats.
        """
        name = self.section.get("type")
        if not self.is_known():
            message = f"no {self.kind.title} named '{name}'{suggest(str(name), self.kind.items)}"
            if self.kind.title == "network":
                message += "; a network of your own needs import: [its module]"
            return {}, [((*self.place, "type"), {"type": "value_error", "msg": message})]
        if not isinstance(name, str):
            return {}, []
        arguments = {key: value for key, value in self.section.items() if key not in self.kind.own}
        model = self.arguments()
        problems: list[LocatedProblem] = []
        try:
            if model is not None:
                found = model.model_validate(arguments)
                arguments = {key: getattr(found, key) for key in arguments}
        except ValidationError as error:
            problems += [((*self.place, *map(str, item["loc"])), item) for item in error.errors()]
        wrong = [*self._beside_the_scale(name, arguments)]
        if misplaced := self._out_of_place(name):
            wrong.append(("type", misplaced))
        for word, message in wrong:
            problems.append(((*self.place, word), {"type": "value_error", "msg": message}))
        return arguments, problems

    def _out_of_place(self, name: str) -> str | None:
        """Returns an error message if the type exists but is unsuitable for this section."""
        item, word = self.kind.items[name], self.place[-1]
        role = _ROLES.get(word)
        if role and isinstance(item, ArchSpec) and item.role != role:
            return f"{name} is a network with the role '{item.role}'; {word} needs a {role}"
        for loss, section in _CALLED_OTHERWISE.items() if self.kind.title == "loss" else ():
            if name == loss and word != section:
                return f"{loss} belongs to train.{section}; for {word} use L1Loss, MSELoss or CharbonnierLoss"
            fits = name == loss or name in _SCALAR_FEATURE_LOSSES
            if not fits and word == section and item.__module__.startswith("hfsr."):
                return f"{name} does not fit this section; use {loss}"
        return None

    def _beside_the_scale(self, name: str, arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yields keys that contradict the scale of the file, with the error messages."""
        ours = isinstance(self.kind.items[name], ArchSpec)
        for word in {"upscale", "scale"} & arguments.keys() if ours else ():
            if arguments[word] != self.scale:
                yield word, f"is {arguments[word]}, but the file's scale is {self.scale}; make them equal"
        size, scale = arguments.get("gt_size"), self.scale
        if isinstance(size, int) and isinstance(scale, int) and scale > 0 and not arguments.get("scales"):
            whole = max(scale, size - size % scale)
            if size != whole:
                yield "gt_size", f"is {size}, not a multiple of the scale {scale}; use {whole}"


def typed_sections(raw: Mapping[str, Any]) -> Iterator[TypedSection]:
    """Yields every section of the file that has a `type`, as written."""
    known = kinds()
    train = _mapping(raw.get("train"))
    places: dict[tuple[str, ...], tuple[Any, Kind]] = {
        ("network_g",): (raw.get("network_g"), known["network"]),
        ("network_d",): (raw.get("network_d"), known["network"]),
        ("network_dual",): (raw.get("network_dual"), known["network"]),
        ("train", "scheduler"): (train.get("scheduler"), known["scheduler"]),
        **{("train", word): (train.get(word), known["optimizer"]) for word in OPTIMIZER_KEYS},
        **{("train", word): (train.get(word), known["loss"]) for word in LOSS_KEYS},
    }
    for key in ("output_opt", "feature_opt"):
        section = _mapping(train.get("distill_opt")).get(key)
        places["train", "distill_opt", key] = (section, known["loss"])
    for key, section in _mapping(raw.get("datasets")).items():
        places["datasets", str(key)] = (section, known["dataset"])
        steps = _mapping(section).get("degradation")
        for place, step in _degradation_steps(("datasets", str(key), "degradation"), steps):
            places[place] = (step, known["degradation"])
    for key, section in _mapping(_mapping(raw.get("val")).get("metrics")).items():
        places["val", "metrics", str(key)] = (section, known["metric"])
    for place, (section, kind) in places.items():
        if isinstance(section, Mapping):
            yield TypedSection(place, section, kind, raw.get("scale", 1))


def _degradation_steps(place: tuple[str, ...], steps: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yields every step of a degradation with its place, including those in `choices`."""
    if isinstance(steps, Mapping):
        yield place, steps
        choices = steps.get("choices")
        for number, choice in enumerate(choices if isinstance(choices, list) else []):
            yield from _degradation_steps((*place, "choices", str(number)), choice)
    for number, step in enumerate(steps if isinstance(steps, list) else []):
        yield from _degradation_steps((*place, str(number)), step)


def recipe_problem(raw: Mapping[str, Any]) -> Iterator[LocatedProblem]:
    """Yields the error of an unknown `model_type`."""
    name = raw.get("model_type")
    if RECIPES and isinstance(name, str) and name not in RECIPES:
        yield (
            ("model_type",),
            {
                "type": "value_error",
                "msg": f"no recipe named '{name}'{suggest(name, [*RECIPES, *MODEL_TYPES])}",
            },
        )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


@cache
def arguments_model(factory: Any, supplied: frozenset[str]) -> type[BaseModel] | None:
    """Returns a model of the keyword arguments of `factory`, or None if it accepts any."""
    parameters = list(inspect.signature(factory).parameters.values())
    if any(p.kind is p.VAR_KEYWORD for p in parameters) or [p.name for p in parameters] == ["opt"]:
        return None
    hints = _hints(factory)
    fields: dict[str, Any] = {}
    for parameter in parameters:
        if parameter.name in supplied or parameter.kind is parameter.VAR_POSITIONAL:
            continue
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (hints.get(parameter.name, _type_of(default)), Field(default))
    config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, protected_namespaces=())
    return create_model(getattr(factory, "__name__", "Arguments"), __config__=config, **fields)


def _hints(factory: Any) -> dict[str, Any]:
    """Returns the annotations of constructors of hfsr; those of other packages name types that YAML lacks."""
    if not getattr(factory, "__module__", "").startswith("hfsr."):
        return {}
    return typing.get_type_hints(vars(factory)["__init__"] if inspect.isclass(factory) else factory)


def _whole_as_int(value: float) -> int | float:
    """Converts 8.0 to 8, which a width must be."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


_Number = Annotated[int | float, AfterValidator(_whole_as_int), WithJsonSchema({"type": "number"})]
"""An argument whose default is an integer; it may still take fractions (`weight_decay`, by default 0)."""


def _type_of(default: Any) -> Any:
    """Returns the type of an argument without annotations."""
    if isinstance(default, bool):
        return bool
    if isinstance(default, int):
        return _Number
    if isinstance(default, float):
        return float
    if isinstance(default, tuple) and all(isinstance(x, int | float) for x in default):
        return list[_Number] if all(isinstance(x, int) for x in default) else list[float]
    return Any
