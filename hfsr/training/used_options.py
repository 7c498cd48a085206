"""Keys of an option file that only some recipes read: a recipe that does not read them refuses them."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from hfsr.errors import OptionsError
from hfsr.options import TrainOptions
from hfsr.registry import RECIPES

__all__ = ["check_used_options", "paths_without_effect"]


def check_used_options(options: TrainOptions) -> None:
    """Checks that the recipe reads what the file says of the training.

    Raises:
        OptionsError: if keys are given that only other recipes read; the message names these recipes.
    """
    by_users: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for place, users in _unused(options).items():
        if not _is_path(place):
            by_users[users].append(place)
    told = []
    for users, places in by_users.items():
        several = len(places) > 1
        told.append(
            f"{', '.join(places)}: {options.model_type} does not use {'them' if several else 'it'}; leave "
            f"{'them' if several else 'it'} out, or set model_type to {' or '.join(users)}"
        )
    if told:
        raise OptionsError("; ".join(told))


def paths_without_effect(options: TrainOptions) -> list[str]:
    """Returns the keys of `path` for networks that the recipe does not have, which change no result."""
    return [
        f"{place} ({options.model_type} has no such network)" for place in _unused(options) if _is_path(place)
    ]


def _is_path(place: str) -> bool:
    return place.startswith("path.")


def _unused(options: TrainOptions) -> dict[str, tuple[str, ...]]:
    """Returns the given places that the recipe does not read, each with the recipes that do.

    A value that equals the default is not given: files for several recipes state it. A recipe without
    `options_read` may read anything.
    """
    read = getattr(RECIPES[options.model_type], "options_read", None)
    if read is None:
        return {}
    users: dict[str, list[str]] = defaultdict(list)
    for name in RECIPES:
        for place in getattr(RECIPES[name], "options_read", None) or ():
            users[place].append(name)
    unread = (place for place in sorted(users) if place not in read)
    return {place: tuple(users[place]) for place in unread if _is_given(options, place)}


def _is_given(options: TrainOptions, place: str) -> bool:
    """Returns True if the value at a place exists and is not the default."""
    *outer, key = place.split(".")
    section: Any = options
    for name in outer:
        section = getattr(section, name)
        if section is None:
            return False
    if isinstance(section, dict):
        return key in section
    default = type(section).model_fields[key].get_default(call_default_factory=True)
    return bool(getattr(section, key) != default)
