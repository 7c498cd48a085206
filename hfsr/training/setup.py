"""Builds the accelerator, the networks and the data sets of an option file."""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs
from torch import nn
from tqdm import tqdm

from hfsr import bridge, model_zoo
from hfsr.data import (
    Batches,
    BatchesBesideUnpaired,
    ForeignSource,
    PairedFile,
    PatchSource,
    Progress,
    Stages,
    StoredPair,
)
from hfsr.errors import HfsrError, OptionsError
from hfsr.hub.download.datasets import PREFIX, local_folder
from hfsr.options import DatasetOptions, TrainOptions, Typed, read_options
from hfsr.registry import ARCHS, DATASETS

from .loop.mixed_precision import choose_precision
from .plugins import import_modules
from .used_options import keys_without_effect

__all__ = [
    "build_batches",
    "build_dataset",
    "build_network",
    "build_section",
    "channels_of",
    "check_channels",
    "files_of",
    "load_options",
    "make_accelerator",
    "patches_of",
    "training_section",
    "translate_compiler_errors",
    "without_effect",
]

logger = logging.getLogger("hfsr")

_ROOTS = ("dataroot_gt", "dataroot_lq")
_SHARDING = ("FSDP", "DEEPSPEED", "MEGATRON_LM", "PARALLELISM_CONFIG")
"""Suffixes of the variables ACCELERATE_USE_... by which `accelerate launch` requests sharding."""


def load_options(
    path: str | Path, overrides: Sequence[str] = (), modules: Sequence[str] = ()
) -> TrainOptions:
    """Reads an option file; unknown types are looked up in BasicSR and its plugins.

    Args:
        path: the file, or the name of a packaged one.
        overrides: changes of the form `a:b=c`.
        modules: modules to import besides those under the file's `import`.

    Raises:
        OptionsError: as `hfsr.options.read_options` does.
    """

    def more_types() -> None:
        with contextlib.suppress(HfsrError):  # without BasicSR the name stays unknown, which is an error
            bridge.install()

    return read_options(
        path, overrides, modules=modules, import_modules=import_modules, more_types=more_types
    )


def make_accelerator(options: TrainOptions) -> Accelerator:
    """Returns the accelerator for the device, the processes and the precision of the options.

    Args:
        options: the option file; `num_gpu: 0` selects the CPU.

    Raises:
        OptionsError: if a sharding engine is requested, or a precision that the device does not support.
    """
    sharding = [name for name in _SHARDING if os.environ.get(f"ACCELERATE_USE_{name}", "").lower() == "true"]
    if sharding:
        raise OptionsError(
            f"accelerate is set to shard the network ({sharding[0]}); these networks fit on one device: "
            "launch with --multi_gpu instead, which trains with DDP"
        )
    cpu = options.num_gpu == 0 or not torch.cuda.is_available()
    device = torch.device("cpu") if cpu else torch.device("cuda", torch.cuda.current_device())
    precision = choose_precision(options, device)
    AcceleratorState._reset_state()  # otherwise one process could not train with two precisions
    return Accelerator(
        mixed_precision=precision.mixed,
        cpu=cpu,
        dynamo_backend="inductor" if options.use_compile else None,
        kwargs_handlers=[DistributedDataParallelKwargs(gradient_as_bucket_view=True)],
    )


@contextlib.contextmanager
def translate_compiler_errors(compiled: bool) -> Iterator[None]:
    """Reports errors of torch.compile as errors of the option `use_compile`.

    Raises:
        HfsrError: if torch.compile cannot compile here, for example without a C++ compiler.
    """
    if not compiled:
        yield
        return
    from torch._dynamo.exc import BackendCompilerFailed

    try:
        yield
    except BackendCompilerFailed as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise HfsrError(f"use_compile: torch cannot compile here ({reason}); set it to false") from error


