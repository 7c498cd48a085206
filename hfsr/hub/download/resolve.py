"""Loading of a model by its name, from a file, a folder, the package or the Hub: `from_pretrained`."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from hfsr import _resources, model_zoo
from hfsr.argument_checks import check_mapping, check_path, check_positive
from hfsr.checkpoints import at_scale, load_checkpoint, read_model_folder, read_state_dict
from hfsr.checkpoints.files import parse_config
from hfsr.checkpoints.int8_calibration import quantize_by_calibration
from hfsr.errors import CheckpointError, HubError, OptionsError, suggest
from hfsr.hub.cards.schema import current_task
from hfsr.model_zoo import Restorer

__all__ = [
    "Origin",
    "find_local",
    "float_model_of",
    "from_pretrained",
    "load_for_scale",
    "read_card",
    "task_in",
    "task_of",
]

FILES = (".safetensors", ".pth", ".pt", ".tar", ".ckpt", ".bin", ".mat", ".onnx", ".json")
HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def from_pretrained(
    name: str | Path,
    *,
    revision: str | None = None,
    scale: float | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
    token: str | bool | None = None,
    model_args: Mapping[str, Any] | None = None,
) -> Restorer:
    """Loads a model, strictly, ready for inference.

    Args:
        name: name of the model, looked up in this order: a bundled model ("hfsr-x2", or "hfsr-x2-int8" in
            8-bit integers), a local model folder or training run (`experiments/NAME`, of which the best
            weights are read, else the latest), a checkpoint file (.safetensors, .pth, .pt, .mat, .onnx
            written by hfsr), a model on the Hub ("owner/name").
        revision: branch, tag or commit on the Hub.
        scale: required scale; selects it if the weights serve several, a checkpoint leaves it open, or a
            repository holds a file for each scale.
        device: device of the weights; the CPU if None.
        dtype: dtype of the weights; float32 if None.
        cache_dir: folder for downloads; the Hub client's cache if None.
        local_files_only: use the cache only, without any request.
        force_download: download again what is in the cache.
        token: token of the Hub, for private and gated models; the stored one or HF_TOKEN if None, none if
            False.
        model_args: constructor arguments that the weights do not show, for example `{"img_range": 1}`.

    Returns:
        The network in eval mode: RGB float [0, 1], (B, 3, H, W) -> (B, 3, H*scale, W*scale).

    Raises:
        CheckpointError: no model has this name, its weights do not fit, or it has another scale.
        HubError: the Hub has no such model or revision, refuses it, or cannot be reached.
        OptionsError: a local model is given a revision, or the device is not available.
    """
    check_path("name", name)
    if scale is not None:
        check_positive("scale", scale)
    if model_args is not None:
        check_mapping("model_args", model_args)
    path = find_local(name)
    commit = None
    if path is None:
        downloads = _Downloads(revision, cache_dir, local_files_only, force_download, token)
        model, commit = _from_hub(str(name), downloads, scale, model_args)
    elif revision is not None:
        raise OptionsError(f"'{name}' is on this machine and has no revisions; leave 'revision' out")
    elif is_run_folder(path):
        from hfsr.hub.run_folder import read_run  # not at the top: it reads option files

        model = read_run(path).model
    elif path.is_dir():
        model = read_model_folder(path, scale=scale, model_args=model_args)
        if float_model_of(name) is not None:
            model = quantize_by_calibration(model, path / _resources.CALIBRATION_NAME)
    else:
        model = load_checkpoint(path, scale=scale, model_args=model_args)
    if scale is not None and getattr(model, "scale", 1) != scale:
        model = at_scale(model, scale, source=f"'{name}'")
    if path is None or path.is_dir():
        vars(model)["origin"] = Origin(str(name), commit, None if cache_dir is None else str(cache_dir))
    try:
        return cast(Restorer, model.to(device=device, dtype=dtype).eval())
    except (AssertionError, RuntimeError, TypeError) as error:  # torch raises any of these, by device type
        wanted = ", ".join(f"{key} {value}" for key, value in (("device", device), ("dtype", dtype)) if value)
        reason = str(error).strip().splitlines()[:1]
        raise OptionsError(f"cannot move the weights to {wanted} ({', '.join(reason)}); use cpu") from error


@dataclasses.dataclass(frozen=True)
class Origin:
    """Origin of a loaded network, stored as its attribute `origin`.

    Attributes:
        name: a bundled name, a model folder or an id on the Hub.
        commit: commit on the Hub; None for local models.
        cache_dir: folder of downloads; the Hub client's cache if None.
    """

    name: str
    commit: str | None = None
    cache_dir: str | None = None


@dataclasses.dataclass(frozen=True)
class _Downloads:
    """Arguments of `from_pretrained` for downloads."""

    revision: str | None
    cache_dir: str | Path | None
    local_files_only: bool
    force_download: bool
    token: str | bool | None


def load_for_scale(name: str | Path, scale: float) -> nn.Module:
    """Loads a model of this scale if there is one, else of a larger scale, whose results can be downscaled.

    Args:
        name: as for `from_pretrained`.
        scale: at least 1.

    Raises:
        CheckpointError: see `from_pretrained`; or the model does not reach the scale.
        HubError: see `from_pretrained`.
    """
    try:
        return from_pretrained(name, scale=scale)
    except CheckpointError as error:
        mismatch = error
    try:
        model: nn.Module = from_pretrained(name)
    except CheckpointError:
        model = _of_next_scale(name, scale, mismatch)
    if (largest := getattr(model, "scale", 1)) < scale:
        raise CheckpointError(
            f"'{name}' enlarges by {largest:g}, not by {scale:g}; use 1 to {largest:g}, or another model"
        ) from mismatch
    return model


def _of_next_scale(name: str | Path, scale: float, mismatch: CheckpointError) -> nn.Module:
    """Loads the next larger scale from a folder that holds several; raises `mismatch` if there is none."""
    for larger in (2, 3, 4, 8):
        if larger > scale:
            try:
                return from_pretrained(name, scale=larger)
            except CheckpointError:
                continue
    raise mismatch


def _from_hub(
    repo_id: str, downloads: _Downloads, scale: float | None, model_args: Mapping[str, Any] | None
) -> tuple[nn.Module, str]:
    """Loads a model from the Hub; returns it with its commit."""
    from .fetch import fetch_known_card, fetch_model  # not at the top: local models need no client
    from .repo_formats import load_downloaded

    downloaded = fetch_model(repo_id, scale=scale, **dataclasses.asdict(downloads))
    try:
        model = load_downloaded(
            downloaded.folder,
            downloaded.weights,
            downloaded.config,
            scale,
            repo_id=repo_id,
            model_args=model_args,
        )
    except CheckpointError as error:
        raise CheckpointError(str(error).replace(str(downloaded.folder), repo_id)) from error
    commit = downloaded.folder.name  # the cache names folders after commits
    if isinstance(downloads.token, str) and not downloads.local_files_only:
        # The token is not kept with the model, so the card that `save_pretrained` reads is cached now. Out of
        # reach, it does not matter for running the model; `save_pretrained` warns.
        with contextlib.suppress(HubError):
            fetch_known_card(repo_id, revision=commit, cache_dir=downloads.cache_dir, token=downloads.token)
    return model, commit


def is_run_folder(path: Path) -> bool:
    """Returns True for the folder of a training run, which holds its weights in `models`."""
    return (path / "models").is_dir() and not (path / "config.json").exists()


def float_model_of(name: str | Path) -> str | None:
    """Returns the bundled model of which this is the name in 8-bit integers; None for other names.

    A folder of the same name, such as `hfsr quantize` may have written, is found first.
    """
    if name not in _resources.int8_models() or Path(name).exists():
        return None
    return str(name).removesuffix(_resources.INT8_SUFFIX)


def find_local(name: str | Path) -> Path | None:
    """Finds the local folder or file of a name; None if it is an id on the Hub.

    Raises:
        CheckpointError: the name is neither a local model nor an id on the Hub.
    """
    original = float_model_of(name) or name
    if original in _resources.bundled_models():
        return _resources.path("weights", str(original))
    path = Path(name).expanduser()
    if path.exists():
        return path
    if path.suffix.lower() in FILES:
        raise CheckpointError(f"there is no checkpoint file '{name}'; check the path")
    if isinstance(name, str) and HUB_ID.fullmatch(name):
        return None
    bundled = [*_resources.bundled_models(), *_resources.int8_models()]
    raise CheckpointError(
        f"no model '{name}': it is not a bundled model{suggest(str(name), bundled)}, a folder or a file, "
        f"nor an id on the Hub, which has the form owner/name"
    )


def task_of(name: str | Path, model: nn.Module) -> str:
    """Returns the task in a model's config, or else the network's usual task.

    Args:
        name: name for `from_pretrained`; a model on the Hub must have been loaded before.
        model: the network; if it was loaded by this name, the config of its commit is read.
    """
    path = find_local(name)
    if path is None:
        from .fetch import cached_config  # not at the top: local models need no client

        origin = vars(model).get("origin")
        if isinstance(origin, Origin) and origin.name == str(name):
            config = cached_config(origin.name, revision=origin.commit, cache_dir=origin.cache_dir)
        else:
            config = cached_config(str(name))
        task = _task_of_config(config)
    else:
        task = task_in(path)
    return str(task or model_zoo.default_task(model))


def task_in(path: Path) -> str | None:
    """Returns the task in the config of a model folder or a safetensors file; None if there is none.

    Raises:
        CheckpointError: the folder or file cannot be read.
    """
    if is_run_folder(path):
        from hfsr.hub.run_folder import task_of_run  # not at the top: it reads option files

        values = {"task": task_of_run(path)}
    elif path.is_dir():
        config = path / "config.json"
        values = parse_config(config.read_text(encoding="utf-8"), f"'{config}'") if config.is_file() else {}
    else:
        values = read_state_dict(path)[1]["config"] or {} if path.suffix == ".safetensors" else {}
    return _task_of_config(values)


def _task_of_config(config: Mapping[str, Any]) -> str | None:
    task = config.get("task")
    return current_task(task) if isinstance(task, str) else None


def read_card(name: str) -> str:
    """Reads the card of a model.

    Args:
        name: a bundled name, a model folder or an id on the Hub.

    Raises:
        CheckpointError: there is no such local model, or it has no card.
        HubError: the Hub has no such model, it has no card, or the Hub cannot be reached.
    """
    if name in _resources.bundled_models():
        return _resources.path("model_cards", f"{name}.md").read_text(encoding="utf-8")
    if (original := float_model_of(name)) is not None:
        raise CheckpointError(f"'{name}' has no card of its own; name '{original}', of which it is made")
    folder = find_local(name)
    if folder is None:
        from .fetch import fetch_card  # not at the top: local models need no client

        return fetch_card(name)
    from hfsr.hub.cards.option_file import read_text

    from .repo_formats import README

    if not (folder / README).is_file():
        raise CheckpointError(f"'{name}' has no card: there is no {README} in it; name a model folder")
    return read_text(folder / README)
