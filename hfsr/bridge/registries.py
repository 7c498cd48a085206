"""Connection of the registries: hfsr's items in BasicSR's registries, and BasicSR's in ours."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import nn

import hfsr.archs
import hfsr.losses
import hfsr.metrics  # noqa: F401  importing registers networks, losses and metrics
from hfsr.errors import UnknownNameError, suggest
from hfsr.registry import ARCHS, DATASETS, FOREIGN_ARCHS, LOSSES, METRICS, SUFFIX, Registry

from .compat_patches import import_basicsr

__all__ = ["find_network", "install"]

_BASICSR_SUFFIX = "_basicsr"
_log = logging.getLogger(__name__)


class _ForeignItems(Mapping[str, Any]):
    """Live view of the items in a registry of BasicSR that hfsr did not export to it.

    Plugins that are imported later appear too. As in BasicSR, an entry `<Name>_basicsr` is also found as
    `<Name>` if that name is free.

    Args:
        theirs: a registry of BasicSR.
        ours: returns the items that hfsr exported to it.
    """

    def __init__(self, theirs: Any, ours: Callable[[], list[Any]]) -> None:
        self._theirs = theirs
        self._ours = ours

    def _items(self) -> dict[str, Any]:
        own = {id(item) for item in self._ours()}
        full = {name: item for name, item in self._theirs if id(item) not in own}
        short = {name.removesuffix(_BASICSR_SUFFIX): item for name, item in full.items()}
        return {**short, **full}

    def get(self, name: str, default: Any = None) -> Any:
        """Returns an item; `<Name>_basicsr` is BasicSR's item, even if hfsr has one called `<Name>`."""
        items = self._items()
        return items.get(name, items.get(name.removesuffix(_BASICSR_SUFFIX), default))

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


_foreign: dict[str, _ForeignItems] = {}


def install() -> dict[str, str]:
    """Connects the registries of BasicSR and hfsr; idempotent, call it again after `register_arch`.

    hfsr's networks, losses and metrics are added to BasicSR's registries under their own name if it is free,
    else as `<Name>_hfsr`; existing entries are never replaced. Data sets, losses and metrics of BasicSR and
    of plugins, imported before or after, are found in hfsr's registries if hfsr has no item of that name.
    Their networks are found by `find_network` and in FOREIGN_ARCHS, but not in ARCHS, because they do not
    follow the contract of hfsr's networks.

    Returns:
        The name in BasicSR's registry of each network of hfsr.

    Raises:
        MissingDependencyError: BasicSR is not installed.
    """
    import_basicsr()
    from basicsr.utils import registry as basicsr_registry

    if not _foreign:
        _foreign["ARCH"] = _ForeignItems(
            basicsr_registry.ARCH_REGISTRY, lambda: [spec.cls for spec in ARCHS.values()]
        )
        FOREIGN_ARCHS.borrow(_foreign["ARCH"])
        for kind, ours in (("DATASET", DATASETS), ("LOSS", LOSSES), ("METRIC", METRICS)):
            _foreign[kind] = _ForeignItems(getattr(basicsr_registry, f"{kind}_REGISTRY"), _values_of(ours))
            ours.borrow(_foreign[kind])
    # Data sets are not exported: BasicSR's training loop needs another interface.
    for registry, items in (
        (basicsr_registry.LOSS_REGISTRY, LOSSES.own()),
        (basicsr_registry.METRIC_REGISTRY, METRICS.own()),
    ):
        for name, item in items.items():
            _export(registry, name, item)
    exported = {name: _export(basicsr_registry.ARCH_REGISTRY, name, spec.cls) for name, spec in ARCHS.items()}
    return {name: exported_name for name, exported_name in exported.items() if exported_name is not None}


def find_network(name: str) -> Callable[..., nn.Module]:
    """Returns the network class for `network_g.type`: hfsr's, else that of BasicSR or a plugin.

    `<Name>_hfsr` always means hfsr's network and `<Name>_basicsr` never does, so an option file can be
    explicit. Networks of other packages are plain `nn.Module`s: they need not have `scale` or `core`.

    Raises:
        UnknownNameError: the name is not registered.
        MissingDependencyError: hfsr has no network of that name, and BasicSR is not installed.
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
    """Adds an item to a registry of BasicSR; returns its name there, or None if both names are taken."""
    entries = dict(iter(registry))
    for candidate in (name, name + SUFFIX):
        if candidate not in entries:
            # register() would use the name of the class, which may differ from its name in hfsr.
            registry._do_register(candidate, item)
            return candidate
        if entries[candidate] is item:
            return candidate
    _log.warning(
        "'%s' and '%s' are both taken in BasicSR's registry; the item of hfsr is not added",
        name,
        name + SUFFIX,
    )
    return None