def without_effect(options: TrainOptions, source: PatchSource) -> list[str]:
    """Lists given keys of the file that are accepted for compatibility with BasicSR, without effect."""
    section, wandb = training_section(options), options.logger.wandb
    given = {
        "datasets.train.num_worker_per_gpu": section.num_worker_per_gpu and isinstance(source, ForeignSource),
        "datasets.train.prefetch_mode": section.prefetch_mode,
        "datasets.train.num_prefetch_queue": section.num_prefetch_queue,
        "val.pbar": options.val.pbar,
        "logger.wandb (without a project)": wandb is not None and wandb.project is None and wandb.resume_id,
        "dist_params (the launcher decides)": options.dist_params,
    }
    named = (word for word, value in given.items() if value)
    return [*named, *keys_without_effect(options), *options.without_effect]


def training_section(options: TrainOptions) -> DatasetOptions:
    """Returns the section of the training set.

    Raises:
        OptionsError: if it or the section `train` is missing.
    """
    if options.train is None or "train" not in options.datasets:
        raise OptionsError(
            "training needs the sections 'train' and 'datasets.train'; to measure only: hfsr test"
        )
    return options.datasets["train"]


def build_network(options: TrainOptions) -> nn.Module:
    """Builds `network_g`; its arguments include the file's scale, except for third-party networks."""
    return build_section(options.network_g, scale=options.scale)


