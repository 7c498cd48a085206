"""One process trains a run of a name at a time; after any death the next one starts without help."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hfsr import training
from hfsr.atomic import remove_partial_files
from hfsr.errors import HfsrError
from hfsr.training import engine
from hfsr.training.state import run_lock
from hfsr.training.state.run_lock import LockOwner, RunLock

HOLD = """
    import sys, time
    from pathlib import Path
    from hfsr.errors import HfsrError
    from hfsr.training.state.run_lock import RunLock
    lock = RunLock(Path(sys.argv[1]))
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        lock.acquire()
    except HfsrError as error:
        print(error, flush=True)
    else:
        print("held", flush=True)
        sys.stdin.readline()
        lock.release()
"""


class Holder:
    """A process that takes a lock when told, and gives it back when told again."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-c", textwrap.dedent(HOLD), str(folder)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert self.line() == "ready"

    def tell(self) -> None:
        self.process.stdin.write("go\n")

    def line(self) -> str:
        return self.process.stdout.readline().strip()

    def acquire(self) -> str:
        self.tell()
        return self.line()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Holder]:
    one = Holder(tmp_path / "tiny")
    yield one
    one.close()


@pytest.fixture
def quick_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lock, "_TOUCH_SECONDS", 0.05)
    monkeypatch.setattr(run_lock, "_WATCH_SECONDS", 0.4)


def lock_file(folder: Path, **changes: object) -> Path:
    """What an owner leaves that could not tidy up."""
    path = folder / ".tiny.lock"
    facts = {"host": "node7", "pid": 4711, "created": 1.0, "since": "2026-01-02 03:04:05", "token": "x"}
    path.write_text(json.dumps(facts | changes))
    return path


def test_a_second_process_is_refused_and_told_who_holds_the_name(tmp_path, holder):
    assert holder.acquire() == "held"
    owner = LockOwner.read(tmp_path / ".tiny.lock")
    with pytest.raises(HfsrError) as caught:
        RunLock(tmp_path / "tiny").acquire()
    said = (
        f"the run 'tiny' is being trained by process {holder.process.pid} on {owner.host} since {owner.since}"
    )
    assert str(caught.value).startswith(f"{said}; wait for it (--wait), stop it, or train under another")


def test_it_is_free_again_after_release_and_leaves_no_file(tmp_path, holder):
    assert holder.acquire() == "held"
    holder.tell()
    assert holder.process.wait(10) == 0
    assert list(tmp_path.iterdir()) == []
    lock = RunLock(tmp_path / "tiny")
    lock.acquire()
    lock.release()
    lock.release()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_owner_is_followed_with_a_line(tmp_path, holder, caplog, how):
    assert holder.acquire() == "held"
    holder.process.send_signal(how)
    holder.process.wait(10)
    lock = RunLock(tmp_path / "tiny")
    with caplog.at_level(logging.WARNING, logger="hfsr"):
        lock.acquire()
    assert f"an earlier run of 'tiny' was killed (process {holder.process.pid} on " in caplog.text
    assert LockOwner.read(lock.path).pid == os.getpid()
    lock.release()


def test_a_child_of_a_killed_owner_does_not_keep_the_lock(tmp_path):
    lock = RunLock(tmp_path / "tiny")
    child = 0
    owner = os.fork()
    if owner == 0:  # never returns: it dies as a run does, leaving a forked worker behind
        lock.acquire()
        worker = os.fork()
        if worker == 0:
            time.sleep(30)
            os._exit(0)
        (tmp_path / "worker").write_text(str(worker))
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(owner, 0)
    child = int((tmp_path / "worker").read_text())
    try:
        lock.acquire()
        lock.release()
    finally:
        os.kill(child, signal.SIGKILL)


@pytest.mark.slow
def test_of_many_that_race_exactly_one_wins(tmp_path):
    lock_file(tmp_path, host=LockOwner.current().host)  # left by a dead process of this machine
    racers = [Holder(tmp_path / "tiny") for _ in range(4)]
    try:
        for racer in racers:
            racer.tell()
        answers = [racer.line() for racer in racers]
        assert sorted(answer[:22] for answer in answers) == ["held"] + ["the run 'tiny' is bein"] * 3, answers
    finally:
        for racer in racers:
            racer.close()


def test_two_threads_of_one_process_exclude_each_other(tmp_path):
    lock = RunLock(tmp_path / "tiny")
    lock.acquire()
    said: list[str] = []

    def second() -> None:
        try:
            RunLock(tmp_path / "tiny").acquire()
        except HfsrError as error:
            said.append(str(error))

    thread = threading.Thread(target=second)
    thread.start()
    thread.join()
    assert f"is being trained by process {os.getpid()} on " in said[0]
    lock.release()


def test_the_dead_owner_of_another_host_is_followed(tmp_path, caplog, quick_watch):
    lock_file(tmp_path)
    lock = RunLock(tmp_path / "tiny")
    with caplog.at_level(logging.WARNING, logger="hfsr"):
        lock.acquire()
    try:
        assert (
            "was killed (process 4711 on node7 since 2026-01-02 03:04:05); its lock is taken over"
            in caplog.text
        )
        # Looking at the file must not have given the lock away.
        second = Holder(tmp_path / "tiny")
        assert second.acquire().startswith(f"the run 'tiny' is being trained by process {os.getpid()} on ")
        second.close()
    finally:
        lock.release()


