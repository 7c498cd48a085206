"""A signal ends a run after its iteration with a state, from which it goes on to the same bits."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from hfsr import training
from hfsr.training import TrainingStopped
from hfsr.training.loop.stop_signals import StopSignals
from hfsr.training.state.training_state import find_states

from .test_resume import weights

RARELY = ("val:val_freq=1000000", "logger:print_freq=1000000", "logger:save_checkpoint_freq=1000000")


class Run:
    """A command in a process of its own, whose lines can be waited for."""

    def __init__(self, folder: Path, *words: str) -> None:
        command = [sys.executable, "-m", "hfsr", "train", "-opt", str(folder / "tiny.yml"), *words]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True, restore_signals=True
        )
        self.lines: list[str] = []

    def wait_for(self, text: str) -> None:
        for line in self.process.stderr:
            self.lines.append(line.strip())
            if text in line:
                return
        raise AssertionError(f"'{text}' was never said: {self.lines}")

    def finish(self) -> int:
        self.lines += [line.strip() for line in self.process.stderr]
        self.process.stderr.close()
        return self.process.wait(60)

    def workers(self) -> list[int]:
        children = psutil.Process(self.process.pid).children()
        return [child.pid for child in children if any("spawn_main" in part for part in child.cmdline())]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 138)]
)
def test_a_run_that_is_stopped_goes_on_to_the_same_bits(tmp_path, options, monkeypatch, number, code):
    chosen = options(*RARELY, "train:total_iter=6")
    training.train(chosen, root=tmp_path / "alone")
    step, done = training.engine.Engine.step, 0

    def stopped_at_the_third(self: Any, *arguments: Any) -> Any:
        nonlocal done
        done += 1
        if done == 3:  # within the iteration, which is finished all the same
            os.kill(os.getpid(), number)
        return step(self, *arguments)

    monkeypatch.setattr(training.engine.Engine, "step", stopped_at_the_third)
    with pytest.raises(TrainingStopped) as caught:
        training.train(chosen, root=tmp_path / "stopped")
    assert 128 + caught.value.signal == code
    states = tmp_path / "stopped" / "experiments" / "tiny" / "training_states"
    assert [path.name for path in find_states(states)] == ["3.state"]
    training.train(chosen, auto_resume=True, root=tmp_path / "stopped")
    assert weights(tmp_path / "alone") == weights(tmp_path / "stopped")


def test_a_signal_in_the_last_iteration_changes_nothing(tmp_path, options, monkeypatch):
    step = training.engine.Engine.step

    def signaled(self: Any, *arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return step(self, *arguments)

    monkeypatch.setattr(training.engine.Engine, "step", signaled)
    folder = training.train(options("train:total_iter=1"), root=tmp_path)
    assert (folder / "training_states" / "1.state").is_file()


def test_a_run_in_a_thread_leaves_signals_alone(tmp_path, options):
    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(
        target=training.train, args=(options("train:total_iter=1"),), kwargs={"root": tmp_path}
    )
    thread.start()
    thread.join()
    assert (tmp_path / "experiments/tiny/training_states/1.state").is_file()
    assert signal.getsignal(signal.SIGTERM) == before


def test_handlers_are_given_back_and_what_is_ignored_stays_ignored(tmp_path, options):
    engine = training.engine.Engine(options(), tmp_path)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with StopSignals(engine.accelerator) as signals:
            os.kill(os.getpid(), signal.SIGINT)
            assert signals.agreed(1) == 0
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)  # at once: a launcher passes it on
            assert signals.agreed(2) == signal.SIGTERM
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.fixture
def long_run(option_file: Path) -> tuple[Path, tuple[str, ...]]:
    return option_file.parent, ("--force_yml", *RARELY, "train:total_iter=100000000")


def test_the_command_says_one_line_and_ends_with_143(long_run):
    folder, words = long_run
    run = Run(folder, *words)
    run.wait_for("before training")
    run.process.terminate()
    assert run.finish() == 143
    said = [line for line in run.lines if "stopped" in line or "interrupted" in line]
    assert len(said) == 1
    assert re.search(
        r"stopped by SIGTERM after iteration \d+ of 100,000,000; its state is saved in ", said[0]
    )
    assert "Traceback" not in "".join(run.lines)
    assert len(find_states(folder / "experiments/tiny/training_states")) == 1
    assert not list((folder / "experiments").glob(".*"))


def test_a_second_signal_ends_it_at_once(tmp_path, options):
    code = (
        "import os, signal, sys, time\n"
        "from accelerate import Accelerator\n"
        "from hfsr.training.loop.stop_signals import StopSignals\n"
        "with StopSignals(Accelerator(cpu=True)):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print('still here', flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "still here\n"
    time.sleep(1)
    process.terminate()
    assert process.wait(10) == -signal.SIGTERM
    process.stdout.close()


@pytest.mark.slow
def test_two_processes_stop_in_agreement_when_one_is_told(long_run):
    folder, words = long_run
    run = Run(folder, "--num_processes", "2", *words)
    run.wait_for("before training")
    time.sleep(0.5)
    os.kill(run.workers()[-1], signal.SIGTERM)
    assert run.finish() == 143
    assert sum("stopped by SIGTERM" in line for line in run.lines) == 1
    assert "Traceback" not in "".join(run.lines)
    assert len(find_states(folder / "experiments/tiny/training_states")) == 1


def test_a_killed_process_is_named_and_leaves_no_orphan(long_run):
    folder, words = long_run
    run = Run(folder, "--num_processes", "2", *words)
    run.wait_for("before training")
    time.sleep(0.5)
    workers = run.workers()
    os.kill(workers[1], signal.SIGKILL)
    assert run.finish() == 1
    last = run.lines[-1]
    assert f"SIGKILL ended process 1 of the run (pid {workers[1]}), as the system does if memory runs" in last
    assert "semaphore" not in "".join(run.lines)
    for worker in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)


@pytest.mark.slow
def test_a_name_that_is_held_is_said_once_by_two_processes(long_run):
    folder, words = long_run
    first = Run(folder, *words)
    first.wait_for("before training")
    second = Run(folder, "--num_processes", "2", *words)
    assert second.finish() == 1
    said = [line for line in second.lines if "is being trained by" in line]
    assert len(said) == 1
    assert f"by process {first.process.pid} on " in said[0]
    first.process.kill()
    first.finish()
