"""Values of an option file by their place, with defaults, for the comparison of two files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .binding import TypedSection, typed_sections
from .sections import TrainOptions

__all__ = ["flat_options"]


def flat_options(options: TrainOptions) -> dict[str, Any]:
    """Returns every value by its place, as `train.optim_g.lr`; unstated arguments have their defaults.

    Sections without a value are left out. Lists are values. Two files that mean the same are equal.
    """
    content = options.model_dump(mode="json", by_alias=True)
    for section in typed_sections(content):
        target = content
        for key in section.place:
            if not isinstance(target, dict):
                break  # a step in a list
            target = target.get(key, {})
        if isinstance(target, dict):
            for key, value in _defaults(section).items():
                target.setdefault(key, value)
    return dict(_flat((), content))


def _defaults(section: TypedSection) -> dict[str, Any]:
    """Returns the defaults of the arguments of a type; none for types that accept any."""
    model = section.arguments()
    if model is None:
        return {}
    values = {key: field.default for key, field in model.model_fields.items() if not field.is_required()}
    if section.kind.title == "network":  # the engine passes the file's scale
        values |= {key: section.scale for key in ("upscale", "scale") if key in model.model_fields}
    return {key: _plain(value) for key, value in values.items()}


def _plain(value: Any) -> Any:
    """Converts a default to a value that a file may contain."""
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value if isinstance(value, str | int | float | bool | Mapping | None) else str(value)


def _flat(place: tuple[str, ...], value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat((*place, str(key)), inner)
    elif value is not None:
        yield ".".join(place), value
