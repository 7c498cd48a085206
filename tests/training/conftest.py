"""A run small enough to train in a second: images, options, and the engine on them."""

from __future__ import annotations

import copy
import multiprocessing
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from hfsr import training
from hfsr.options import TrainOptions

Options = Callable[..., TrainOptions]


def write_images(folder: Path, *, count: int = 3, size: tuple[int, int] = (40, 36)) -> Path:
    """Smooth random images: something to learn."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        coarse.resize(size, Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return folder


def tiny_options(folder: Path) -> dict[str, Any]:
    """An option file's content for the images in a folder."""
    return {
        "name": "tiny",
        "scale": 2,
        "num_gpu": 0,
        "manual_seed": 7,
        "datasets": {
            "train": {
                "type": "PairedImageDataset",
                "dataroot_gt": str(folder),
                "gt_size": 16,
                "batch_size_per_gpu": 4,
            },
            "val": {"name": "held_out", "type": "PairedImageDataset", "dataroot_gt": str(folder)},
        },
        "network_g": {"type": "EDSR", "num_feat": 4, "num_block": 1},
        "train": {
            "ema_decay": 0.9,
            "optim_g": {"type": "Adam", "lr": 1e-3},
            "scheduler": {"type": "MultiStepLR", "milestones": [4], "gamma": 0.5},
            "total_iter": 6,
            "pixel_opt": {"type": "L1Loss"},
        },
        "val": {"val_freq": 3},
        "logger": {"print_freq": 1, "save_checkpoint_freq": 2, "use_tb_logger": False},
    }


@pytest.fixture(scope="session")
def server() -> ForkServerContext:
    """Starts processes that have everything imported already, which takes longer than what they do."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["hfsr.training", "tests.training.test_resume", "tests.training.test_recipes_gan"]
    )
    return context


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write_images(tmp_path / "pictures")


@pytest.fixture
def option_file(tmp_path: Path, images: Path) -> Path:
    path = tmp_path / "tiny.yml"
    path.write_text(yaml.safe_dump(tiny_options(images)))
    return path


@pytest.fixture
def options(option_file: Path) -> Options:
    """Called with overrides, as --force_yml has them."""

    def read(*overrides: str) -> TrainOptions:
        return copy.deepcopy(training.load_options(option_file, overrides))

    return read
