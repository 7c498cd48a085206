"""The file that holds the weights, among those of a repository or folder that another library wrote."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hfsr.errors import CheckpointError, some_of

from .evidence import scales_in_name

__all__ = ["SHARDS", "choose_weights"]

_WEIGHTS = "model.safetensors"
_SUFFIXES = (".safetensors", ".pth", ".pt")
_OTHER_SUFFIXES = (".pth.tar", ".ckpt", ".bin")
"""Of checkpoints too, and of other things: they count where no file has one of the first."""
SHARDS = "model.safetensors.index.json"
"""Names the files in which the tensors of a large model are."""
_SUPER_IMAGE = re.compile(r"pytorch_model(_(?P<scale>\d)x)?\.pt")


def choose_weights(
    names: Sequence[str], config: Mapping[str, Any], scale: float | None, *, source: str
) -> str:
    """The file that holds the weights.

    Args:
        names: the files there are.
        config: the `config.json` among them; empty where there is none.
        scale: the scale asked for; decides between files of several.
        source: the folder or repository, to begin an error message.

    Raises:
        CheckpointError: there are no weights, or several, and nothing tells which.
    """
    if _WEIGHTS in names:
        return _WEIGHTS
    if SHARDS in names:
        return SHARDS
    candidates = [] if "architecture" in config else names
    files = [name for name in candidates if name.lower().endswith(_SUFFIXES)]
    files = files or [name for name in candidates if name.lower().endswith(_OTHER_SUFFIXES)]
    if not files:
        raise CheckpointError(
            f"{source} holds no weights that hfsr reads ({', '.join(_SUFFIXES)}), but "
            f"{some_of(sorted(names)) or 'no files'}"
        )
    if len(files) > 1 and scale is not None:
        files = [name for name in files if scale in scales_in_name(name)] or files
    if len(files) > 1:
        tell = "say scale= for one of them" if any(map(scales_in_name, files)) else "download one of them"
        raise CheckpointError(f"{source} holds several weights: {some_of(sorted(files))}; {tell}")
    found = _SUPER_IMAGE.fullmatch(files[0])
    if found and found["scale"] and scale is not None and int(found["scale"]) != scale:
        raise CheckpointError(f"{source} holds {files[0]} and none for scale {scale:g}")
    return files[0]
