"""What programs wrap around a state dict: containers, prefixes of keys, and tensors of counters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

__all__ = ["open_containers", "own_keys"]

_AVERAGED = ("params_ema", "params-ema", "state_dict_ema", "ema_state_dict", "model_ema", "netG_ema", "ema")
_PLAIN = (
    "params",
    "state_dict",
    "model_state_dict",
    "model",
    "net_g",
    "netG",
    "net",
    "generator",
    "network",
    "weights",
)
_PREFIXES = (
    "module.",
    "_orig_mod.",
    "net_g.",
    "netG.",
    "generator.",
    "model.",
    "net.",
    "network.",
)
"""Left by DataParallel, by torch.compile, and by trainers that hold the network as an attribute."""
_COUNTERS = ("total_ops", "total_params", "n_averaged")
"""Last parts of keys that thop and `torch.optim.swa_utils.AveragedModel` leave behind."""


def open_containers(content: Any, entry: str | None) -> tuple[Any, list[str]]:
    """Takes a state dict out of the dictionaries around it, averaged weights before plain ones.

    Args:
        content: what a file holds.
        entry: the name to look for first, where there is one.

    Returns:
        The innermost dictionary, and the names of the entries that led to it.
    """
    entries: list[str] = []
    while isinstance(content, Mapping):
        names = [name for name in (entry, *_AVERAGED, *_PLAIN) if isinstance(content.get(name), Mapping)]
        inner = next((name for name in names if content[name]), names[0] if names else None)
        if inner is None:
            break
        entries.append(inner)
        content = content[inner]
    return content, entries


def own_keys(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under a network's own keys: prefixes that all share are removed, in any order and number.

    One that only numbers follow stays: it is a network's own, as in ESRGAN's old layout.
    """
    kept = {key: t for key, t in tensors.items() if key.rpartition(".")[2] not in _COUNTERS}
    while kept:
        shared = next((prefix for prefix in _PREFIXES if all(key.startswith(prefix) for key in kept)), None)
        if shared is None or all(key[len(shared) : len(shared) + 1].isdigit() for key in kept):
            break
        kept = {key.removeprefix(shared): tensor for key, tensor in kept.items()}
    return kept
