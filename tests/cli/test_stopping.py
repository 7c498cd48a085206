"""A run that is stopped from outside, in a process of its own, leaves what was there and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from PIL import Image

import hfsr
from hfsr.checkpoints import write_model_folder

SCRIPT = """
import signal, sys, time
from pathlib import Path
from hfsr import cli
from hfsr.images import BackgroundRows

def wait(self, rows):
    Path("half-way").touch()
    time.sleep(60)

BackgroundRows.write = wait
signal.signal(signal.SIGINT, signal.default_int_handler)  # runs in the background inherit that it is ignored
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_half_a_result_goes_away(tmp_path, number):
    torch.manual_seed(0)
    write_model_folder(hfsr.create_model("edsr_tiny"), tmp_path / "model")
    Image.new("RGB", (200, 200), (9, 90, 30)).save(tmp_path / "a.png")
    (tmp_path / "old.png").write_bytes(b"an older result")
    command = [sys.executable, "-c", SCRIPT, "upscale", "a.png", "-m", "model", "-o", "old.png"]
    if number == signal.SIGHUP:
        command[-1] = "new/results/b.png"  # in folders that the run makes
    before = sorted(os.listdir(tmp_path))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as run:
        while not (tmp_path / "half-way").exists():
            assert run.poll() is None, run.stderr.read()
            time.sleep(0.02)
        assert [path.suffix for path in tmp_path.rglob(".*")] == [".partial"]
        run.send_signal(number)
        _, err = run.communicate(timeout=60)
    assert run.returncode == 128 + number
    assert err == "hfsr upscale: interrupted\n"
    (tmp_path / "half-way").unlink()
    assert sorted(os.listdir(tmp_path)) == before
    assert (tmp_path / "old.png").read_bytes() == b"an older result"


def test_a_reader_that_leaves(tmp_path):
    torch.manual_seed(0)
    write_model_folder(hfsr.create_model("edsr_tiny"), tmp_path / "model")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    command = [sys.executable, "-m", "hfsr", "upscale", "a.png", "-m", "model", "--json"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        run.stdout.close()
        err = run.stderr.read()
    assert (run.returncode, err) == (1, "")
    with Image.open(tmp_path / "results" / "a_x2.png") as result:
        assert result.size == (16, 16)
