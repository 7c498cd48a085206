"""Formats of model repositories on the Hub: their `config.json`, and the loading of their weights.

Besides model folders of hfsr, these formats are read: super-image (`pytorch_model_2x.pt`, one file per
scale), `PyTorchModelHubMixin` (`config.json` holds the constructor's arguments), and checkpoints without a
config.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from hfsr.archs import Evidence
from hfsr.checkpoints import read_file, read_model_folder
from hfsr.checkpoints.reading import check_config
from hfsr.errors import CheckpointError

__all__ = ["CONFIG", "README", "WEIGHTS", "load_downloaded", "read_config"]

CONFIG, WEIGHTS, README = "config.json", "model.safetensors", "README.md"


def read_config(path: Path, repo_id: str) -> dict[str, Any]:
    """Reads a `config.json` from the Hub.

    Raises:
        CheckpointError: the file is not a JSON object.
    """
    try:
        config = json.loads(path.read_bytes())
    except ValueError as error:
        raise CheckpointError(f"the {CONFIG} of '{repo_id}' on the Hub is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"the {CONFIG} of '{repo_id}' on the Hub is not a JSON object")
    return config


def load_downloaded(
    folder: Path,
    weights: str,
    config: Mapping[str, Any],
    scale: float | None,
    *,
    repo_id: str = "",
    model_args: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Loads a downloaded model strictly.

    Args:
        folder: folder with the files of the repository.
        weights: name of the weights file, from `choose_weights`.
        config: its `config.json`; empty if there is none.
        scale: the requested scale.
        repo_id: id of the repository, which may contain the scale.
        model_args: constructor arguments that the weights do not show.

    Returns:
        The network in eval mode.

    Raises:
        CheckpointError: the weights belong to no known network, or do not fit it.
    """
    if "architecture" in config:
        return read_model_folder(folder, model_args=model_args)
    # Before the weights are read: a config that hfsr wrote into them would hide another library's config.
    check_config(config, f"'{folder / weights}'")
    evidence = Evidence(names=(weights, repo_id), config=config)
    return read_file(folder / weights, lambda _: evidence, scale=scale, model_args=model_args)
