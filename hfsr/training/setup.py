"""From options to the things that train: the accelerator, the network, the data."""

from __future__ import annotations

import contextlib
import copy
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.tracking import TensorBoardTracker
from accelerate.utils import DistributedDataParallelKwargs
from torch import nn
from tqdm import tqdm

from hfsr import bridge, hub, zoo
from hfsr.checkpoints import load_weights, read_state_dict
from hfsr.data import Batches, ForeignSource, PairedFile, PatchSource, Progress
from hfsr.errors import HfsrError, OptionsError, some_of
from hfsr.options import DatasetOptions, TrainOptions, read_options
from hfsr.registry import ARCHS, DATASETS

__all__ = [
    "build_batches",
    "build_dataset",
    "build_network",
    "files_of",
    "load_options",
    "load_pretrained",
    "make_accelerator",
    "patches_of",
    "training_section",
]

logger = logging.getLogger("hfsr")


def load_options(path: str | Path, overrides: Sequence[str] = ()) -> TrainOptions:
    """Reads an option file; types that are not ours are looked for in BasicSR and its plugins.

    Raises:
        OptionsError: as `hfsr.options.read_options`.
    """

    def more_types() -> None:
        with contextlib.suppress(HfsrError):  # without BasicSR the name stays unknown, which is then said
            bridge.install()

    return read_options(path, overrides, more_types=more_types)


def make_accelerator(options: TrainOptions, root: Path) -> Accelerator:
    """The device, the processes, the precision and the trackers.

    Args:
        options: `num_gpu: 0` forces the CPU.
        root: directory of `tb_logger`.
    """
    AcceleratorState._reset_state()  # else one process could not train twice with different precisions
    precision = ("bf16" if options.amp_bf16 else "fp16") if options.use_amp else "no"
    trackers = []
    if options.logger.use_tb_logger:
        # As an object: by name accelerate looks for the package tensorboard, which here is tb-nightly.
        trackers.append(TensorBoardTracker(options.name, str(root / "tb_logger")))
    return Accelerator(
        mixed_precision=precision,
        cpu=options.num_gpu == 0 or not torch.cuda.is_available(),
        dynamo_backend="inductor" if options.use_compile else None,
        log_with=trackers or None,
        kwargs_handlers=[DistributedDataParallelKwargs(gradient_as_bucket_view=True)],
    )


def training_section(options: TrainOptions) -> DatasetOptions:
    """The training set's section.

    Raises:
        OptionsError: there is none, or no `train` section.
    """
    if options.train is None or "train" not in options.datasets:
        raise OptionsError(
            "training needs the sections 'train' and 'datasets.train'; to measure only: hfsr test"
        )
    return options.datasets["train"]


def build_network(options: TrainOptions) -> nn.Module:
    """`network_g` with fresh weights; its scale is the file's."""
    return zoo.build(options.network_g.type, **{"scale": options.scale, **options.network_g.arguments})


def load_pretrained(options: TrainOptions, network: nn.Module) -> None:
    """Copies the weights that `path.pretrain_network_g` names, if it names any.

    Raises:
        CheckpointError, HubError: they cannot be found or read, or do not fit while `strict_load_g` is true.
    """
    name = options.path.pretrain_network_g
    if name is None:
        return
    path = Path(name).expanduser()
    if path.is_file():
        tensors = dict(ARCHS[options.network_g.type].rename(read_state_dict(path)[0]))
    else:
        tensors = hub.from_pretrained(name).state_dict()
    if not options.path.strict_load_g:
        own = network.state_dict()
        left = [key for key in own if key not in tensors or tensors[key].shape != own[key].shape]
        if left:
            logger.warning("'%s' does not fit everywhere; left as initialised: %s", name, some_of(left))
        tensors = {key: own[key] if key in left else tensors[key] for key in own}
    load_weights(network, tensors, source=f"'{name}'")


def build_dataset(options: TrainOptions, key: str) -> Any:
    """The data set of `datasets.<key>`: ours with our words, or BasicSR's with its option dictionary."""
    section = options.datasets[key]
    factory = DATASETS[section.type]
    phase = key.split("_")[0]
    if getattr(factory, "__module__", "").startswith("hfsr."):
        return factory(**section.arguments, scale=options.scale, phase=phase)
    theirs = {**section.model_dump(), "phase": phase, "scale": options.scale}
    theirs.setdefault("io_backend", {"type": "disk"})
    return factory(copy.deepcopy(theirs))  # BasicSR's take words out of the dictionary


def patches_of(dataset: Any, seed: int, progress: Progress | None = None) -> PatchSource:
    """What training draws from a data set; `progress` is told while pictures are read."""
    if hasattr(dataset, "patches"):
        return cast(PatchSource, dataset.patches(seed, progress))
    return ForeignSource(dataset, seed=seed)


def build_batches(options: TrainOptions, accelerator: Accelerator) -> Batches:
    """The training batches of this process; reads the pictures.

    Raises:
        DataError, ImageError: the pictures are missing, unreadable or do not pair.
    """
    section, dataset = training_section(options), build_dataset(options, "train")
    silent = not accelerator.is_main_process or not sys.stderr.isatty()
    with tqdm(desc="reading pictures", leave=False, disable=silent) as bar:

        def advance(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        source = patches_of(dataset, options.manual_seed, advance)
    return Batches(
        source,
        batch_size=section.batch_size_per_gpu,
        enlarge=section.dataset_enlarge_ratio,
        shuffle=section.use_shuffle,
        seed=options.manual_seed,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
    )


def files_of(dataset: Any, key: str) -> list[PairedFile]:
    """The pictures of a data set that is measured.

    Raises:
        OptionsError: a type that gives patches but no files.
    """
    if not hasattr(dataset, "files"):
        raise OptionsError(
            f"datasets.{key}.type: {type(dataset).__name__} cannot be measured; use PairedImageDataset"
        )
    return list(dataset.files)
