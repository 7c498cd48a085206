"""Removal of what trainers store around a state dict: containers, key prefixes, other networks, counters."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from hfsr.errors import CheckpointError, HfsrWarning, some_of

__all__ = ["OwnTensors", "open_containers", "own_keys"]

_AVERAGED = (
    *("params_ema", "params-ema", "state_dict_ema", "ema_state_dict", "model_state_dict_ema"),
    *("model_ema", "ema_model", "netG_ema", "net_g_ema", "generator_ema", "ema"),
)
_PLAIN = (
    *("params", "state_dict", "model_state_dict", "model", "net_g", "netG", "net", "generator"),
    *("network", "weights"),
)
_PREFIXES = ("module.", "_orig_mod.", *(f"{name}." for name in (*_AVERAGED, *_PLAIN, "online_model")))
"""Key prefixes of DataParallel, torch.compile, and trainers that hold the network as an attribute."""
_WRAPPERS = re.compile(
    r"(?:^|(?<=\.))(?:_orig_mod|_checkpoint_wrapped_module|_fsdp_wrapped_module|(?<=\.)module)\."
)
"""Parts of keys, anywhere, that torch.compile, activation checkpointing, FSDP and DataParallel add."""
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
"""Last parts of keys that are no parameters, which averages of parameters leave out."""
_COUNTERS = ("total_ops", "total_params", "n_averaged")
"""Last parts of keys that thop and `torch.optim.swa_utils.AveragedModel` leave behind."""
_IS_AVERAGED = re.compile(r"(?:.*[_.-])?(?:ema|averaged?|avg|swa|shadow)(?:[_.-].*)?", re.IGNORECASE)
_IS_DISCRIMINATOR = re.compile(r"(?:net|model)?_?d(?:is|isc|iscriminator)?(?:[_.-].*)?", re.IGNORECASE)
_SHADOW = "shadow_params"
"""Entry of the exponential averages of torch_ema and diffusers: a list of parameters without names."""
_COMPANION = re.compile(
    r"(?:net|model)?_?d(?:isc|iscriminator)?|cri(?:terion)?(?:_.*)?|loss(?:es)?(?:_.*)?|.*_?loss(?:es|_fn)?|"
    r"perceptual.*|vgg\w*|lpips|clip|(?:train_|val_|test_)?(?:metrics?|psnr|ssim)(?:_.*)?|"
    r"data_preprocessor|step_counter|step|initted|num_updates|decay|teacher",
    re.IGNORECASE,
)
"""First parts of keys that a trainer stores with the network: discriminator, losses, metrics, counters."""


def open_containers(content: Any, entry: str | None) -> tuple[Any, list[str]]:
    """Extracts a state dict from nested dictionaries; averaged weights take precedence over plain ones.

    Args:
        content: the content of a file.
        entry: the name to look for first, or None.

    Returns:
        The innermost dictionary, and the names of the entries that led to it.

    Raises:
        CheckpointError: `content` holds several networks under unknown names.
    """
    entries: list[str] = []
    while isinstance(content, Mapping):
        content = _with_named_averages(content, entry)
        inner = _inner_entry(content, entry)
        if inner is None:
            break
        entries.append(inner)
        content = content[inner]
    return content, entries


def _inner_entry(content: Mapping[Any, Any], entry: str | None) -> str | None:
    """Returns the entry that holds the state dict; None if the dictionary itself is the state dict."""
    names = [name for name in (entry, *_AVERAGED, *_PLAIN) if isinstance(content.get(name), Mapping)]
    if names:
        filled = [name for name in names if content[name]]
        return next((name for name in filled if _holds_weights(content[name])), (filled or names)[0])
    if any(isinstance(value, Tensor) for value in content.values()):
        return None
    found = [name for name, value in content.items() if isinstance(name, str) and _holds_weights(value)]
    for chosen in (
        [name for name in found if _IS_AVERAGED.fullmatch(name)],
        [name for name in found if not _IS_DISCRIMINATOR.fullmatch(name) and not _COMPANION.fullmatch(name)],
    ):
        if len(chosen) == 1:
            return chosen[0]
    if len(found) > 1:
        raise CheckpointError(
            f"it holds several networks ({some_of(found)}), and their names do not show which one restores "
            "images; save the state dict of that network alone"
        )
    return found[0] if found else None


def _with_named_averages(content: Mapping[Any, Any], entry: str | None) -> Mapping[Any, Any]:
    """Returns the content with names for averaged parameters that stand in a list, in a network's order."""
    for name, value in content.items():
        shadow = value.get(_SHADOW) if isinstance(value, Mapping) else None
        if not isinstance(shadow, (list, tuple)):
            continue
        others = {other: held for other, held in content.items() if other != name}
        plain, entries = open_containers(others, entry)
        if not entries:
            continue
        keys = [key for key in plain if isinstance(key, str) and not key.endswith(_BUFFERS)]
        if [_shape(tensor) for tensor in shadow] == [_shape(plain[key]) for key in keys]:
            return {**others, "ema": {**plain, **dict(zip(keys, shadow, strict=True))}}
        warnings.warn(
            f"the averaged weights under '{name}' have no names and do not fit those under "
            f"'{'.'.join(entries)}', which are read instead",
            HfsrWarning,
            stacklevel=2,
        )
        return others
    return content


