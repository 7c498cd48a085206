"""Where names meet things: networks, losses, data sets, metrics and training recipes.

A registry is a read-only mapping from name to item. Registering is transactional: an item whose name is taken
raises and leaves the registry unchanged. Losses and metrics are called as BasicSR calls its own
(`loss(**options)`, `metric(img, img2, **options)`), so either program can use either's.
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
"""Ends our name in BasicSR where the plain one is taken; understood here too: one option file serves both."""

T = TypeVar("T")
D = TypeVar("D")


class Registry(Mapping[str, T], Generic[T]):
    """A mapping from public names to items of one kind, our own first and then what others lend.

    Args:
        kind: what an item is, in the words of an error message ("network").
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._items: dict[str, T] = {}
        self._borrowed: list[Mapping[str, T]] = []

    def register(self, item: T, *, name: str | None = None) -> T:
        """Adds `item` under `name` (default: its `__name__` or `name`) and returns it, so it decorates.

        Raises:
            ValueError: the name is taken by another item of ours; a borrowed one gives way.
            TypeError: the item has no name.
        """
        key = name or getattr(item, "__name__", None) or getattr(item, "name", None)
        if not isinstance(key, str):
            raise TypeError(f"a {self.kind} needs a name: pass name=...")
        if key in self._items and self._items[key] is not item:
            raise ValueError(f"a {self.kind} named '{key}' is already registered; choose another name")
        self._items[key] = item
        return item

    def borrow(self, source: Mapping[str, T]) -> None:
        """Answers names that we do not hold from `source` too, as it is at the time of asking."""
        if all(source is not known for known in self._borrowed):
            self._borrowed.append(source)

    def own(self) -> dict[str, T]:
        """What was registered here, without what is borrowed."""
        return dict(self._items)

    def __getitem__(self, name: str) -> T:
        """Raises UnknownNameError, naming the nearest registered name."""
        for key, items in self._places(name):
            if key in items:
                return items[key]
        raise UnknownNameError(f"no {self.kind} named '{name}'{suggest(str(name), self)}")

    @overload
    def get(self, name: str, /) -> T | None: ...
    @overload
    def get(self, name: str, /, default: T | D) -> T | D: ...
    def get(self, name: str, /, default: Any = None) -> Any:
        """The item, or `default` where there is none: what is asked for this way need not exist."""
        return self[name] if name in self else default  # noqa: SIM401  this is get

    def __contains__(self, name: object) -> bool:
        return any(key in items for key, items in self._places(name))

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(set(self._items).union(*self._borrowed)))

    def __len__(self) -> int:
        return len(set(self._items).union(*self._borrowed))

    def _places(self, name: Any) -> Iterator[tuple[Any, Mapping[str, T]]]:
        """Where to look, in order: ours by name, ours by its name in BasicSR, then what is borrowed."""
        yield name, self._items
        if isinstance(name, str):
            yield name.removesuffix(SUFFIX), self._items
        for source in self._borrowed:
            yield name, source


ARCHS: Registry[ArchSpec] = Registry("network")
FOREIGN_ARCHS: Registry[Callable[..., Any]] = Registry("network of another package")
"""Empty until the bridge lends it; what is there keeps no contract of ours, so it stands apart from ARCHS."""
LOSSES: Registry[Callable[..., Any]] = Registry("loss")
DATASETS: Registry[Callable[..., Any]] = Registry("data set type")
DEGRADATIONS: Registry[Callable[..., Any]] = Registry("degradation")
METRICS: Registry[Callable[..., Any]] = Registry("metric")
RECIPES: Registry[Callable[..., Any]] = Registry("model_type")