def test_a_living_owner_of_another_host_is_respected_without_a_lock_that_reaches_it(tmp_path, quick_watch):
    path, stop = lock_file(tmp_path), threading.Event()

    def touch() -> None:
        while not stop.wait(0.05):
            os.utime(path)

    thread = threading.Thread(target=touch)
    thread.start()
    try:
        with pytest.raises(
            HfsrError, match="by process 4711 on node7 since 2026-01-02 03:04:05; wait for it"
        ):
            RunLock(tmp_path / "tiny").acquire()
    finally:
        stop.set()
        thread.join()
    assert LockOwner.read(path).host == "node7"


def test_an_owner_shows_that_it_lives(tmp_path, quick_watch):
    lock = RunLock(tmp_path / "tiny")
    lock.acquire()
    os.utime(lock.path, (0, 0))
    deadline = time.monotonic() + 10
    while lock.path.stat().st_mtime < 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert lock.path.stat().st_mtime > 1
    lock.release()


@pytest.mark.parametrize("alive", [True, False])
def test_without_locks_in_the_file_system_the_process_decides(
    tmp_path, monkeypatch, quick_watch, holder, alive
):
    monkeypatch.setattr(run_lock, "fcntl", None)
    created = run_lock.psutil.Process(holder.process.pid).create_time()
    here = LockOwner.current().host
    lock_file(tmp_path, host=here, pid=holder.process.pid, created=created if alive else created - 100)
    lock = RunLock(tmp_path / "tiny")
    if alive:
        with pytest.raises(HfsrError, match=f"by process {holder.process.pid} on"):
            lock.acquire()
    else:  # that number is another process's by now
        lock.acquire()
        lock.release()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": 1}', b"\xff"])
def test_a_damaged_lock_file_is_no_obstacle(tmp_path, content):
    (tmp_path / ".tiny.lock").write_bytes(content)
    lock = RunLock(tmp_path / "tiny")
    lock.acquire()
    lock.release()


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        HfsrError, match=r"the lock file '.*' cannot be written \(.*\); check the permissions"
    ):
        RunLock(tmp_path / "file" / "tiny").acquire()


@pytest.mark.parametrize("auto_resume", [True, False])
def test_a_run_whose_name_is_held_is_left_untouched(tmp_path, options, auto_resume):
    folder = training.train(options("train:total_iter=2"), root=tmp_path)
    assert not list(folder.parent.glob(".*"))
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    holder = Holder(folder)
    assert holder.acquire() == "held"
    try:
        with pytest.raises(HfsrError, match=f"'tiny' is being trained by process {holder.process.pid} on"):
            training.train(options("train:total_iter=2"), auto_resume=auto_resume, root=tmp_path)
    finally:
        holder.close()
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    training.train(options("train:total_iter=4"), auto_resume=True, root=tmp_path)
    assert (folder / "training_states" / "4.state").is_file()


def test_a_run_waits_for_the_one_that_holds_its_name(tmp_path, options, monkeypatch, caplog):
    monkeypatch.setattr(engine, "_POLL_SECONDS", 0.05)
    caplog.set_level(logging.INFO, logger="hfsr")
    holder = Holder(tmp_path / "experiments" / "tiny")
    assert holder.acquire() == "held"
    waiting = threading.Thread(
        target=training.train, args=[options("train:total_iter=1")], kwargs={"wait": True, "root": tmp_path}
    )
    waiting.start()
    try:
        deadline = time.monotonic() + 60
        while "waiting for the run 'tiny'" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.3)
        assert waiting.is_alive()
        assert not (tmp_path / "experiments" / "tiny" / "models").exists()
    finally:
        holder.close()
        waiting.join(120)
    assert (tmp_path / "experiments" / "tiny" / "models" / "net_g_latest.pth").is_file()
    assert (
        caplog.text.count(f"waiting for the run 'tiny', which is trained by process {holder.process.pid} on")
        == 1
    )


def test_a_failed_run_gives_its_name_back(tmp_path, options):
    with pytest.raises(HfsrError, match="no longer a number"):
        training.train(options("train:optim_g:lr=1e30"), root=tmp_path)
    training.train(options("train:total_iter=2"), root=tmp_path)


def test_half_written_files_of_living_processes_stay(tmp_path, holder):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    alive, gone, own, foreign = (
        tmp_path / f".net_g_latest.pth.{owner}.partial"
        for owner in (holder.process.pid, dead.pid, os.getpid(), "x")
    )
    for path in (alive, gone, own, foreign):
        path.touch()
    remove_partial_files(tmp_path)
    assert [path.exists() for path in (alive, gone, own, foreign)] == [True, False, True, False]


def test_a_number_that_another_process_has_by_now_keeps_nothing(tmp_path, holder):
    leftover = tmp_path / f".6.state.{holder.process.pid}.partial"
    leftover.touch()
    os.utime(leftover, (1, 1))
    remove_partial_files(tmp_path)
    assert not leftover.exists()


def test_a_file_that_another_process_writes_by_replacing_stays(tmp_path):
    code = (
        "import sys; from hfsr.atomic import replacing\n"
        "with replacing(sys.argv[1]) as partial: print(partial, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "README.md")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        partial = Path(writer.stdout.readline().strip())
        remove_partial_files(tmp_path)
        assert partial.exists()
        writer.kill()
    assert partial.exists(), "the writer was killed before it could remove it"
    remove_partial_files(tmp_path)
    assert not partial.exists()
