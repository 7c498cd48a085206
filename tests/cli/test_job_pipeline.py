"""Overlap of decoding, arithmetic and encoding in a folder, and errors that stay with their image."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image

import hfsr
from hfsr import cli
from hfsr.checkpoints import write_model_folder
from hfsr.cli import upscale_job
from hfsr.cli.upscale_job import JobRun, memory_turn
from hfsr.images.decoding.encoded_image import EncodedImage
from hfsr.images.encoding.png_writer import PngWriter
from hfsr.inference import Upscaler
from hfsr.inference.program.geometry import Size
from hfsr.inference.runtime import memory

PATIENCE = 30
"""Seconds after which a step that should have begun is missing."""


@pytest.fixture
def album(tmp_path, monkeypatch) -> list[str]:
    """Three small images in the working folder, and the command for them."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    write_model_folder(hfsr.create_model("edsr_tiny"), "model")
    for name in ("a.png", "b.png", "c.png"):
        pixels = np.random.default_rng(ord(name[0])).integers(0, 256, (16, 20, 3), np.uint8)
        Image.fromarray(pixels).save(name)
    return ["upscale", "a.png", "b.png", "c.png", "-m", "model"]


def test_the_next_image_is_decoded_and_the_last_one_encoded_during_the_arithmetic(album, monkeypatch):
    begun = {(step, name): threading.Event() for step in ("prepare", "compute") for name in "abc"}
    prepare, compute, close = JobRun.prepare, JobRun.compute, PngWriter.close
    ahead: list[bool] = []
    first: list[PngWriter] = []

    def name_of(run: JobRun) -> str:
        return run.job.source.stem

    def logged_prepare(run):
        begun["prepare", name_of(run)].set()
        prepare(run)

    def logged_compute(run, *args):
        begun["compute", name_of(run)].set()
        if name_of(run) == "a":
            assert begun["prepare", "b"].wait(PATIENCE)
            ahead.append(begun["prepare", "c"].is_set())
        compute(run, *args)

    def waiting_close(writer):
        first.append(writer)
        if writer is first[0]:
            assert begun["compute", "b"].wait(PATIENCE)
        close(writer)

    monkeypatch.setattr(JobRun, "prepare", logged_prepare)
    monkeypatch.setattr(JobRun, "compute", logged_compute)
    monkeypatch.setattr(PngWriter, "close", waiting_close)
    assert cli.main(album) == 0
    assert ahead == [False]  # one image is decoded ahead, not more
    assert sorted(path.name for path in Path("results").iterdir()) == ["a_x2.png", "b_x2.png", "c_x2.png"]


@pytest.mark.parametrize("method", ["_append", "_end"])
def test_an_error_of_the_encoder_stays_with_its_image(album, monkeypatch, capsys, method):
    original = getattr(PngWriter, method)
    first: list[PngWriter] = []

    def full_disk(writer, *args):
        first.append(writer)
        if writer is first[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(writer, *args)

    monkeypatch.setattr(PngWriter, method, full_disk)
    assert cli.main(album) == 1
    assert sorted(path.name for path in Path("results").iterdir()) == ["b_x2.png", "c_x2.png"]
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert err.splitlines()[0].startswith("hfsr upscale: 'results/a_x2.png' cannot be written (No space left")
    assert len(err.splitlines()) == 2


def test_an_image_that_is_written_whole(album, capsys):
    assert cli.main([*album, "--ext", "jpg", "-o", "here"]) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        "here/a_x2.jpg",
        "here/b_x2.jpg",
        "here/c_x2.jpg",
    ]


def test_folders_without_a_result_are_removed(album, monkeypatch):
    def refuse(writer):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(PngWriter, "close", refuse)
    assert cli.main([*album, "-o", "new/folder"]) == 1
    assert not Path("new").exists()


def test_images_that_take_much_memory_wait_for_each_other(album, monkeypatch):
    up, image = Upscaler(hfsr.create_model("edsr_tiny"), device="cpu"), EncodedImage.of("a.png")
    size = Size(200, 200)

    def waits(processes: int, free: int) -> bool:
        monkeypatch.setattr(memory, "_planned", free)
        return isinstance(memory_turn(up, image, size, processes), FileLock)

    needed = up.plan(200, 200).memory_bytes
    assert waits(2, 7 * needed)
    assert not waits(2, 9 * needed)
    assert not waits(1, 7 * needed)  # alone
    size = Size(100, 100)
    assert not waits(2, 1)  # small


class TestUnexpectedErrors:
    """A fault of hfsr or of a library in one image: the others are run."""

    def check(self, album, capsys):
        assert cli.main(album) == 1
        assert sorted(path.name for path in Path("results").iterdir()) == ["a_x2.png", "c_x2.png"]
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 2
        start = "hfsr upscale: 'b.png': unexpected ValueError: two lines (test_job_pipeline.py:"
        assert lines[0].startswith(start)
        assert lines[0].endswith("); please report it, with the file")

    @pytest.mark.parametrize("step", ["prepare", "load", "compute"])
    def test_a_step_of_the_job(self, album, monkeypatch, capsys, step):
        original = getattr(JobRun, step).__wrapped__

        def run_step(run, *args):
            if run.job.source.stem == "b":
                raise ValueError("two\nlines")
            original(run, *args)

        monkeypatch.setattr(JobRun, step, upscale_job._records_errors(run_step))
        self.check(album, capsys)

    def test_the_encoder(self, album, monkeypatch, capsys):
        original, calls = PngWriter.close, []

        def close(writer):
            calls.append(writer)
            if len(calls) == 2:
                raise ValueError("two\nlines")
            original(writer)

        monkeypatch.setattr(PngWriter, "close", close)
        self.check(album, capsys)
