"""Registries of networks, losses, data sets, degradations, metrics and training recipes.

A registry is a read-only mapping from name to item. If a name is taken, registering raises and leaves the
registry unchanged. Losses and metrics have BasicSR's interface (`loss(**options)`,
`metric(img, img2, **options)`), so both programs can use them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from hfsr.errors import UnknownNameError, suggest

if TYPE_CHECKING:
    from hfsr.archs._spec import ArchSpec

__all__ = [
    "ARCHS",
    "DATASETS",
    "DEGRADATIONS",
    "FOREIGN_ARCHS",
    "LOSSES",
    "METRICS",
    "RECIPES",
    "SUFFIX",
    "Registry",
]

SUFFIX = "_hfsr"
"""Suffix of an hfsr item in BasicSR if its name is taken there; accepted in hfsr too, so that one option file
works in both."""

T = TypeVar("T")
D = TypeVar("D")


class Registry(Mapping[str, T], Generic[T]):
    """Mapping from names to items of one kind: those registered here, then those of borrowed mappings.

    Args:
        kind: name of the kind of items in error messages, for example "network".
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._items: dict[str, T] = {}
        self._former_names: dict[str, str] = {}
        self._borrowed: list[Mapping[str, T]] = []

    def register(self, item: T, *, name: str | None = None) -> T:
        """Adds `item` under `name` (default: its `__name__` or `name`); returns it, for use as a decorator.

        If the item has `former_names`, lookups find it under these names too.

        Raises:
            ValueError: the name is taken by another registered item; borrowed items do not count.
            TypeError: the item has no name.
        """
        key = name or getattr(item, "__name__", None) or getattr(item, "name", None)
        if not isinstance(key, str):
            raise TypeError(f"a {self.kind} needs a name: pass name=...")
        if key in self._items and self._items[key] is not item:
            raise ValueError(f"a {self.kind} named '{key}' is already registered; choose another name")
        self._items[key] = item
        self._former_names |= dict.fromkeys(getattr(item, "former_names", ()), key)
        return item

    def borrow(self, source: Mapping[str, T]) -> None:
        """Adds a live mapping in which names are looked up that are not registered here."""
        if all(source is not other for other in self._borrowed):
            self._borrowed.append(source)

    def own(self) -> dict[str, T]:
        """Returns the items registered here, without borrowed ones."""
        return dict(self._items)

    def __getitem__(self, name: str) -> T:
        """Returns an item; raises UnknownNameError with a suggestion if there is none."""
        for key, items in self._lookups(name):
            if key in items:
                return items[key]
        raise UnknownNameError(f"no {self.kind} named '{name}'{suggest(str(name), self)}")

    @overload
    def get(self, name: str, /) -> T | None: ...
    @overload
    def get(self, name: str, /, default: T | D) -> T | D: ...
    def get(self, name: str, /, default: Any = None) -> Any:
        """Returns the item, or `default` if there is none."""
        return self[name] if name in self else default  # noqa: SIM401  this is the implementation of get

    def __contains__(self, name: object) -> bool:
        return any(key in items for key, items in self._lookups(name))

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(set(self._items).union(*self._borrowed)))

    def __len__(self) -> int:
        return len(set(self._items).union(*self._borrowed))

    def _lookups(self, name: Any) -> Iterator[tuple[Any, Mapping[str, T]]]:
        """Yields the (name, mapping) pairs to try: own items, also by other names, then borrowed items."""
        yield name, self._items
        if isinstance(name, str):
            yield name.removesuffix(SUFFIX), self._items
            yield self._former_names.get(name), self._items
        for source in self._borrowed:
            yield name, source


ARCHS: Registry[ArchSpec] = Registry("network")
FOREIGN_ARCHS: Registry[Callable[..., Any]] = Registry("network of another package")
"""Networks of BasicSR and its plugins, filled by the bridge; they do not follow the contract of ARCHS."""
LOSSES: Registry[Callable[..., Any]] = Registry("loss")
DATASETS: Registry[Callable[..., Any]] = Registry("data set type")
DEGRADATIONS: Registry[Callable[..., Any]] = Registry("degradation")
METRICS: Registry[Callable[..., Any]] = Registry("metric")
RECIPES: Registry[Callable[..., Any]] = Registry("model_type")
