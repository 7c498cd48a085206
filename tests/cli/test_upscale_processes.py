"""Several processes on one folder: the bits of one process, and what happens when one is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import hfsr
from hfsr import cli
from hfsr.checkpoints import write_model_folder
from hfsr.cli.upscale_processes import devices_of
from hfsr.errors import UsageError


@pytest.fixture
def album(tmp_path, monkeypatch) -> Path:
    """A working folder with a tiny model, five images and a broken one."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    write_model_folder(hfsr.create_model("edsr_tiny"), "model")
    Path("album/sub").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)
    for index, name in enumerate(("a.png", "b.jpg", "sub/c.png", "sub/d.webp", "e.png")):
        Image.fromarray(pixels[: 40 - 5 * index]).save(Path("album", name))
    Path("album/broken.png").write_text("text")
    return tmp_path


def upscale(*more: str) -> int:
    return cli.main(["upscale", "album", "-m", "model", *more])


def contents(folder: str) -> dict[str, bytes]:
    files = (path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_two_processes_give_the_bits_of_one(album, capfd):
    assert upscale("-o", "one") == 1
    out, err = capfd.readouterr()
    assert upscale("-o", "two", "--num_processes", "2") == 1
    told, errors = capfd.readouterr()
    assert contents("one") == contents("two")
    assert len(contents("one")) == 5
    names = [
        sorted(line.split(": ")[0].split("/", 1)[1] for line in text.splitlines()) for text in (out, told)
    ]
    assert names[0] == names[1]
    assert errors == err  # one line about the broken image, one that counts


def test_shards_and_ranks_give_the_bits_of_one(album, capsys, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert upscale("-o", "one") == 1
    failed = [upscale("-o", "shards", "--shard", f"{index}/3") for index in (1, 2, 3)]
    assert sorted(failed) == [0, 0, 1]  # the broken image belongs to one of them
    capsys.readouterr()
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("WORLD_SIZE", "2")
        upscale("-o", "ranks")
    assert contents("one") == contents("shards") == contents("ranks")
    err = capsys.readouterr().err
    assert "hfsr upscale: share 1 of 2 (RANK): " in err
    assert "hfsr upscale: share 2 of 2 (RANK): 3 of 6 images" in err
    assert upscale("-o", "album") == 2
    assert "would be taken for images by the other processes" in capsys.readouterr().err


def test_standard_streams_are_for_one_process(album, capsys):
    assert cli.main(["upscale", "-", "--num_processes", "2"]) == 2
    assert cli.main(["upscale", "-", "--shard", "1/2", "-m", "model"]) == 2
    assert capsys.readouterr().err.count("- is for one process") == 2


def test_a_gpu_for_each_process(monkeypatch):
    assert devices_of(2, "cpu") == ["cpu", "cpu"]
    device = torch.device("cuda", 0)
    monkeypatch.setattr("hfsr.inference.runtime.precision.choose_device", lambda name: device)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices_of(2, None) == devices_of(2, "cuda") == ["cuda:0", "cuda:1"]
    with pytest.raises(UsageError, match="this machine has 2 GPUs"):
        devices_of(3, None)
    with pytest.raises(UsageError, match="a GPU of its own"):
        devices_of(2, "cuda:1")


def with_large_image(side: int) -> None:
    """Adds an image that takes long, and removes the broken one, which would be reported too."""
    pixels = np.random.default_rng(1).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(pixels).save("album/large.png")
    Path("album/broken.png").unlink()


def killed_writer(folder: Path, kills: list[str]) -> None:
    """Kills the first process that writes a result of `large.png`, once some other results exist."""
    for _ in range(4000):
        for part in folder.rglob(".large_x2.png.*.partial"):
            if len(list(folder.rglob("[a-z]*_x2.*"))) >= 1:
                os.kill(int(part.name.removesuffix(".partial").rpartition("-")[2]), signal.SIGKILL)
                kills.append(part.name)
                return
        time.sleep(0.005)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_killed_process_fails_its_images_alone(album, capfd):
    with_large_image(700)
    assert upscale("-o", "one") == 0
    capfd.readouterr()
    kills: list[str] = []
    watcher = threading.Thread(target=killed_writer, args=(Path("two"), kills))
    watcher.start()
    code = upscale("-o", "two", "--num_processes", "2", "--json")
    watcher.join()
    assert kills
    reports = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    lost = [each for each in reports if each["error"]]
    assert (code, len(reports)) == (1, 6)
    assert "album/large.png" in [each["input"] for each in lost]
    assert len(lost) <= 2  # that one, and one that it decoded ahead
    assert all("its process was lost (SIGKILL" in each["error"] for each in lost)
    assert not list(Path("two").rglob("*.partial"))
    assert upscale("-o", "two", "--num_processes", "2", "--skip-existing") == 0
    assert contents("one") == contents("two")


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_killed_command_goes_on(album):
    """All processes are killed at once; another command finishes the folder."""
    with_large_image(700)
    assert upscale("-o", "one") == 0
    command = [sys.executable, "-m", "hfsr", "upscale", "album", "-m", "model", "-o", "two"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as run:
        killed_writer(Path("two"), [])
        assert run.wait() == -signal.SIGKILL
    assert list(Path("two").rglob("*.partial"))
    assert upscale("-o", "two", "--skip-existing") == 0
    assert contents("one") == contents("two")


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_torchrun(album):
    Path("album/broken.png").unlink()
    assert upscale("-o", "one") == 0
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "0"]
    done = subprocess.run(
        [*launch, "-m", "hfsr", "upscale", "album", "-m", "model", "-o", "two"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert contents("one") == contents("two")


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_terminated_command_leaves_no_partial_file(album):
    with_large_image(1500)
    command = [sys.executable, "-m", "hfsr", "upscale", "album", "-m", "model", "--num_processes", "2"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as run:
        while not list(Path("results").rglob(".large_x2.png.*.partial")):
            assert run.poll() is None
            time.sleep(0.01)
        run.send_signal(signal.SIGTERM)
        _, err = run.communicate(timeout=60)
    assert run.returncode == 128 + signal.SIGTERM
    assert err == "hfsr upscale: interrupted\n"
    assert not list(Path("results").rglob("*.partial"))
