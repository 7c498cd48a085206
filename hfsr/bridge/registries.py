"""Both directions of names: ours in BasicSR's registries, and everybody else's in ours."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import nn

import hfsr.archs  # importing registers our networks
import hfsr.losses  # noqa: F401  and our losses
from hfsr.errors import UnknownNameError, suggest
from hfsr.registry import ARCHS, DATASETS, FOREIGN_ARCHS, LOSSES, METRICS, SUFFIX, Registry

from .compat_patches import import_basicsr

__all__ = ["find_network", "install"]

_THEIR_SUFFIX = "_basicsr"
_log = logging.getLogger(__name__)


class _Foreign(Mapping[str, Any]):
    """What BasicSR's registry holds that is not ours, live: a plugin imported later is seen too.

    As in BasicSR, an entry `<Name>_basicsr` also answers to `<Name>` where that is free.

    Args:
        theirs: a registry of BasicSR.
        ours: the items that are ours and only travelled there.
    """

    def __init__(self, theirs: Any, ours: Callable[[], list[Any]]) -> None:
        self._theirs = theirs
        self._ours = ours

    def _items(self) -> dict[str, Any]:
        own = {id(item) for item in self._ours()}
        full = {name: item for name, item in self._theirs if id(item) not in own}
        short = {name.removesuffix(_THEIR_SUFFIX): item for name, item in full.items()}
        return {**short, **full}

    def get(self, name: str, default: Any = None) -> Any:
        """As `[]`; `<Name>_basicsr` is theirs of that name, where ours has it too."""
        items = self._items()
        return items.get(name, items.get(name.removesuffix(_THEIR_SUFFIX), default))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __getitem__(self, name: str) -> Any:
        found = self.get(name)
        if found is None:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._items())

    def __len__(self) -> int:
        return len(self._items())


_foreign: dict[str, _Foreign] = {}


def install() -> dict[str, str]:
    """Makes BasicSR's registries and ours meet; safe to call again, as after a new `register_arch`.

    Our networks, losses and metrics go into BasicSR's under their plain name where it is free, else as
    `<Name>_hfsr`; a foreign entry is never replaced. BasicSR's data sets, losses and metrics, and those of
    any plugin imported before or after, are found in our registries where we hold no such name ourselves.
    Networks of others are found by `find_network` and in FOREIGN_ARCHS, not in ARCHS: they keep no contract
    that we could state.

    Returns:
        the name of each of our networks in BasicSR's registry.

    Raises:
        MissingDependencyError: BasicSR is not installed.
    """
    import_basicsr()
    from basicsr.utils import registry as theirs

    if not _foreign:
        _foreign["ARCH"] = _Foreign(theirs.ARCH_REGISTRY, lambda: [spec.cls for spec in ARCHS.values()])
        FOREIGN_ARCHS.borrow(_foreign["ARCH"])
        for kind, ours in (("DATASET", DATASETS), ("LOSS", LOSSES), ("METRIC", METRICS)):
            _foreign[kind] = _Foreign(getattr(theirs, f"{kind}_REGISTRY"), _values_of(ours))
            ours.borrow(_foreign[kind])
    # Not our data sets: they serve our engine, and are not of the kind that BasicSR's loop reads.
    for registry, items in ((theirs.LOSS_REGISTRY, LOSSES.own()), (theirs.METRIC_REGISTRY, METRICS.own())):
        for name, item in items.items():
            _export(registry, name, item)
    exported = {name: _export(theirs.ARCH_REGISTRY, name, spec.cls) for name, spec in ARCHS.items()}
    return {name: there for name, there in exported.items() if there is not None}


def find_network(name: str) -> Callable[..., nn.Module]:
    """The class that `network_g.type` names: ours first, then BasicSR's or another plugin's.

    `<Name>_hfsr` is always ours and `<Name>_basicsr` never, so an option file can say which it means. A
    network that is not ours promises nothing beyond `nn.Module`: it has no `scale`, no `core`, no contract.

    Raises:
        UnknownNameError: nobody registered the name.
        MissingDependencyError: the name is not ours, and BasicSR is not installed.
    """
    if name in ARCHS:
        return ARCHS[name].cls
    install()
    foreign = _foreign["ARCH"]
    found = foreign.get(name)
    if found is None:
        raise UnknownNameError(f"no network named '{name}'{suggest(name, {*ARCHS, *foreign})}")
    return found


def _values_of(ours: Registry[Any]) -> Callable[[], list[Any]]:
    return lambda: list(ours.own().values())


def _export(registry: Any, name: str, item: Any) -> str | None:
    """Puts one of ours into a registry of BasicSR; returns its name there, None when both are taken."""
    there = dict(iter(registry))
    for candidate in (name, name + SUFFIX):
        if candidate not in there:
            # register() would take the class's own name, which need not be the name it is registered by here.
            registry._do_register(candidate, item)
            return candidate
        if there[candidate] is item:
            return candidate
    _log.warning(
        "BasicSR's registry holds foreign entries '%s' and '%s': ours stays out", name, name + SUFFIX
    )
    return None
