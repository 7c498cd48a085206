"""Formats of model repositories on the Hub: which file holds the weights, and how it is loaded.

Besides model folders of hfsr, these formats are read: super-image's (`pytorch_model_2x.pt`, one file per
scale), those of `PyTorchModelHubMixin` (`config.json` holds the constructor's arguments), and bare
checkpoints.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from torch import nn

from hfsr import zoo
from hfsr.checkpoints import identify, load_checkpoint, load_weights, read_model_folder, read_state_dict
from hfsr.errors import CheckpointError, some_of
from hfsr.registry import ARCHS

__all__ = ["CONFIG", "README", "WEIGHTS", "choose_weights", "load_downloaded", "read_config"]

CONFIG, WEIGHTS, README = "config.json", "model.safetensors", "README.md"
SUFFIXES = (".safetensors", ".pth", ".pt")
SUPER_IMAGE = re.compile(r"pytorch_model(_(?P<scale>\d)x)?\.pt")
FIXED: dict[str, dict[str, Any]] = {
    # super-image's networks work on [0, 1], and its EDSR holds mean layers that it never calls.
    "EDSR": {"img_range": 1.0, "rgb_mean": [0.0, 0.0, 0.0]},
    "A2N": {"img_range": 1.0},
}
"""super-image's `model_type` of networks that are ours too -> what differs from the authors' release."""
UNUSED = ("sub_mean.", "add_mean.")


def read_config(path: Path, repo_id: str) -> dict[str, Any]:
    """Reads a `config.json` from the Hub.

    Raises:
        CheckpointError: it is not a JSON object.
    """
    try:
        config = json.loads(path.read_bytes())
    except ValueError as error:
        raise CheckpointError(f"the {CONFIG} of '{repo_id}' on the Hub is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"the {CONFIG} of '{repo_id}' on the Hub is no JSON object")
    return config


def choose_weights(
    names: Sequence[str], config: Mapping[str, Any], scale: float | None, *, repo_id: str
) -> str:
    """The file of a repository that holds the weights.

    Args:
        names: its files.
        config: its `config.json`; empty where there is none.
        scale: the scale asked for; decides between files of several.
        repo_id: for errors.

    Raises:
        CheckpointError: there are no weights, or several, and nothing tells which.
    """
    if WEIGHTS in names:
        return WEIGHTS
    files = [name for name in names if name.endswith(SUFFIXES) and "architecture" not in config]
    if not files:
        raise CheckpointError(
            f"'{repo_id}' on the Hub holds no weights that hfsr reads ({', '.join(SUFFIXES)}), but "
            f"{some_of(sorted(names)) or 'no files'}"
        )
    if len(files) > 1 and scale is not None:
        named = [name for name in files if f"{scale:g}" in _scales_in(name)]
        files = named or files
    if len(files) > 1:
        tell = (
            "say scale= for one of them"
            if any(_scales_in(name) for name in files)
            else "download one of them"
        )
        raise CheckpointError(
            f"'{repo_id}' on the Hub holds several weights: {some_of(sorted(files))}; {tell}"
        )
    found = SUPER_IMAGE.fullmatch(files[0])
    if found and found["scale"] and scale is not None and int(found["scale"]) != scale:
        raise CheckpointError(f"'{repo_id}' on the Hub holds {files[0]} and none for scale {scale:g}")
    return files[0]


def load_downloaded(folder: Path, weights: str, config: Mapping[str, Any], scale: float | None) -> nn.Module:
    """Loads a downloaded model strictly.

    Args:
        folder: where the files of the repository are.
        weights: from `choose_weights`.
        config: its `config.json`; empty where there is none.
        scale: the scale asked for.

    Returns:
        The network in eval mode.

    Raises:
        CheckpointError: the weights are no known network's, or do not fit it.
    """
    if "architecture" in config:
        return read_model_folder(folder)
    path = folder / weights
    if "model_type" in config:
        return _read_super_image(path, config, scale)
    if config:
        return _read_mixin(path, config, scale)
    return load_checkpoint(path, scale=scale)


def _read_super_image(path: Path, config: Mapping[str, Any], scale: float | None) -> nn.Module:
    kind = str(config["model_type"])
    if kind not in FIXED or config.get("bam") or config.get("no_upsampling"):
        extra = " with block attention" if config.get("bam") else ""
        raise CheckpointError(
            f"'{path}' holds the network '{kind}'{extra}, which is none of hfsr's; "
            f"of this kind it reads {', '.join(FIXED)}"
        )
    state_dict, _ = read_state_dict(path)
    spec, inferred, state_dict = identify(
        {key: tensor for key, tensor in state_dict.items() if not key.startswith(UNUSED)}
    )
    if spec.name != kind:
        raise CheckpointError(f"'{path}' holds the network {spec.name}, but its {CONFIG} says '{kind}'")
    found = SUPER_IMAGE.fullmatch(path.name)
    told = found["scale"] if found and found["scale"] else (scale or config.get("scale"))
    arguments = {**inferred, **FIXED[kind]}
    if told is not None:
        arguments.setdefault("upscale", int(told))
    if "res_scale" in config:
        arguments["res_scale"] = config["res_scale"]
    model = zoo.build(kind, **arguments)
    load_weights(model, state_dict, source=f"'{path}'")
    return model.eval()


def _read_mixin(path: Path, config: Mapping[str, Any], scale: float | None) -> nn.Module:
    """The tensors tell the network, the config what the constructor was told beyond their shapes."""
    state_dict, _ = read_state_dict(path)
    try:
        spec, inferred, state_dict = identify(state_dict)
    except CheckpointError as error:
        raise CheckpointError(f"'{path}': {error}") from error
    known = inspect.signature(ARCHS[spec.name].cls).parameters
    told = {("upscale" if word == "scale" else word): value for word, value in config.items()}
    arguments = {**inferred, **{word: value for word, value in told.items() if word in known}}
    if scale is not None and "upscale" in known:
        arguments.setdefault("upscale", scale)
    model = zoo.build(spec.name, **arguments)
    load_weights(model, state_dict, source=f"'{path}'")
    return model.eval()


def _scales_in(name: str) -> set[str]:
    """The scales that a file's name tells: "2" of "rcan_x2.pth", "edsr-2x.pt" and "x2/model.pth"."""
    found = re.findall(r"x(\d)(?!\d)|(?<!\d)(\d)x", PurePosixPath(name).as_posix(), re.IGNORECASE)
    return {digit for pair in found for digit in pair if digit}
