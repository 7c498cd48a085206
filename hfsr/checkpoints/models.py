"""Models on disk: a file with its config, a model folder, a released checkpoint."""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hfsr import __version__, model_zoo
from hfsr.archs import Evidence, input_ranges, quantize_layers
from hfsr.argument_checks import check_mapping, check_path, check_positive
from hfsr.atomic import replacing
from hfsr.errors import CheckpointError, HfsrError, OptionsError, some_of
from hfsr.registry import ARCHS

from .file_evidence import CONFIG_NAME, evidence_of_file
from .files import first_line, parse_config, read_state_dict, write_safetensors
from .identification import UnclaimedError, claim, load_weights
from .model_args import check_model_args, check_types
from .reading import build_network, network_of
from .repo_files import SHARDS, choose_weights
from .spandrel_networks import FOREIGN, ForeignNetwork, family_of_config, load_foreign

__all__ = [
    "CONFIG_NAME",
    "INT8_RANGES",
    "WEIGHTS_NAME",
    "at_scale",
    "config_of",
    "halved",
    "load_checkpoint",
    "load_run_checkpoint",
    "read_file",
    "read_model_folder",
    "save_checkpoint",
    "save_pth",
    "write_model_folder",
]

_log = logging.getLogger(__name__)

WEIGHTS_NAME = "model.safetensors"
INT8_RANGES = "int8_input_ranges"
"""Config key: the scale and zero point of the input of each 8-bit layer."""
_EVIDENCE = "evidence"
"""Config key: the value and the reason of each argument that was inferred at conversion."""


