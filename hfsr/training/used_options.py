"""Keys of an option file that only some recipes read: a recipe that does not read them refuses them."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

from hfsr.errors import OptionsError
from hfsr.options import TrainOptions
from hfsr.registry import RECIPES

__all__ = ["check_used_options", "keys_without_effect", "unread_keys"]

_OF_ABSENT_NETWORKS = re.compile(r"path\..*|network_\w+|train\.(optim|net)_(d|dual)(_\w+)?")
"""Keys of networks beside the trained one. Without a loss for such a network they change no weight."""


def check_used_options(options: TrainOptions) -> None:
    """Checks that the recipe reads every key that is set.

    Raises:
        OptionsError: if keys are given that only other recipes read; the message names these recipes.
    """
    keys_by_recipes: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for key, recipes in _unused(options).items():
        if not _OF_ABSENT_NETWORKS.fullmatch(key):
            keys_by_recipes[recipes].append(key)
    messages = []
    for recipes, keys in keys_by_recipes.items():
        them = "them" if len(keys) > 1 else "it"
        messages.append(
            f"{', '.join(keys)}: {options.model_type} does not use {them}; leave {them} out, or set "
            f"model_type to {' or '.join(recipes)}"
        )
    if messages:
        raise OptionsError("; ".join(messages))


def keys_without_effect(options: TrainOptions) -> list[str]:
    """Returns the given keys of networks that the recipe does not have, which change no result."""
    keys = (key for key in _unused(options) if _OF_ABSENT_NETWORKS.fullmatch(key))
    return [f"{key} ({options.model_type} has no such network)" for key in keys]


def unread_keys(model_type: str) -> dict[str, tuple[str, ...]]:
    """Returns the keys that a recipe does not read, each with the recipes that do.

    A recipe of another package that has no `options_read` of its own may read anything.
    """
    recipe = RECIPES[model_type]
    is_own = recipe.__module__.startswith("hfsr.")
    read = getattr(recipe, "options_read", None) if is_own else vars(recipe).get("options_read")
    if read is None:
        return {}
    recipes: dict[str, list[str]] = defaultdict(list)
    for name in RECIPES:
        for key in getattr(RECIPES[name], "options_read", None) or ():
            recipes[key].append(name)
    return {key: tuple(recipes[key]) for key in sorted(recipes) if key not in read}


def _unused(options: TrainOptions) -> dict[str, tuple[str, ...]]:
    """Returns those of `unread_keys` that are given, with a value that differs from the default.

    Files for several recipes state defaults.
    """
    unread = unread_keys(options.model_type)
    return {key: recipes for key, recipes in unread.items() if _is_given(options, key)}


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
