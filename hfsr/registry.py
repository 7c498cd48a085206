"""Where names meet things: networks, losses, data sets, metrics and training recipes.

A registry is a read-only mapping from name to item. Registering is transactional: an item whose name is taken
raises and leaves the registry unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from hfsr.errors import UnknownNameError, suggest

if TYPE_CHECKING:
    from hfsr.archs._spec import ArchSpec

__all__ = ["ARCHS", "DATASETS", "LOSSES", "METRICS", "RECIPES", "Registry"]

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """A mapping from public names to items of one kind.

    Args:
        kind: what an item is, in the words of an error message ("network").
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._items: dict[str, T] = {}

    def register(self, item: T, *, name: str | None = None) -> T:
        """Adds `item` under `name` (default: its `name` attribute or `__name__`) and returns it, so it decorates.

        Raises:
            ValueError: the name is taken by another item.
        """
        key = name or getattr(item, "name", None) or getattr(item, "__name__", None)
        if not isinstance(key, str):
            raise TypeError(f"a {self.kind} needs a name: pass name=...")
        if key in self._items and self._items[key] is not item:
            raise ValueError(f"a {self.kind} named '{key}' is already registered; choose another name")
        self._items[key] = item
        return item

    def __getitem__(self, name: str) -> T:
        """Raises UnknownNameError, naming the nearest registered name."""
        try:
            return self._items[name]
        except KeyError:
            raise UnknownNameError(f"no {self.kind} named '{name}'{suggest(name, self._items)}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._items))

    def __len__(self) -> int:
        return len(self._items)


ARCHS: Registry[ArchSpec] = Registry("network")
LOSSES: Registry[Callable[..., Any]] = Registry("loss")
DATASETS: Registry[Callable[..., Any]] = Registry("data set type")
METRICS: Registry[Callable[..., Any]] = Registry("metric")
RECIPES: Registry[Callable[..., Any]] = Registry("model_type")
