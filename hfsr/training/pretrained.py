"""Initial weights from another run, from another scale or from the Hub."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from hfsr import hub
from hfsr.checkpoints import load_weights, read_state_dict
from hfsr.errors import CheckpointError, some_of
from hfsr.hub.download.resolve import is_run_folder
from hfsr.hub.run_folder import checkpoint_of_run
from hfsr.options import TrainOptions
from hfsr.registry import ARCHS

__all__ = ["Start", "load_pretrained"]

logger = logging.getLogger("hfsr")


@dataclass(frozen=True)
class Start:
    """Source of a network's initial weights."""

    name: str
    """Name in the option file."""
    copied: int
    """Number of copied tensors."""
    fresh: tuple[str, ...] = ()
    """Tensors that stay as initialized: the source lacks them or has another shape."""
    unused: tuple[str, ...] = ()
    """Tensors of the source that the network does not have."""

    def __str__(self) -> str:
        text = f"{self.copied} tensors start from '{self.name}'"
        if self.fresh:
            text += f"; re-initialized: {some_of(self.fresh, 40)}"
        return text + (f"; not used: {some_of(self.unused, 10)}" if self.unused else "")


def load_pretrained(options: TrainOptions, network: nn.Module, key: str = "g") -> Start | None:
    """Copies the weights that `path.pretrain_network_<key>` names, if it names any.

    Args:
        options: the file, also with `strict_load_<key>` (false copies the tensors that fit, for example those
            of another scale) and `param_key_<key>`.
        network: `network_<key>` with newly initialized weights.
        key: `g`, `d` or `dual`.

    Returns:
        A summary of the copied and the other tensors, or None without such weights.

    Raises:
        CheckpointError, HubError: if the weights cannot be found or read, do not fit while loaded strictly,
            or none of them fits.
    """
    name = getattr(options.path, f"pretrain_network_{key}")
    if name is None:
        return None
    tensors = _tensors(
        name, getattr(options, f"network_{key}").type, getattr(options.path, f"param_key_{key}")
    )
    if getattr(options.path, f"strict_load_{key}"):
        load_weights(network, tensors, source=f"'{name}'")
        return Start(name, len(tensors))
    own = network.state_dict()
    fresh = tuple(k for k in own if k not in tensors or tensors[k].shape != own[k].shape)
    if len(fresh) == len(own):
        raise CheckpointError(
            f"nothing in '{name}' fits this {type(network).__name__}: it holds {some_of(tensors)}"
        )
    unused = tuple(k for k in tensors if k not in own)
    load_weights(network, {k: own[k] if k in fresh else tensors[k] for k in own}, source=f"'{name}'")
    return Start(name, len(own) - len(fresh), fresh, unused)


def _tensors(name: str, arch: str, entry: str | None) -> Mapping[str, Tensor]:
    """Returns the tensors of a file or model, under the network's own keys."""
    path = Path(name).expanduser()
    if entry and path.is_dir() and is_run_folder(path):
        path = checkpoint_of_run(path) or path
    if not path.is_file():
        if entry:
            logger.warning("'%s' holds one set of weights, the published one; '%s' is not used", name, entry)
        return hub.from_pretrained(name).state_dict()
    tensors, found = read_state_dict(path, entry=entry)
    if entry and found["weights"] not in (None, entry):
        logger.warning("'%s' has no '%s'; its '%s' is read", name, entry, found["weights"])
    return ARCHS[arch].rename(tensors) if arch in ARCHS else tensors
