"""Whole networks as `torch.save(model)` leaves them: their tensors, without running any of their code.

Such a file names the classes of its modules and wants them imported and filled. Here nothing is imported and
nothing is called: every class becomes an inert stand-in that keeps the state it is given, and the tensors are
gathered from the places where `nn.Module` has them. A file that wants something called is refused, but for
paths, dates and the settings of known trainers, as Lightning and mmengine store them: these become stand-ins
too, whatever arguments they are given.
"""

from __future__ import annotations

import pickle
import tarfile
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.storage import TypedStorage

from hfsr.errors import CheckpointError

__all__ = ["ForeignCallError", "read_pickled_network"]

_DEEPEST = 60
"""Modules within modules; a file that goes deeper is a trap."""


class ForeignCallError(pickle.UnpicklingError):
    """The file wants a function called, or a class built with arguments.

    Attributes:
        name: of what it wants to call, "posix.system".
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"it would call {name}")
        self.name = name


class _NoCalls(type):
    """The class of stand-ins: one that refuses to be called."""

    origin: str

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        raise ForeignCallError(cls.origin)


class _StandIn(metaclass=_NoCalls):
    """An object of a class that is not imported. It has no attributes of its own that a file could set."""

    __slots__ = ("state",)
    origin = ""
    dump_patches = False  # torch asks the classes of old files
    state: Any

    def __new__(cls, *args: Any, **kwargs: Any) -> _StandIn:
        if args or kwargs:
            raise ForeignCallError(cls.origin)
        found = object.__new__(cls)
        found.state = {}
        return found

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _InertCalls(type):
    """The class of stand-ins of settings: a call gives another stand-in."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        made: Any = cls
        return object.__new__(made)


class _Setting(metaclass=_InertCalls):
    """A path, a date or a setting of a trainer, which no weight depends on; its content is dropped."""

    __slots__ = ()
    dump_patches = False

    def __new__(cls, *args: Any, **kwargs: Any) -> _Setting:
        return object.__new__(cls)

    def __setstate__(self, state: Any) -> None: ...

    def __setitem__(self, key: Any, value: Any) -> None: ...

    def append(self, item: Any) -> None: ...

    def extend(self, items: Any) -> None: ...

    def add(self, item: Any) -> None: ...


