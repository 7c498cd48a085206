"""Reading of the tensors of whole networks that `torch.save(model)` pickled, without running their code.

Unpickling such a file would import the classes of its modules and fill their instances. This module imports
and calls nothing: every class becomes an inert stand-in that keeps its state, and the tensors are collected
from the attributes where `nn.Module` stores them. A file that calls a function is refused, except for
paths, dates and the settings of known trainers, as Lightning and mmengine store them: these become stand-ins
too, whatever their arguments are.
"""

from __future__ import annotations

import io
import pickle
import tarfile
import warnings
import zipfile
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

_MAGIC = bytes.fromhex("6cfc9c46f9206aa85019")
"""Number at the beginning of a file of `torch.save` before its archives; other pickles do not have it."""
_DEEPEST = 60
"""Maximum nesting depth of modules; a deeper file is malicious."""


class ForeignCallError(pickle.UnpicklingError):
    """Raised if a file calls a function, or builds a class with arguments.

    Attributes:
        name: name of the function or class, as "posix.system".
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"it would call {name}")
        self.name = name


class _NoCalls(type):
    """Metaclass of stand-ins: a call raises ForeignCallError."""

    origin: str

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        raise ForeignCallError(cls.origin)


class _StandIn(metaclass=_NoCalls):
    """Instance of a class that is not imported, without attributes that a file could set."""

    __slots__ = ("state",)
    origin = ""
    dump_patches = False  # torch reads it from the classes in old files
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
    """Metaclass of stand-ins for settings: a call returns another stand-in."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        made: Any = cls
        return object.__new__(made)


class _Setting(metaclass=_InertCalls):
    """Path, date or setting of a trainer, on which no weight depends; its content is dropped."""

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
        ("torch.torch_version", "TorchVersion"),
        ("uuid", "UUID"),
        ("decimal", "Decimal"),
        ("functools", "partial"),
    }
)
"""Classes and functions whose calls in a file are harmless, because they are not made."""
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
    """Parameter in a file: its tensor. Its other state is dropped."""

    __slots__ = ("tensor",)

    def __init__(self, tensor: Any = None, *_: Any) -> None:
        self.tensor = tensor

    def __setstate__(self, state: Any) -> None:
        """Ignores the state, which is (requires_grad, volatile, hooks) in PyTorch 0.3."""


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    if not isinstance(storage, TypedStorage):
        raise pickle.UnpicklingError("a tensor without a storage")
    return torch._utils._rebuild_tensor(storage, offset, size, stride)


def _storage(content: Any) -> Any:
    """Returns the storage of a tensor that the module pickle saved, whose bytes are a file of torch."""
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _nothing(*_: Any) -> _StandIn:
    """Replaces small values on which no weight depends, like the device of a network."""
    return _StandIn.__new__(_StandIn)


def _bytes(text: Any, *_: Any) -> bytes:
    """Returns the bytes that protocols before 3 store as text, one character each."""
    return str(text).encode("latin-1")


def _dictionary(*_: Any) -> dict[Any, Any]:
    """Replaces a `defaultdict`, without its factory."""
    return {}


def _names(entries: Any = (), *_: Any) -> frozenset[str]:
    return frozenset(entry for entry in entries if isinstance(entry, str))


_KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "defaultdict"): _dictionary,
    ("torch.storage", "_load_from_bytes"): _storage,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _Parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _Parameter,
    ("torch.nn.parameter", "Parameter"): _Parameter,
    ("torch.nn.parameter", "Buffer"): _Parameter,
    **dict.fromkeys([("builtins", "set"), ("__builtin__", "set")], _names),
    **dict.fromkeys([("torch", "Size"), ("torch", "device")], _nothing),
    ("_codecs", "encode"): _bytes,
    **dict.fromkeys(
        [("numpy", "dtype"), ("numpy.core.multiarray", "scalar"), ("numpy._core.multiarray", "scalar")],
        _nothing,
    ),
}
"""Everything that a file can reach; torch looks up storages by name."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if _is_setting(module, name) and (module, name) not in _KNOWN:
            return _Setting
        return _KNOWN.get((module, name)) or _stand_in_for(module, name)


def _load(file: Any, **arguments: Any) -> Any:
    return _Unpickler(file, **arguments).load()


_PICKLE = SimpleNamespace(Unpickler=_Unpickler, load=_load, __name__="pickle")


def read_pickled_network(path: Path) -> Any:
    """Reads a file that holds a whole pickled network, or was written by the module pickle itself.

    Returns:
        The content of the file, with a state dict in place of each network at the top level or in a dict
        there.

    Raises:
        ForeignCallError: the file calls a function.
        CheckpointError: a network in it contains itself.
        Exception: the file is broken; any type is possible.
    """
    if tarfile.is_tarfile(path):
        raise pickle.UnpicklingError("a file of PyTorch 0.1")
    if _is_saved_by_torch(path):
        with warnings.catch_warnings():  # torch would compare the sources of the classes, which do not exist
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", pickle_module=_PICKLE, weights_only=False)
    else:
        with path.open("rb") as file:
            content = _load(file, encoding="utf-8")
    if isinstance(content, _StandIn):
        return _state_dict_of(content, path)
    if not isinstance(content, Mapping):
        return content
    return {
        key: _state_dict_of(value, path) if _is_module(value) else _plain(value)
        for key, value in content.items()
    }


def _is_saved_by_torch(path: Path) -> bool:
    with path.open("rb") as file:
        return zipfile.is_zipfile(path) or _MAGIC in file.read(32)


def _is_module(value: Any) -> bool:
    return (
        isinstance(value, _StandIn)
        and isinstance(value.state, Mapping)
        and isinstance(value.state.get("_parameters"), Mapping)
    )


def _plain(value: Any) -> Any:
    """Returns the tensors of parameters, also of those in dictionaries."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return value.tensor if isinstance(value, _Parameter) else value


def _state_dict_of(module: _StandIn, path: Path) -> dict[str, Any]:
    return dict(_entries(module, "", 0, path))


def _entries(module: Any, prefix: str, depth: int, path: Path) -> Iterator[tuple[str, Any]]:
    """Yields the entries that `nn.Module.state_dict` would list."""
    if not _is_module(module):
        if depth == 0:
            raise CheckpointError(
                f"'{path}' holds an object that is not a network; save the network's state_dict()"
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
