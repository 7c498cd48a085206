"""A run that is killed and goes on ends with the weights of a run that was left alone, bit for bit."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from hfsr import training
from hfsr.errors import CheckpointError
from hfsr.training.state import find_states, read_state

TOTAL = 150
LONG = (f"train:total_iter={TOTAL}", "val:val_freq=40", "logger:save_checkpoint_freq=1", "num_gpu=0")
SCRIPT = """
import sys
from pathlib import Path
import torch
from hfsr import training
torch.set_num_threads(1)
file, root, *overrides = sys.argv[1:]
training.train(training.load_options(file, overrides), auto_resume=True, root=Path(root))
"""


def start(option_file: Path, root: Path, *overrides: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", SCRIPT, str(option_file), str(root), *overrides]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


def iterations_done(root: Path) -> int:
    states = find_states(root / "experiments" / "tiny" / "training_states")
    return int(states[0].stem) if states else 0


def kill_after(run: subprocess.Popen[bytes], root: Path, iteration: int, delay: float) -> None:
    """SIGKILL some time after a state of `iteration` or later is there."""
    while iterations_done(root) < iteration:
        assert run.poll() is None, "the run ended before it could be killed"
        time.sleep(0.001)
    time.sleep(delay)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()


def weights(root: Path) -> bytes:
    return (root / "experiments/tiny/models/net_g_latest/model.safetensors").read_bytes()


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random_moments_it_ends_with_the_same_bits(tmp_path, option_file, kills):
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    undisturbed = start(option_file, alone, *LONG)
    seed = random.randrange(1000)
    rng = random.Random(seed)
    for kill in range(kills):
        run = start(option_file, killed, *LONG)
        after = iterations_done(killed) + rng.randint(kill > 0, 100 // kills)
        kill_after(run, killed, after, rng.uniform(0, 0.02))
        assert iterations_done(killed) < TOTAL, f"seed {seed}"
    assert start(option_file, killed, *LONG).wait() == 0
    assert undisturbed.wait() == 0
    assert weights(alone) == weights(killed), f"seed {seed}"
    first, second = (
        read_state(root / f"experiments/tiny/training_states/{TOTAL}.state") for root in (alone, killed)
    )
    assert first["best"] == second["best"]
    assert not list(killed.rglob("*.partial"))


def test_a_truncated_newest_state_falls_back_to_the_one_before_and_says_so(tmp_path, options, caplog):
    folder = training.train(options(), root=tmp_path)
    expected = weights(tmp_path)
    newest = folder / "training_states" / "6.state"
    newest.write_bytes(newest.read_bytes()[:1000])
    (folder / "models" / "net_g_latest" / "model.safetensors").unlink()
    with caplog.at_level(logging.INFO, logger="hfsr"):
        training.train(options(), auto_resume=True, root=tmp_path)
    assert "6.state' is damaged" in caplog.text
    assert "resuming after iteration 4" in caplog.text
    assert weights(tmp_path) == expected


def test_a_finished_run_is_left_as_it_is(tmp_path, options):
    training.train(options(), root=tmp_path)
    before = weights(tmp_path)
    training.train(options(), auto_resume=True, root=tmp_path)
    assert weights(tmp_path) == before


def test_a_lower_rate_in_the_file_counts_after_resuming(tmp_path, options):
    training.train(options(), root=tmp_path)
    changed = options("train:total_iter=8", "train:optim_g:lr=1e-5", "train:scheduler=~")
    folder = training.train(changed, auto_resume=True, root=tmp_path)
    rows = [line.split(",") for line in (folder / "training_curve.csv").read_text().splitlines()]
    assert float(rows[-1][rows[0].index("lr")]) == pytest.approx(1e-5)


def test_rows_of_the_curve_after_the_resumed_iteration_are_written_once(tmp_path, options):
    folder = training.train(options(), root=tmp_path)
    (folder / "training_states" / "6.state").unlink()
    training.train(options(), auto_resume=True, root=tmp_path)
    iterations = [line.split(",")[0] for line in (folder / "training_curve.csv").read_text().splitlines()]
    assert iterations == ["iter", "0", "1", "2", "3", "4", "5", "6"]


def test_a_named_state_is_resumed(tmp_path, options):
    folder = training.train(options(), root=tmp_path)
    expected = weights(tmp_path)
    state = folder / "training_states" / "2.state"
    training.train(options(f"path:resume_state={state}"), root=tmp_path)
    assert weights(tmp_path) == expected
    with pytest.raises(CheckpointError, match="there is no training state"):
        training.train(options("path:resume_state=absent.state"), root=tmp_path)


def test_a_state_holds_tensors_and_plain_values_only(tmp_path, options):
    folder = training.train(options(), root=tmp_path)
    state = torch.load(folder / "training_states" / "6.state", weights_only=True)
    assert state["iter"] == 6
    assert state["seen"] == 24
    assert {"networks", "averages", "optimizers", "best", "epoch"} <= state.keys()


FULL_DISK = """
import resource, sys
from pathlib import Path
from hfsr import training
from hfsr.errors import HfsrError
file, root, limit = sys.argv[1:]
options = training.load_options(file, ["train:total_iter=8"])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
try:
    training.train(options, auto_resume=True, root=Path(root))
except HfsrError as error:
    sys.exit(str(error))
"""


@pytest.mark.parametrize("full", ["state", "pth"])
def test_a_disk_that_is_full_keeps_the_state_before(tmp_path, options, option_file, full):
    """The kernel refuses every file beyond a size, as a full disk does."""
    folder = training.train(options(), root=tmp_path)
    before = read_state(folder / "training_states" / "6.state")
    sizes = {path.name: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    limit = sizes["6.state" if full == "state" else "net_g_6.pth"] - 100
    command = [sys.executable, "-c", FULL_DISK, str(option_file), str(tmp_path), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 1
    told = done.stderr.splitlines()[-1]
    assert "cannot write" in told
    assert ("8.state'" if full == "state" else ".pth'") in told
    assert "File too large" in told
    assert not list(tmp_path.rglob("*.partial"))
    assert {path.name for path in (folder / "training_states").iterdir()} == {"2.state", "4.state", "6.state"}
    after = read_state(folder / "training_states" / "6.state")
    assert all(
        torch.equal(tensor, after["networks"]["net_g"][key])
        for key, tensor in before["networks"]["net_g"].items()
    )
    training.train(options("train:total_iter=8"), auto_resume=True, root=tmp_path)
    assert read_state(folder / "training_states" / "8.state")["iter"] == 8