def load_checkpoint(
    path: str | Path,
    *,
    arch: str | None = None,
    scale: float | None = None,
    task: str | None = None,
    model_args: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Builds the network that a file's weights belong to and loads them.

    Args:
        path: a `.safetensors`, `.pth` or `.pt` file, written by hfsr or as released, or a model folder.
        arch: the network, if the tensors alone fit none or several; else it must agree.
        scale: the scale, if the tensors do not show it or serve every scale; else it must agree.
        task: the task of the weights, if it is known: it decides whether flat images can check them.
        model_args: constructor arguments that the tensors do not show, as `{"img_range": 1}`.

    Returns:
        The network on the CPU, in float32, in evaluation mode. Weights that belong to no registered network
        are read as one of spandrel's families, and returned as a `ForeignNetwork`.

    Raises:
        CheckpointError: the file cannot be read, or its weights do not fit.
        MissingDependencyError: no registered network has these weights, and spandrel is not installed.
        OptionsError: `model_args` has an unknown name, a value of another type, or contradicts the tensors.
        UnknownNameError: no network is called `arch`.

    Warns:
        HfsrWarning: the file has no config of hfsr, and either its scale is a guess, or its network changes
            images of one color and restores synthetic images badly, so that an argument may be wrong.
    """
    check_path("path", path)
    if scale is not None:
        check_positive("scale", scale)
    if model_args is not None:
        check_mapping("model_args", model_args)
    path = Path(path)
    model = (
        read_model_folder(path, scale=scale, model_args=model_args)
        if path.is_dir()
        else read_file(path, evidence_of_file, arch=arch, scale=scale, task=task, model_args=model_args)
    )
    if arch is not None and type(model) is not ARCHS[arch].cls:
        raise CheckpointError(f"'{path}' holds the network {type(model).__name__}, not {arch}")
    if scale is not None and _scale_of(model) != scale:
        model = at_scale(model, scale, source=f"'{path}'")
    return model


def load_run_checkpoint(
    path: str | Path, name: str, arguments: Mapping[str, Any], *, scale: float | None = None
) -> nn.Module:
    """Loads weights that were trained as a network of another package.

    Args:
        path: the checkpoint.
        name: name of the network in the option file (`network_g.type`).
        arguments: its constructor arguments there; they set what the tensors do not show.
        scale: scale of the option file.

    Raises:
        CheckpointError: neither a registered network nor a family of spandrel has these tensors, or they do
            not fit the arguments.
        MissingDependencyError: the network is not one of hfsr's, and spandrel is not installed.
    """
    source = f"'{path}' ({name})"
    state_dict, _ = read_state_dict(path)
    try:
        found = claim(state_dict)
    except UnclaimedError:
        return load_foreign(
            state_dict, source=source, scale=scale, names=(Path(path).name,), arguments=arguments
        )
    known = inspect.signature(found.spec.cls).parameters
    stated = {word: value for word, value in arguments.items() if word in known}
    return network_of(
        state_dict, source=source, evidence=Evidence(), arch=found.spec.name, scale=scale, model_args=stated
    )


def at_scale(model: nn.Module, scale: float, *, source: str) -> nn.Module:
    """Returns the same weights for another scale, if one set of weights serves every scale.

    Args:
        model: a registered network.
        scale: the requested scale.
        source: the loaded model, which begins an error message.

    Raises:
        CheckpointError: the weights serve one scale only, or the network cannot be built for this one.
        OptionsError: the network does not restore images.
    """
    model_zoo.check_restorer(model)
    spec = model_zoo.spec_of(model)
    if spec is None or not spec.multi_scale:
        raise CheckpointError(f"{source} enlarges by {model.scale}, not by {scale:g}")
    other = build_network(spec.name, {**vars(model)["model_args"], "upscale": scale}, source)
    reference = next(model.parameters())
    other.load_state_dict(model.state_dict(), strict=True)
    if _EVIDENCE in vars(model):
        vars(other)[_EVIDENCE] = vars(model)[_EVIDENCE]
    return other.to(device=reference.device, dtype=reference.dtype).train(model.training)


def read_file(
    path: Path,
    gather: Callable[[Path], Evidence],
    *,
    arch: str | None = None,
    scale: float | None = None,
    task: str | None = None,
    model_args: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Loads a single file, like `load_checkpoint`.

    Args:
        path: the file.
        gather: returns the evidence around the file; called only if the file has no config of hfsr.
        arch: see `load_checkpoint`.
        scale: see `load_checkpoint`.
        task: see `load_checkpoint`.
        model_args: see `load_checkpoint`.
    """
    source = f"'{path}'"
    state_dict, metadata = read_state_dict(path)
    if metadata["config"] is not None:
        return _load_by_config(
            metadata["config"], f"the config in {source}", state_dict, source, model_args
        ).eval()
    evidence = replace(gather(path), prefix=metadata["prefix"])
    if metadata.get("left_out"):
        _log.info("%s: left out %s", source, some_of(metadata["left_out"]))
    try:
        model = network_of(
            state_dict,
            source=source,
            evidence=evidence,
            arch=arch,
            scale=scale,
            task=task,
            model_args=model_args,
        )
    except UnclaimedError:
        model = load_foreign(
            state_dict, source=source, scale=scale, names=evidence.names, arguments=model_args
        )
        unknown = [name for name in model_args or {} if name not in model.model_args]
        if unknown:
            raise OptionsError(
                f"{source} belongs to no registered network, and spandrel's {model.family} has no argument "
                f"{some_of(unknown)}; leave it out"
            ) from None
    except CheckpointError as error:
        if str(error).startswith(source):
            raise
        raise CheckpointError(f"{source}: {error}") from error
    if metadata.get("left_out"):
        vars(model)["left_out"] = list(metadata["left_out"])
    return model


def config_of(model: nn.Module, *, task: str | None = None) -> dict[str, Any]:
    """Returns the content of `config.json`, from which the model can be built again.

    Args:
        model: a registered network, or one of spandrel's.
        task: the task it was trained for (default: the task of its network).

    Raises:
        CheckpointError: the model's class is not a registered network.
    """
    if isinstance(model, ForeignNetwork):
        return {
            "architecture": f"{FOREIGN}{model.family}",
            "model_args": {name: v for name, v in model.model_args.items() if name != "architecture"},
            "scale": model.scale,
            "task": task or model_zoo.default_task(model),
            "library": "hfsr",
            "hfsr_version": __version__,
        }
    spec = next((spec for spec in ARCHS.own().values() if spec.cls is type(model)), None)
    if spec is None:
        carried = model_zoo.spec_of(model)
        name = type(model).__name__ if carried is None else carried.name
        raise CheckpointError(f"{name} is not a registered network: add it with hfsr.register_arch first")
    config: dict[str, Any] = {
        "architecture": spec.name,
        "model_args": dict(vars(model)["model_args"]),
        "scale": _scale_of(model),
        "task": task or model_zoo.default_task(model),
        "library": "hfsr",
        "hfsr_version": __version__,
    }
    if vars(model).get(_EVIDENCE):
        config[_EVIDENCE] = dict(vars(model)[_EVIDENCE])
    ranges = input_ranges(model)
    return config | {INT8_RANGES: ranges} if ranges else config


def save_checkpoint(model: nn.Module, path: str | Path, *, task: str | None = None) -> None:
    """Writes a model as one `.safetensors` file that `load_checkpoint` reads without further arguments.

    Raises:
        CheckpointError: the path does not end in `.safetensors` or cannot be written, or the model is not
            registered.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise CheckpointError(f"'{path}' must end in .safetensors")
    write_safetensors(_own_tensors(model), path, config=config_of(model, task=task))


def _own_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Returns the tensors of a model under the keys by which it is read again.

    Raises:
        CheckpointError: spandrel does not recognize its network from these keys.
    """
    if not isinstance(model, ForeignNetwork):
        return model.state_dict()
    tensors = model.network.state_dict()
    arguments = {name: v for name, v in model.model_args.items() if name != "architecture"}
    load_foreign(
        tensors,
        source=f"the {model.family} network",
        scale=model.scale,
        family=model.family,
        arguments=arguments,
    )
    return tensors


def save_pth(model: nn.Module, path: str | Path) -> None:
    """Writes weights in BasicSR's format: a `.pth` that holds them under `params`.

    Raises:
        CheckpointError: the file cannot be written.
    """
    with replacing(path, error=CheckpointError, also=(RuntimeError,)) as partial:
        torch.save({"params": model.state_dict()}, partial)


def write_model_folder(model: nn.Module, folder: str | Path, *, task: str | None = None) -> None:
    """Writes `config.json` and `model.safetensors` into `folder`, which is created if needed.

    Raises:
        CheckpointError: the folder cannot be written, or the model is not registered.
    """
    folder = Path(folder)
    config, tensors = config_of(model, task=task), _own_tensors(model)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"cannot create the folder '{folder}': {first_line(error)}") from error
    write_safetensors(tensors, folder / WEIGHTS_NAME, config=config)
    with replacing(folder / CONFIG_NAME, error=CheckpointError) as partial:
        partial.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def read_model_folder(
    folder: str | Path,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    scale: float | None = None,
    model_args: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Loads the model of a folder that `write_model_folder` or another library wrote, in evaluation mode.

    Args:
        folder: holds `config.json` and `model.safetensors`, or the files that super-image or
            `PyTorchModelHubMixin` save.
        dtype: dtype of the parameters (default: float32).
        device: device of the model (default: the CPU).
        scale: the requested scale; selects among the files of another library.
        model_args: constructor arguments that replace those in the config.

    Raises:
        CheckpointError: a file is missing or broken, the architecture is unknown, or the weights do not fit.
    """
    folder = Path(folder)
    source = f"'{folder / CONFIG_NAME}'"
    if (folder / SHARDS).is_file() and not (folder / CONFIG_NAME).exists():
        model = read_file(folder / SHARDS, evidence_of_file, scale=scale, model_args=model_args)
        return model.to(device=device, dtype=dtype)
    try:
        text = (folder / CONFIG_NAME).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise CheckpointError(f"'{folder}' is not a model folder: there is no {CONFIG_NAME} in it") from error
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"cannot read {source}: {first_line(error)}") from error
    config = parse_config(text, source)
    if config and not {"architecture", "model_args"} & set(config):  # another library's
        names = sorted(path.name for path in folder.iterdir() if path.is_file())
        chosen = choose_weights(names, config, scale, source=f"'{folder}'")
        evidence = Evidence(names=(chosen,), config=config)
        model = read_file(folder / chosen, lambda _: evidence, scale=scale, model_args=model_args)
        return model.to(device=device, dtype=dtype)
    if family_of_config(config) is None:
        _check_buildable(config, source)
    is_sharded = (folder / SHARDS).is_file() and not (folder / WEIGHTS_NAME).exists()
    tensors_at = folder / (SHARDS if is_sharded else WEIGHTS_NAME)
    state_dict, _ = read_state_dict(tensors_at)
    model = _load_by_config(config, source, state_dict, f"'{tensors_at}'", model_args)
    return model.to(device=device, dtype=dtype).eval()


def halved(model: nn.Module, *, source: str) -> nn.Module:
    """Rounds the weights of a network to float16, which needs half the space; returns the network itself.

    Args:
        model: any network.
        source: the loaded model, which begins an error message.

    Raises:
        CheckpointError: a weight is too large for float16.
    """
    limit = torch.finfo(torch.float16).max
    tensors = {name: t for name, t in model.state_dict().items() if t.is_floating_point()}
    large = [name for name, tensor in tensors.items() if tensor.numel() and tensor.abs().max() > limit]
    if large:
        raise CheckpointError(
            f"{source} holds weights beyond float16's {limit:g}, as in '{large[0]}': keep float32"
        )
    return model.half()


def _load_by_config(
    config: Mapping[str, Any],
    source: str,
    state_dict: Mapping[str, Tensor],
    weights: str,
    model_args: Mapping[str, Any] | None,
) -> nn.Module:
    """Builds the network that a config states and loads its weights.

    Args:
        config: as `config_of` returns it.
        source: the origin of the config, which begins an error message.
        state_dict: the weights.
        weights: the origin of the weights, which begins an error message.
        model_args: constructor arguments that replace those in the config.
    """
    family = family_of_config(config)
    if family is None:
        model = _build_from_config(config, source, model_args)
        spec = ARCHS[config["architecture"]]
        if config["architecture"] != spec.name:  # an earlier version, which may have had other keys
            state_dict = spec.rename(state_dict)
        load_weights(model, state_dict, source=weights)
        return model
    scale, stated = config.get("scale"), config.get("model_args")
    foreign = load_foreign(
        state_dict,
        source=weights,
        scale=scale if isinstance(scale, (int, float)) else None,
        family=family,
        arguments={**(stated if isinstance(stated, dict) else {}), **(model_args or {})},
    )
    if scale is not None and foreign.scale != scale:
        raise CheckpointError(f"{source} states scale {scale}, but its weights are for x{foreign.scale}")
    return foreign


def _check_buildable(config: Mapping[str, Any], source: str) -> tuple[str, dict[str, Any]]:
    """Returns the registered network that a config states, and its constructor arguments.

    Raises:
        CheckpointError: the config states none.
    """
    arch, arguments = config.get("architecture"), config.get("model_args")
    if not isinstance(arch, str) or not isinstance(arguments, dict):
        raise CheckpointError(
            f"{source} does not state the network: it needs 'architecture' and 'model_args'"
        )
    if arch not in ARCHS:
        raise CheckpointError(
            f"{source} names the architecture '{arch}', which hfsr does not know; known are "
            f"{some_of(ARCHS.own(), 20)}, and what hfsr.register_arch adds"
        )
    return arch, arguments


def _build_from_config(
    config: Mapping[str, Any], source: str, model_args: Mapping[str, Any] | None = None
) -> nn.Module:
    arch, arguments = _check_buildable(config, source)
    if arch in ARCHS.own():
        try:
            check_types(ARCHS[arch], arguments, source=source)
        except OptionsError as error:
            raise CheckpointError(f"{error}; correct it, or save the model again") from error
    if model_args:
        arguments = {**arguments, **check_model_args(ARCHS[arch], {}, model_args, source=source)}
    model = build_network(arch, arguments, source)
    if isinstance(config.get(_EVIDENCE), dict):
        vars(model)[_EVIDENCE] = {str(name): str(reason) for name, reason in config[_EVIDENCE].items()}
    if config.get(INT8_RANGES):
        try:
            quantize_layers(model, config[INT8_RANGES])
        except (HfsrError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{source}: {first_line(error)}; quantize the model again") from error
    if config.get("scale", _scale_of(model)) != _scale_of(model):
        raise CheckpointError(
            f"{source} states scale {config['scale']}, but its model_args build x{model.scale}"
        )
    return model


def _scale_of(model: nn.Module) -> float:
    """Output px per input px; 1 for networks without an output image, as a discriminator."""
    return getattr(model, "scale", 1)