def build_section(section: Typed, **defaults: Any) -> nn.Module:
    """Builds the network of a section with new weights; networks of hfsr also take `defaults`.

    Raises:
        OptionsError: if it cannot be built, or has weights without elements.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Initializing zero-element tensors")  # an error below
        if section.type in ARCHS:
            network = model_zoo.build(section.type, **{**defaults, **section.arguments})
        else:
            network = _foreign_network(section)
    empty = next((name for name, weight in network.named_parameters() if weight.numel() == 0), None)
    if empty:
        raise OptionsError(f"{section.type}: {empty} has no elements; widths must be 1 or more")
    return network


def _foreign_network(section: Typed) -> nn.Module:
    """Builds a network of another package, which checks its arguments itself, if at all.

    Raises:
        OptionsError: if it cannot be built.
    """
    factory = bridge.find_network(section.type)
    try:
        network: nn.Module = factory(**section.arguments)
    except (AssertionError, TypeError, ValueError) as error:
        raise OptionsError(f"{section.type} cannot be built from its arguments: {error}") from error
    return network


_CHANNEL_KEYS = (
    *("num_in_ch", "in_chans", "inp_channels", "in_channels", "img_channel", "in_nc", "num_channels"),
    "n_colors",
)
"""Names of the argument for input channels in networks of other packages."""


def channels_of(options: TrainOptions, network: nn.Module) -> int:
    """Returns the channels that `network_g` takes; third-party networks state them in their arguments."""
    if options.network_g.type in ARCHS:
        return model_zoo.input_channels(network)
    arguments = options.network_g.arguments
    return next((int(arguments[key]) for key in _CHANNEL_KEYS if isinstance(arguments.get(key), int)), 3)


def check_channels(options: TrainOptions, network: nn.Module) -> None:
    """Checks that data sets and networks have the same number of channels.

    Raises:
        OptionsError: if they have not.
    """
    channels, name = channels_of(options, network), options.network_g.type
    if channels not in (1, 3):
        raise OptionsError(
            f"network_g: {name} takes images of {channels} channels; images have 3 (RGB), or 1 with color: y "
            "in each data set"
        )
    stated = vars(network).get("model_args", options.network_g.arguments)
    given = stated.get("num_out_ch", channels)
    if given != channels:
        raise OptionsError(f"network_g: {name} takes {channels} channels and gives {given}; make them equal")
    for key, section in options.datasets.items():
        color = section.arguments.get("color", "rgb")
        if channels == 1 and color != "y":
            raise OptionsError(
                f"datasets.{key}.color: {name} takes images of one channel; write color: y, which provides "
                "their luma"
            )
        if channels == 3 and color == "y":
            raise OptionsError(
                f"datasets.{key}.color: y gives images of one channel, {name} takes 3; leave it out, or set "
                "the network's channels to 1"
            )
    if channels == 3 or options.train is None:
        return
    if options.train.pixel_y_channel or options.train.luma_opt:
        raise OptionsError("train: pixel_y_channel and luma_opt take RGB; with color: y leave them out")
    if options.network_d is not None and options.network_d.arguments.get("num_in_ch", 3) != 1:
        raise OptionsError("network_d.num_in_ch: must be 1, as the images have one channel with color: y")


def build_dataset(options: TrainOptions, key: str) -> Any:
    """Builds the data set of `datasets.<key>`: one of hfsr, or one of BasicSR from its option dictionary.

    Raises:
        DataError: if images are missing or do not pair.
        HubError: if a folder of the Hub, `hf://datasets/owner/name/folder`, cannot be downloaded.
    """
    section = options.datasets[key]
    factory = DATASETS[section.type]
    phase = key.split("_")[0]
    here = {word: _on_this_machine(root) for word, root in section.arguments.items() if word in _ROOTS}
    if getattr(factory, "__module__", "").startswith("hfsr."):
        return factory(**{**section.arguments, **here}, scale=options.scale, phase=phase)
    theirs = {**section.model_dump(), **here, "phase": phase, "scale": options.scale}
    theirs.setdefault("io_backend", {"type": "disk"})
    try:
        return factory(copy.deepcopy(theirs))  # data sets of BasicSR remove keys from the dictionary
    except KeyError as error:
        raise OptionsError(f"datasets.{key}: {section.type} needs the key {error}") from error
    except (AssertionError, AttributeError, TypeError, ValueError) as error:
        raise OptionsError(f"datasets.{key}: {section.type} cannot be built from it: {error}") from error


def _on_this_machine(root: Any) -> Any:
    """Returns a `dataroot`, or each of several; folders of the Hub are downloaded first."""
    if isinstance(root, list):
        return [_on_this_machine(one) for one in root]
    return str(local_folder(root)) if isinstance(root, str) and root.startswith(PREFIX) else root


def patches_of(dataset: Any, seed: int, progress: Progress | None = None) -> PatchSource:
    """Returns the patches of a data set for training; `progress` is called while images are read."""
    if hasattr(dataset, "patches"):
        return cast(PatchSource, dataset.patches(seed, progress))
    return ForeignSource(dataset, seed=seed)


def build_batches(options: TrainOptions, accelerator: Accelerator) -> Batches:
    """Reads the images and returns the training batches of this process.

    Raises:
        DataError, ImageError: if the images are missing, unreadable or do not pair.
    """
    batches = _batches_of("train", build_dataset(options, "train"), options, accelerator)
    if "unpaired" not in options.datasets:
        return batches
    alone = build_dataset(options, "unpaired")
    if getattr(alone, "lq_size", 0) is None:
        alone.lq_size = batches.source.batch(0, np.zeros(1, np.int64))["lq"].shape[-1]
    return BatchesBesideUnpaired(batches, _batches_of("unpaired", alone, options, accelerator))


def _batches_of(key: str, dataset: Any, options: TrainOptions, accelerator: Accelerator) -> Batches:
    section = options.datasets[key]
    silent = not accelerator.is_main_process or not sys.stderr.isatty()
    with tqdm(desc="reading images", leave=False, disable=silent) as bar:

        def advance(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        source = patches_of(dataset, options.manual_seed, advance)
    stages = None
    if section.gt_sizes and section.mini_batch_sizes and section.iters:
        largest = section.arguments.get("gt_size") or max(section.gt_sizes)
        sizes = [min(size, largest) for size in section.gt_sizes]
        stages = Stages(section.iters, section.mini_batch_sizes, sizes)
    return Batches(
        source,
        batch_size=section.batch_size_per_gpu,
        enlarge=section.dataset_enlarge_ratio,
        shuffle=section.use_shuffle,
        seed=options.manual_seed,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
        queue_size=section.queue_size,
        stages=stages,
        accum_iter=training_section(options).accum_iter,  # unpaired patches are drawn in step with the pairs
    )


def files_of(dataset: Any, key: str) -> list[PairedFile | StoredPair]:
    """Returns the images of a set for validation, or for restoration if it has no ground truth.

    Raises:
        OptionsError: if the data set provides patches but no files.
    """
    files = getattr(dataset, "files", None) or getattr(dataset, "singles", None)
    if files is None:
        raise OptionsError(
            f"datasets.{key}.type: {type(dataset).__name__} cannot be validated; use PairedImageDataset"
        )
    return list(files)
