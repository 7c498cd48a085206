"""Choice of the weights file in a repository or folder that another library wrote."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hfsr.errors import CheckpointError, some_of

from .file_evidence import scales_in_name

__all__ = ["SHARDS", "choose_weights"]

_WEIGHTS = "model.safetensors"
_SUFFIXES = (".safetensors", ".pth", ".pt")
_OTHER_SUFFIXES = (".pth.tar", ".ckpt", ".bin")
"""Suffixes that other files have too: they count only if no file has one of `_SUFFIXES`."""
SHARDS = "model.safetensors.index.json"
"""Index of a sharded model: the file of each tensor."""
_SUPER_IMAGE = re.compile(r"pytorch_model(_(?P<scale>\d)x)?\.pt")


def choose_weights(
    names: Sequence[str], config: Mapping[str, Any], scale: float | None, *, source: str
) -> str:
    """Returns the name of the file that holds the weights.

    Args:
        names: names of all files.
        config: the `config.json` among them; empty if there is none.
        scale: the requested scale; selects among the files of several scales.
        source: the folder or repository, which begins an error message.

    Raises:
        CheckpointError: there are no weights, or several and the scale does not select one.
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
        tell = "select one with scale=" if any(map(scales_in_name, files)) else "download one of them"
        raise CheckpointError(f"{source} holds several weights: {some_of(sorted(files))}; {tell}")
    found = _SUPER_IMAGE.fullmatch(files[0])
    if found and found["scale"] and scale is not None and int(found["scale"]) != scale:
        raise CheckpointError(f"{source} holds {files[0]} and none for scale {scale:g}")
    return files[0]
