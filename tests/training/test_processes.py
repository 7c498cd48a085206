"""Two processes see what one process with the doubled batch sees."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from .conftest import tiny_options, write_images

STEPS = (
    *("train:total_iter=20", "train:ema_decay=0", "val:val_freq=50", "logger:save_checkpoint_freq=50"),
    "val:metrics={zncc: {type: calculate_zncc, crop_border: 2}}",
)
MEASURED = ("held_out/psnr_y", "held_out/ssim_y", "held_out/zncc")


def train(
    folder: Path, option_file: Path, *arguments: str, launcher: tuple[str, ...] = ()
) -> tuple[str, list, list]:
    """Trains in a process of its own; returns what it told, the losses, and the first measurement."""
    folder.mkdir()
    command = [sys.executable, *(launcher or ("-m",)), "hfsr", "train", "-opt", str(option_file), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    with (folder / "experiments" / "tiny" / "training_curve.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    losses = [float(row["l_pix"]) for row in rows if row["l_pix"]]
    return done.stderr, losses, [rows[0][name] for name in MEASURED]


@pytest.fixture(scope="module")
def option_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    path = folder / "tiny.yml"
    path.write_text(yaml.safe_dump(tiny_options(write_images(folder / "pictures"))))
    return path


@pytest.fixture(scope="module")
def one_process(option_file):
    batch = "datasets:train:batch_size_per_gpu=8"
    told, losses, measured = train(option_file.parent / "one", option_file, "--force_yml", *STEPS, batch)
    assert "in 1 process(es)" in told
    return losses, measured


def test_two_processes_give_the_losses_of_one_with_the_doubled_batch(tmp_path, option_file, one_process):
    arguments = ("--num_processes", "2", "--force_yml", *STEPS)
    told, losses, measured = train(tmp_path / "two", option_file, *arguments)
    assert "in 2 process(es)" in told
    assert "Warning" not in told
    assert len(losses) == 20
    assert losses == pytest.approx(one_process[0], rel=1e-5)
    assert measured == one_process[1], "three images, shared by two processes"


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher",
    [
        ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m"),
        pytest.param(
            (
                *("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"),
                *("--num_machines", "1", "--main_process_port", "0", "--mixed_precision", "no"),
                *("--dynamo_backend", "no", "--module"),
            ),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["torchrun", "accelerate"],
)
def test_the_launchers_of_others_give_the_same(tmp_path, option_file, one_process, launcher):
    overrides = ("--launcher", "pytorch", "--force_yml", *STEPS, "use_channels_last=true")
    told, losses, measured = train(tmp_path / "two", option_file, *overrides, launcher=launcher)
    assert "in 2 process(es)" in told
    assert losses == pytest.approx(one_process[0], rel=1e-5)
    assert [float(x) for x in measured] == pytest.approx([float(x) for x in one_process[1]], rel=1e-5)


def test_an_error_in_the_processes_is_one_line(tmp_path, option_file):
    broken = write_images(tmp_path / "broken")
    (broken / "1.png").write_bytes((broken / "1.png").read_bytes()[:100])
    arguments = ("--num_processes", "2", "--force_yml", f"datasets:train:dataroot_gt={broken}")
    command = [sys.executable, "-m", "hfsr", "train", "-opt", str(option_file), *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "1.png' is damaged or cut short" in done.stderr
