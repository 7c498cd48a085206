"""A run that is killed and goes on ends with the weights of a run that was left alone, bit for bit."""

from __future__ import annotations

import logging
import os
import random
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
import torch

from hfsr import training
from hfsr.errors import CheckpointError
from hfsr.training.loop.device_placement import DevicePlacement
from hfsr.training.state.training_state import find_states, read_state


def train(option_file: Path, root: Path, total: int) -> None:
    """What each process does: goes on from what is there, and saves after every iteration."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    torch.set_num_threads(1)
    words = (f"train:total_iter={total}", "val:val_freq=25", "logger:save_checkpoint_freq=1", "num_gpu=0")
    training.train(training.load_options(option_file, words), auto_resume=True, root=root)


def iterations_done(root: Path) -> int:
    states = find_states(root / "experiments" / "tiny" / "training_states")
    return int(states[0].stem) if states else 0


def kill_after(run: ForkServerProcess, root: Path, iteration: int, delay: float) -> None:
    """SIGKILL some time after a state of `iteration` or later is there."""
    while iterations_done(root) < iteration:
        assert run.exitcode is None, "the run ended before it could be killed"
        time.sleep(0.001)
    time.sleep(delay)
    run.kill()
    run.join()
    assert run.exitcode == -signal.SIGKILL


def weights(root: Path) -> bytes:
    return (root / "experiments/tiny/models/net_g_latest/model.safetensors").read_bytes()


@pytest.mark.parametrize(("kills", "total"), [(2, 30), pytest.param(20, 120, marks=pytest.mark.slow)])
def test_killed_at_random_moments_it_ends_with_the_same_bits(tmp_path, option_file, server, kills, total):
    def start(root: Path) -> ForkServerProcess:
        run = server.Process(target=train, args=(option_file, root, total))
        run.start()
        return run

    alone, killed = tmp_path / "alone", tmp_path / "killed"
    undisturbed = start(alone)
    seed = random.randrange(1000)
    rng = random.Random(seed)
    for kill in range(kills):
        run = start(killed)
        after = iterations_done(killed) + rng.randint(kill > 0, 2 * total // (3 * kills))
        kill_after(run, killed, after, rng.uniform(0, 0.02))
        assert iterations_done(killed) < total, f"seed {seed}"
    for run in (start(killed), undisturbed):
        run.join()
        assert run.exitcode == 0
    assert weights(alone) == weights(killed), f"seed {seed}"
    first, second = (
        read_state(root / f"experiments/tiny/training_states/{total}.state") for root in (alone, killed)
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


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """The kernel refuses every file beyond `limit` bytes, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("full", ["state", "pth"])
def test_a_disk_that_is_full_keeps_the_state_before(tmp_path, options, full):
    folder = training.train(options(), root=tmp_path)
    before = read_state(folder / "training_states" / "6.state")
    sizes = {path.name: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    limit = sizes["6.state" if full == "state" else "net_g_6.pth"] - 100
    with (
        full_disk(limit),
        pytest.raises(CheckpointError, match=r"cannot be written .*File too large") as caught,
    ):
        training.train(options("train:total_iter=8"), auto_resume=True, root=tmp_path)
    told = str(caught.value)
    assert "\n" not in told
    assert ("8.state'" if full == "state" else ".pth'") in told
    assert not list(tmp_path.rglob("*.partial"))
    assert {path.name for path in (folder / "training_states").iterdir()} == {"2.state", "4.state", "6.state"}
    after = read_state(folder / "training_states" / "6.state")
    assert all(
        torch.equal(tensor, after["networks"]["net_g"][key])
        for key, tensor in before["networks"]["net_g"].items()
    )
    training.train(options("train:total_iter=8"), auto_resume=True, root=tmp_path)
    assert read_state(folder / "training_states" / "8.state")["iter"] == 8


def test_progressive_training_stays_in_its_stage_when_the_batch_changes(tmp_path, options, monkeypatch):
    sides = []
    original = DevicePlacement.batch

    def recorded(self, batch):
        sides.append(batch["gt"].shape[-1])
        return original(self, batch)

    monkeypatch.setattr(DevicePlacement, "batch", recorded)
    stages = ("gt_sizes=[8, 16, 32]", "iters=[2, 2, 2]", "mini_batch_sizes=[4, 4, 4]", "gt_size=32")
    words = [f"datasets:train:{word}" for word in stages]
    training.train(options(*words, "train:total_iter=4"), root=tmp_path)
    assert sides == [8, 8, 16, 16]
    larger = ("datasets:train:batch_size_per_gpu=8", "datasets:train:accum_iter=2")
    training.train(options(*words, *larger), auto_resume=True, root=tmp_path)
    assert sides[4:] == [32] * 4


def test_a_seed_that_is_drawn_is_told_and_kept_when_resuming(tmp_path, options, caplog):
    def told() -> list[str]:
        return [line for r in caplog.records if "was drawn" in (line := r.getMessage())]

    with caplog.at_level(logging.INFO, logger="hfsr"):
        folder = training.train(options("manual_seed=~", "train:total_iter=4"), root=tmp_path)
        seed = read_state(folder / "training_states" / "4.state")["options"]["manual_seed"]
        assert told() == [f"manual_seed: {seed} was drawn; write it into the file to repeat this run"]
        training.train(options("manual_seed=~"), auto_resume=True, root=tmp_path)
        assert told()[1:] == told()[:1]
    resumed = weights(tmp_path)
    training.train(options(f"manual_seed={seed}"), root=tmp_path / "again")
    assert weights(tmp_path / "again") == resumed
    assert len({options("manual_seed=~").manual_seed for _ in range(9)}) > 1
