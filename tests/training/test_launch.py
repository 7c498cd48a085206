"""Who starts the processes."""

from __future__ import annotations

import os

import pytest

from hfsr.errors import OptionsError
from hfsr.training import adopt_slurm, is_worker


def test_srun_says_who_this_process_is(tmp_path, monkeypatch):
    program = tmp_path / "scontrol"
    program.write_text("#!/bin/sh\necho node7\necho node8\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "x")  # so that it is undone afterwards
        monkeypatch.delenv(name)
    told = {"PROCID": "5", "NTASKS": "8", "LOCALID": "1", "NODELIST": "node[7-8]"}
    for name, value in told.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert not is_worker()
    adopt_slurm()
    assert is_worker()
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    assert [os.environ[name] for name in names] == ["5", "8", "1", "node7", "29500"]


def test_slurm_without_srun_is_one_line(monkeypatch):
    monkeypatch.delenv("SLURM_PROCID", raising=False)
    with pytest.raises(OptionsError, match="not started by srun"):
        adopt_slurm()
