"""Atomic writes: the new file is complete, or the old one stays."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hfsr.atomic import remove_partial_files, replacing
from hfsr.errors import CheckpointError, HubError


def test_the_file_appears_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    with replacing(target) as partial:
        partial.write_bytes(b"new")
        assert target.read_bytes() == b"old"
        assert partial.parent == tmp_path
    assert target.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [target]


def test_it_gets_the_permissions_of_the_umask(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    with replacing(tmp_path / "a.bin") as partial:
        partial.write_bytes(b"new")
        partial.chmod(0o600)  # as safetensors does
    assert (tmp_path / "a.bin").stat().st_mode == plain.stat().st_mode


def write_half(target: Path, stop: BaseException) -> None:
    with replacing(target, error=CheckpointError, also=(RuntimeError,), advice="make room") as partial:
        partial.write_bytes(b"half")
        raise stop


@pytest.mark.parametrize("stop", [ValueError("stop"), KeyboardInterrupt(), HubError("stop")])
def test_the_old_file_stays_if_the_block_fails(tmp_path: Path, stop: BaseException) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    with pytest.raises(type(stop), match="stop" if stop.args else None):
        write_half(target, stop)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failed_write_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"'.*a\.bin' cannot be written \(No such file or directory\); make"
    ):
        write_half(tmp_path / "no" / "a.bin", ValueError("is not reached"))
    with pytest.raises(CheckpointError, match=r"'.*a\.bin' cannot be written \(disk full\); make room$"):
        write_half(tmp_path / "a.bin", RuntimeError("disk\nfull"))
    assert list(tmp_path.iterdir()) == []


def test_a_long_name_has_room_for_the_temporary_one(tmp_path: Path) -> None:
    target = tmp_path / ("n" * os.pathconf(tmp_path, "PC_NAME_MAX"))
    with replacing(target) as partial:
        partial.write_bytes(b"new")
    assert target.read_bytes() == b"new"


def test_files_of_killed_processes_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    code = "import os, sys; from hfsr.atomic import replacing\nwith replacing(sys.argv[1]): os._exit(9)"
    subprocess.run([sys.executable, "-c", code, str(folder / "a.bin")], check=False)
    (abandoned,) = folder.iterdir()
    elsewhere = folder / ".b.bin.01234567.000000-1.partial"  # of another machine: is its process alive?
    elsewhere.touch()
    with replacing(folder / "c.bin") as partial:
        remove_partial_files(tmp_path, recursive=False)
        assert abandoned.exists()
        remove_partial_files(tmp_path)
        assert not abandoned.exists()
        partial.write_bytes(b"c")
    assert sorted(path.name for path in folder.iterdir()) == [elsewhere.name, "c.bin"]
