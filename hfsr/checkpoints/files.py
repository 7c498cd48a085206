"""Reading and atomic writing of tensor files."""

from __future__ import annotations

import json
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hfsr.atomic import replacing
from hfsr.errors import CheckpointError, some_of

from .containers import open_containers, own_keys
from .file_kinds import describe_content
from .matconvnet import read_matconvnet
from .onnx_file import read_onnx
from .pickled import ForeignCallError, read_pickled_network

__all__ = [
    "INDEX",
    "first_line",
    "parse_config",
    "read_state_dict",
    "read_weight_map",
    "write_safetensors",
]

_CONFIG_KEY = "hfsr_config"  # in the metadata of a safetensors file
_PICKLES = (".pth", ".pt", ".pth.tar", ".ckpt", ".bin")
INDEX = (".safetensors.index.json", ".bin.index.json")
"""Suffixes of the index that maps the tensors of a large model to its files."""
_POINTER = b"version https://git-lfs"


def read_state_dict(
    path: str | Path, *, entry: str | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads the tensors of a file on the CPU, under a network's own keys.

    Args:
        path: a `.safetensors`, `.pth` or `.pt` file, or a `.mat` file of MatConvNet. The tensors of a network
            that was pickled whole are read too; none of its code is run.
        entry: the preferred entry of a `.pth` that holds several networks ("params"), if it has that one.

    Returns:
        The tensors, and metadata: `weights`, the entry that they were taken from ("params_ema"
        before "params"; None if the file holds nothing else), `config`, as `config_of` returns it, or None,
        `prefix`, the beginning of their keys that was removed, and, if there are any, `left_out`, the keys of
        tensors that do not belong to the network.

    Raises:
        CheckpointError: the file does not exist, is not a checkpoint, is truncated, or is a pickle that calls
            a function.
        MissingDependencyError: scipy is not installed and the file is a `.mat` file.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint file '{path}'")
    weights: str | None = None
    name = path.name.lower()
    _refuse_pointer(path)
    if name.endswith(INDEX):
        tensors, config = _read_shards(path), None
    elif name.endswith(".onnx"):
        tensors, config = read_onnx(path)
    elif name.endswith(".mat"):
        tensors, config = read_matconvnet(path), None
    elif name.endswith(".safetensors") or (name.endswith(_PICKLES) and _is_safetensors(path)):
        tensors, config = _read_safetensors(path)
    elif name.endswith(_PICKLES):
        tensors, config, weights = _read_pickle(path, entry)
    else:
        kind = describe_content(path)
        raise CheckpointError(
            f"'{path}' is not a checkpoint: hfsr reads .safetensors, .pth, .pt, .mat, its own .onnx files, "
            f"and PyTorch's .pth.tar, .ckpt and .bin{f'; it is {kind}' if kind else ''}"
        )
    tensors, prefix, left_out = own_keys(tensors)
    if not tensors:
        raise CheckpointError(f"'{path}' holds no weights: save the network's state_dict()")
    if any(tensor.is_meta for tensor in tensors.values()):
        raise CheckpointError(
            f"'{path}' holds tensors without values (on the meta device); save the weights again"
        )
    metadata = {"weights": weights, "config": config, "prefix": prefix}
    return tensors, {**metadata, "left_out": left_out} if left_out else metadata


def _refuse_pointer(path: Path) -> None:
    """Raises CheckpointError for the pointer file that Git LFS leaves in place of a large file."""
    with path.open("rb") as file:
        if file.read(len(_POINTER)) == _POINTER:
            raise CheckpointError(
                f"'{path}' is a Git LFS pointer and not the file itself: run git lfs pull, or download it"
            )


def _refuse_other_content(path: Path) -> None:
    """Raises CheckpointError for an intact file whose content does not match its extension."""
    kind = describe_content(path)
    own = ".pth" if path.name.lower().endswith(_PICKLES) else path.suffix.lower()
    if kind is not None and not kind.endswith(f"name it {own}"):
        raise CheckpointError(f"'{path}' is not the checkpoint that its name suggests but {kind}") from None


def _is_safetensors(path: Path) -> bool:
    """Returns True if a file begins like the format: the length of a header, and the header's JSON."""
    with path.open("rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size


def read_weight_map(path: Path) -> dict[str, str]:
    """Reads the index of a sharded model: the file of each tensor.

    Raises:
        CheckpointError: the file is not such an index.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"cannot read '{path}': {first_line(error)}; download it again") from error
    places = parse_config(text, f"'{path}'").get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise CheckpointError(f"'{path}' has no 'weight_map' from tensors to files; download it again")
    return places


def _read_shards(path: Path) -> dict[str, Tensor]:
    """Reads the tensors of a sharded model, whose files are in the folder of the index."""
    places = read_weight_map(path)
    tensors: dict[str, Tensor] = {}
    for name in sorted(set(places.values())):
        shard = path.with_name(Path(name).name)
        if not shard.is_file():
            raise CheckpointError(f"'{path}' names '{name}', which is not next to it; download all shards")
        _refuse_pointer(shard)
        is_pickle = shard.name.lower().endswith(_PICKLES)
        tensors |= _read_pickle(shard, None)[0] if is_pickle else _read_safetensors(shard)[0]
    if missing := [key for key in places if key not in tensors]:
        raise CheckpointError(f"the shards of '{path}' lack tensors that it names: {some_of(missing)}")
    return tensors


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(_CONFIG_KEY)
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  it is not a mapping
    except (SafetensorError, OSError, ValueError) as error:
        _refuse_other_content(path)
        raise CheckpointError(
            f"'{path}' is not an intact safetensors file ({first_line(error)}); download or save it again"
        ) from error
    return tensors, None if text is None else parse_config(text, f"the metadata of '{path}'")


def _read_pickle(
    path: Path, entry: str | None
) -> tuple[dict[str, Tensor], dict[str, Any] | None, str | None]:
    """Reads the tensors, the config stored with them, and the names of the entries that hold them."""
    content = _load_inert(path)
    if isinstance(content, list) and all(isinstance(part, Mapping) for part in content):
        # Several networks in one file, as DRN's dual models: their keys begin with the index in the list.
        content = {f"{i}.{key}": value for i, part in enumerate(content) for key, value in part.items()}
    config = content.get("config") if isinstance(content, Mapping) else None
    try:
        content, entries = open_containers(content, entry)
    except CheckpointError as error:
        raise CheckpointError(f"'{path}': {error}") from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"'{path}' holds a {type(content).__name__}: save the network's state_dict()")
    strange = [str(key) for key, value in content.items() if not isinstance(value, Tensor)]
    if strange:
        raise CheckpointError(f"'{path}' holds entries that are not weights: {some_of(strange)}")
    tensors = {str(key): tensor.detach() for key, tensor in content.items()}
    return tensors, config if isinstance(config, dict) else None, ".".join(entries) or None


def _load_inert(path: Path) -> Any:
    """Reads the content of a PyTorch file without running any of its code."""
    if _is_torchscript(path):
        raise CheckpointError(
            f"'{path}' is a TorchScript program, which hfsr does not run; save the state dict of the network "
            "that it was made from"
        )
    try:
        try:
            with warnings.catch_warnings():  # of other protocols of pickle, which are read all the same
                warnings.simplefilter("ignore")
                return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:  # the file holds more than tensors, or is broken
            return read_pickled_network(path)
    except CheckpointError:
        raise
    except ForeignCallError as error:
        raise CheckpointError(
            f"'{path}' is refused: it holds '{error.name}' beside tensors, and loading that could run "
            "code; if you trust its origin, save its state dict alone"
        ) from error
    except Exception as error:  # a file that is not a checkpoint can raise any exception
        _refuse_other_content(path)
        raise CheckpointError(
            f"'{path}' is not an intact PyTorch checkpoint ({first_line(error)}); download or save it again"
        ) from error


def _is_torchscript(path: Path) -> bool:
    """Returns True if a PyTorch archive holds code, as `torch.jit.save` writes it."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.split("/")[1:2] == ["code"] for name in archive.namelist())


def parse_config(text: str, source: str) -> dict[str, Any]:
    """Parses the JSON object that describes a model.

    Raises:
        CheckpointError: the text is not a JSON object; the message begins with `source`.
    """
    try:
        config = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise CheckpointError(f"{source} is not JSON ({first_line(error)}); write it again") from error
    if not isinstance(config, dict):
        raise CheckpointError(
            f"{source} holds a {type(config).__name__} instead of a JSON object; write it again"
        )
    return config


def write_safetensors(tensors: Mapping[str, Tensor], path: Path, *, config: Mapping[str, Any]) -> None:
    """Writes tensors atomically, with the model's config in the metadata.

    Raises:
        CheckpointError: the file cannot be written.
    """
    # Copies, because the format allows neither two names for one tensor nor another memory format.
    copies = {
        key: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for key, tensor in tensors.items()
    }
    with replacing(path, error=CheckpointError, also=(SafetensorError,)) as partial:
        save_file(copies, partial, metadata={"format": "pt", _CONFIG_KEY: json.dumps(config)})
        _sort_metadata(partial)


def _sort_metadata(path: Path) -> None:
    """Sorts the metadata, whose order is random in safetensors, so that equal weights give equal files."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header = {"__metadata__": dict(sorted(header.pop("__metadata__").items())), **header}
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) <= size:  # the same text in another order; spaces fill the padding of the library
            file.seek(8)
            file.write(text.ljust(size))


def first_line(error: Exception) -> str:
    """Returns the first line of an error message, for use inside another message."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".")[:120] if lines else type(error).__name__