def _shape(tensor: Any) -> tuple[int, ...] | None:
    return tuple(tensor.shape) if isinstance(tensor, Tensor) else None


def _holds_weights(value: Any, depth: int = 3) -> bool:
    """Returns True for a state dict, or a dictionary that holds one.

    The dictionaries of an optimizer hold tensors too, but under names without a dot.
    """
    if not isinstance(value, Mapping) or not value:
        return False
    if all(isinstance(tensor, Tensor) for tensor in value.values()):
        return any(isinstance(key, str) and "." in key for key in value)
    return depth > 0 and any(_holds_weights(inner, depth - 1) for inner in value.values())


class OwnTensors(NamedTuple):
    """Tensors under a network's own keys.

    Attributes:
        tensors: the tensors.
        prefix: what was removed from the beginning of their keys, as "generator.".
        left_out: keys of other tensors in the file.
    """

    tensors: dict[str, Tensor]
    prefix: str
    left_out: list[str]


def own_keys(tensors: Mapping[str, Tensor]) -> OwnTensors:
    """Returns the tensors under a network's own keys: removes shared prefixes, in any order and number.

    A prefix that is followed only by numbers stays: it belongs to the network, as in ESRGAN's old layout.
    Other networks, losses and counters that a trainer stored with the network are left out.
    """
    kept = {key: t for key, t in tensors.items() if key.rpartition(".")[2] not in _COUNTERS}
    unwrapped = {_WRAPPERS.sub("", key): tensor for key, tensor in kept.items()}
    if len(unwrapped) == len(kept):  # else the parts are the network's own
        kept = unwrapped
    kept = _with_dotted_averages(kept)
    removed = ""
    while kept:
        prefix = _shared_prefix(kept) or _network_prefix(kept)
        if prefix is None:
            break
        kept = {key.removeprefix(prefix): t for key, t in kept.items() if key.startswith(prefix)}
        removed += prefix
    held = {id(tensor) for tensor in kept.values()}
    return OwnTensors(kept, removed, [key for key, tensor in tensors.items() if id(tensor) not in held])


def _with_dotted_averages(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns the tensors with the keys of averages as in the network beside them.

    The averages of latent diffusion (LitEma) hold the parameters of `model` as buffers of `model_ema`, whose
    names cannot contain dots. Buffers of the network have no average and are taken from it.
    """
    for prefix in {f"{key.partition('_ema.')[0]}_ema." for key in tensors if "_ema." in key}:
        network = prefix.removesuffix("_ema.") + "."
        plain = {key: tensor for key, tensor in tensors.items() if key.startswith(network)}
        dotless = {prefix + key.removeprefix(network).replace(".", ""): key for key in plain}
        averages = {key for key in tensors if key.startswith(prefix) and not _is_companion(key, prefix)}
        if averages and averages <= dotless.keys() and len(dotless) == len(plain):
            named = {
                prefix + key.removeprefix(network): tensors.get(average, plain[key])
                for average, key in dotless.items()
            }
            tensors = {key: t for key, t in tensors.items() if not key.startswith(prefix)} | named
    return tensors


def _is_companion(key: str, prefix: str) -> bool:
    return _COMPANION.fullmatch(key.removeprefix(prefix)) is not None


def _shared_prefix(tensors: Mapping[str, Tensor]) -> str | None:
    shared = next((prefix for prefix in _PREFIXES if all(key.startswith(prefix) for key in tensors)), None)
    if shared is None or all(key[len(shared) : len(shared) + 1].isdigit() for key in tensors):
        return None
    return shared


def _network_prefix(tensors: Mapping[str, Tensor]) -> str | None:
    """Returns the network's prefix if all other tensors belong to a trainer; averaged weights first."""
    parts = {key.partition(".")[0] for key in tensors}
    networks = [prefix for prefix in _PREFIXES if prefix[:-1] in parts]
    others = parts - {prefix[:-1] for prefix in networks}
    if not networks or not (others or len(networks) > 1):
        return None
    return networks[0] if all(_COMPANION.fullmatch(part) for part in others) else None
