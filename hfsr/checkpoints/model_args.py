"""Check of constructor arguments that a user states because no tensor shows them: `--set`, `model_args=`."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from hfsr.archs import ArchSpec
from hfsr.errors import OptionsError, suggest

__all__ = ["check_model_args", "check_types"]


def check_model_args(
    spec: ArchSpec, fixed: Mapping[str, Any], model_args: Mapping[str, Any], *, source: str
) -> dict[str, Any]:
    """Checks the stated arguments against the constructor and the tensors.

    Args:
        spec: the network.
        fixed: constructor arguments that the tensors show.
        model_args: the arguments that the user states.
        source: the checkpoint, which begins an error message.

    Raises:
        OptionsError: a name is unknown, or a value is of another type or contradicts the tensors.
    """
    parameters = inspect.signature(spec.cls).parameters
    check_types(spec, model_args, source=source)
    checked = {}
    for name, value in model_args.items():
        if name not in parameters:
            raise OptionsError(f"{source}: {spec.name} has no argument '{name}'{suggest(name, parameters)}")
        if name in fixed and _plain(fixed[name]) != _plain(value):
            raise OptionsError(
                f"{source}: {name}={value!r} contradicts its tensors, which show {fixed[name]!r}; "
                f"leave {name} out"
            )
        checked[name] = value
    return checked


def check_types(spec: ArchSpec, arguments: Mapping[str, Any], *, source: str) -> None:
    """Raises OptionsError if an argument that the constructor has is of another type than it takes."""
    hints = typing.get_type_hints(spec.cls.__init__)
    for name, value in arguments.items():
        if not _is_a(value, hints.get(name, Any)):
            wanted = _describe_type(hints[name])
            raise OptionsError(f"{source}: {name}={value!r} is of the wrong type: {spec.name} takes {wanted}")


def _is_a(value: Any, hint: Any) -> bool:
    origin = typing.get_origin(hint)
    if hint is Any:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(_is_a(value, part) for part in typing.get_args(hint))
    if origin is typing.Literal:
        return value in typing.get_args(hint)
    if origin is not None and issubclass(origin, Sequence):
        (element, *_) = typing.get_args(hint)
        return isinstance(value, (list, tuple)) and all(_is_a(part, element) for part in value)
    if hint in (int, float):
        allowed = (int,) if hint is int else (int, float)
        return isinstance(value, allowed) and not isinstance(value, bool)
    return isinstance(hint, type) and isinstance(value, hint)


def _describe_type(hint: Any) -> str:
    names = {int: "an integer", float: "a number", bool: "true or false", str: "a string"}
    if typing.get_origin(hint) is typing.Literal:
        return "one of " + ", ".join(map(str, typing.get_args(hint)))
    return names.get(hint, "a list of numbers")


def _plain(value: Any) -> Any:
    return [round(float(part), 6) for part in value] if isinstance(value, (list, tuple)) else value
