"""Recipes of several networks give in two processes what one gives with the doubled batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import yaml

from .conftest import tiny_options, write_images
from .test_recipes import curve

STEPS = ("train:total_iter=6", "train:ema_decay=0", "val:val_freq=50", "logger:save_checkpoint_freq=50")


def train(folder, option_file, *arguments):
    """Trains in a process of its own; returns what it told."""
    folder.mkdir()
    command = [sys.executable, "-m", "hfsr", "train", "-opt", str(option_file), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.slow
def test_pairs_images_alone_and_the_kernel_sought(tmp_path):
    """Every learner of the closed loop, batches beside each other, means over processes in the loss."""
    option_file = tmp_path / "tiny.yml"
    option_file.write_text(yaml.safe_dump(tiny_options(write_images(tmp_path / "pictures"))))
    folder = write_images(tmp_path / "alone", size=(20, 18))
    alone = {"type": "SingleImageDataset", "dataroot_lq": str(folder)}
    words = [
        *STEPS,
        "model_type=DualModel",
        "network_g={type: DRN, num_feat: 4, num_block: 1, squeeze_factor: 4}",
        "network_dual={type: DRNDual, num_feat: 4, upscale: 2}",
        "train:optim_dual={type: Adam, lr: 1e-3}",
        "train:dual_opt={type: L1Loss, loss_weight: 0.1}",
        "train:adapt={start_iter: 1}",
    ]
    for name, batch, processes in (("one", 8, ()), ("two", 4, ("--num_processes", "2"))):
        section = json.dumps({**alone, "batch_size_per_gpu": batch})
        batches = (f"datasets:train:batch_size_per_gpu={batch}", f"datasets:unpaired={section}")
        told = train(tmp_path / name, option_file, *processes, "--force_yml", *words, *batches)
        assert f"in {len(processes) or 1} process(es)" in told
    one, two = (curve(tmp_path / name / "experiments" / "tiny")[1:] for name in ("one", "two"))
    for name in ("l_pix", "l_dual", "l_unpaired", "l_made", "l_kernel"):
        losses = [[float(row[name]) for row in rows] for rows in (one, two)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-5), name
    assert float(two[-1]["l_made"]) > 0
