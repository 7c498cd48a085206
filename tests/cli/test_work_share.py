"""Shares of a folder: from options and the environment, the same in each process, disjoint, complete."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest
from PIL import Image

from hfsr.cli.input_files import Job, Skipped, find_jobs
from hfsr.cli.work_share import Share, check_outside, divide, find_share, largest_first, parse_shard
from hfsr.errors import UsageError

SRUN = {"SLURM_PROCID": "5", "SLURM_NTASKS": "8", "SLURM_LOCALID": "1", "SLURM_TASKS_PER_NODE": "4(x2)"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"RANK": "0", "WORLD_SIZE": "1"}, None),
        ({"RANK": "2", "WORLD_SIZE": "4"}, Share(2, 4, "RANK")),
        (
            {"RANK": "9", "WORLD_SIZE": "16", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "8"},
            Share(9, 16, "RANK", 1, 8),
        ),
        (SRUN, None),  # a batch script, which runs once
        ({**SRUN, "SLURM_STEP_ID": "0"}, Share(5, 8, "SLURM_PROCID", 1, 4)),
        ({**SRUN, "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "6"}, Share(5, 6, "SLURM_PROCID", 1, 4)),
        ({**SRUN, "SLURM_STEP_ID": "0", "RANK": "1", "WORLD_SIZE": "2"}, Share(1, 2, "RANK")),
    ],
)
def test_shares_of_the_environment(environment, expected):
    assert find_share(None, environment) == expected


def test_an_option_goes_before_the_environment():
    assert find_share((3, 4), {"RANK": "0", "WORLD_SIZE": "2"}) == Share(2, 4, "--shard")
    assert find_share((1, 1), {"RANK": "7", "WORLD_SIZE": "2"}) is None


@pytest.mark.parametrize(("index", "count"), [("2", "2"), ("-1", "2"), ("x", "2"), ("0", "0")])
def test_impossible_environments(index, count):
    with pytest.raises(UsageError, match="in the environment is impossible; unset both"):
        find_share(None, {"RANK": index, "WORLD_SIZE": count})


def test_arguments_of_shard():
    assert parse_shard("2/8") == (2, 8)
    for text in ("0/8", "9/8", "8", "1/0", "a/b", "-1/2", "1/2/3"):
        with pytest.raises(argparse.ArgumentTypeError, match="I from 1 to N"):
            parse_shard(text)


@pytest.fixture
def jobs(tmp_path) -> list[Job]:
    sides = (8, 30, 9, 20, 10, 10)
    found = [Job(tmp_path / f"{i}.png", tmp_path / "out" / f"{i}.png") for i in range(len(sides))]
    for job, side in zip(found, sides, strict=True):
        Image.new("L", (side, side)).save(job.source)
    (tmp_path / "broken.png").write_text("text")
    return [*found, Job(tmp_path / "broken.png", tmp_path / "out" / "b.png"), Job(tmp_path / "none", None)]


def test_the_largest_image_is_first(jobs):
    assert [position for position, _ in largest_first(jobs)] == [1, 3, 4, 5, 2, 0, 6, 7]


@pytest.mark.parametrize("count", [1, 2, 3, 8, 20])
def test_shares_are_disjoint_complete_and_balanced(jobs, count):
    shares = [divide(jobs, Share(index, count, "--shard")) for index in range(count)]
    assert sorted(str(job.source) for share in shares for job in share) == sorted(str(j.source) for j in jobs)
    if count == 2:
        assert [len(share) for share in shares] == [1, 7]  # 900 px in one image, 845 in the others


def test_results_among_the_images_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("album/a.png", "album/sub/b.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8)).save(name)

    def check(text: str, output: str) -> None:
        found = find_jobs(
            [text], output=Path(output), default=Path("results"), suffix="_x2", ext=None, skipped=Skipped()
        )
        check_outside(found, [text])

    for text, output in (("album", "album"), ("album/*.png", "album"), ("album/**/*.png", "album/out")):
        with pytest.raises(UsageError, match="choose another -o"):
            check(text, output)
    for text, output in (("album", "album/out"), ("album", "out"), ("album/*.png", "album/out")):
        check(text, output)
    check(os.path.join("album", "a.png"), "album")  # no search