_SETTINGS = frozenset(
    {
        *(("pathlib", name) for name in ("Path", "PosixPath", "WindowsPath", "PurePosixPath")),
        *(("pathlib._local", name) for name in ("Path", "PosixPath", "WindowsPath", "PurePosixPath")),
        *(("datetime", name) for name in ("datetime", "date", "time", "timedelta", "timezone")),
        *(("collections", name) for name in ("Counter", "deque")),
        *(("numpy", name) for name in ("ndarray", "dtype")),
        *((f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core")),
        ("uuid", "UUID"),
        ("decimal", "Decimal"),
        ("functools", "partial"),
    }
)
"""Classes and functions whose calls in a file are harmless, as they are not made."""
_TRAINERS = (
    *("lightning", "pytorch_lightning", "lightning_fabric", "torchmetrics", "omegaconf", "hydra"),
    *("mmengine", "mmcv", "yacs", "easydict", "addict", "ml_collections", "munch"),
)
"""Packages whose objects in a checkpoint are settings or records."""


def _is_setting(module: str, name: str) -> bool:
    return (module, name) in _SETTINGS or module.partition(".")[0] in _TRAINERS


def _stand_in_for(module: str, name: str) -> type:
    return _NoCalls(name, (_StandIn,), {"__slots__": (), "origin": f"{module}.{name}"})


class _Parameter:
    """A parameter of a file: its tensor. What else the file says of it is dropped."""

    __slots__ = ("tensor",)

    def __init__(self, tensor: Any = None, *_: Any) -> None:
        self.tensor = tensor

    def __setstate__(self, state: Any) -> None:
        """PyTorch 0.3 said (requires_grad, volatile, hooks)."""


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    if not isinstance(storage, TypedStorage):
        raise pickle.UnpicklingError("a tensor without a storage")
    return torch._utils._rebuild_tensor(storage, offset, size, stride)


def _nothing(*_: Any) -> _StandIn:
    """In place of small values, like the device of a network, that no weight depends on."""
    return _StandIn.__new__(_StandIn)


def _dictionary(*_: Any) -> dict[Any, Any]:
    """In place of a `defaultdict`, without its factory."""
    return {}


def _names(entries: Any = (), *_: Any) -> frozenset[str]:
    return frozenset(entry for entry in entries if isinstance(entry, str))


_KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "defaultdict"): _dictionary,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _Parameter,
    ("torch.nn.parameter", "Parameter"): _Parameter,
    ("torch.nn.parameter", "Buffer"): _Parameter,
    **dict.fromkeys([("builtins", "set"), ("__builtin__", "set")], _names),
    **dict.fromkeys([("torch", "Size"), ("torch", "device"), ("_codecs", "encode")], _nothing),
    **dict.fromkeys(
        [("numpy", "dtype"), ("numpy.core.multiarray", "scalar"), ("numpy._core.multiarray", "scalar")],
        _nothing,
    ),
}
"""All that a file can reach; storages come from torch, by name."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if _is_setting(module, name) and (module, name) not in _KNOWN:
            return _Setting
        return _KNOWN.get((module, name)) or _stand_in_for(module, name)


def _load(file: Any, **arguments: Any) -> Any:
    return _Unpickler(file, **arguments).load()


_PICKLE = SimpleNamespace(Unpickler=_Unpickler, load=_load, __name__="pickle")


def read_pickled_network(path: Path) -> Any:
    """Reads a file in which a network was pickled whole.

    Returns:
        What the file holds, with a state dict in place of each network at the top or in a dict there.

    Raises:
        ForeignCallError: the file wants something called.
        CheckpointError: a network in it contains itself.
        Exception: it is broken, in any way it likes.
    """
    if tarfile.is_tarfile(path):
        raise pickle.UnpicklingError("a file of PyTorch 0.1")
    with warnings.catch_warnings():  # torch would compare the sources of the classes, of which there are none
        warnings.simplefilter("ignore")
        content = torch.load(path, map_location="cpu", pickle_module=_PICKLE, weights_only=False)
    if isinstance(content, _StandIn):
        return _state_dict_of(content, path)
    if not isinstance(content, Mapping):
        return content
    found = {key: value for key, value in content.items() if _is_module(value)}
    if len(found) == 1:  # whatever it is called there
        return {"model": _state_dict_of(next(iter(found.values())), path)}
    return {
        key: _state_dict_of(value, path) if key in found else _plain(value) for key, value in content.items()
    }


def _is_module(value: Any) -> bool:
    return (
        isinstance(value, _StandIn)
        and isinstance(value.state, Mapping)
        and isinstance(value.state.get("_parameters"), Mapping)
    )


def _plain(value: Any) -> Any:
    return value.tensor if isinstance(value, _Parameter) else value


def _state_dict_of(module: _StandIn, path: Path) -> dict[str, Any]:
    return dict(_entries(module, "", 0, path))


def _entries(module: Any, prefix: str, depth: int, path: Path) -> Iterator[tuple[str, Any]]:
    """What `nn.Module.state_dict` would list."""
    if not _is_module(module):
        if depth == 0:
            raise CheckpointError(
                f"'{path}' holds an object that is no network; save the network's state_dict()"
            )
        return
    if depth > _DEEPEST:
        raise CheckpointError(f"'{path}' holds a network that contains itself; download or save it again")
    state = module.state
    buffers = state.get("_buffers")
    hidden = state.get("_non_persistent_buffers_set")
    own = {**state["_parameters"], **(buffers if isinstance(buffers, Mapping) else {})}
    for name, value in own.items():
        if value is not None and not (isinstance(hidden, frozenset) and name in hidden):
            yield f"{prefix}{name}", _plain(value)
    parts = state.get("_modules")
    for name, part in parts.items() if isinstance(parts, Mapping) else ():
        yield from _entries(part, f"{prefix}{name}.", depth + 1, path)
