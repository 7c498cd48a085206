"""Division of the images of a command among processes and machines, the same in each of them."""

from __future__ import annotations

import argparse
import heapq
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hfsr.cli.input_files import Job
from hfsr.errors import ImageError, UsageError

__all__ = ["Share", "check_outside", "divide", "find_share", "largest_first", "parse_shard"]

_MEANS = re.compile(r"([0-9]+)/([0-9]+)")


@dataclass(frozen=True)
class Share:
    """The part of the images that this process takes.

    Attributes:
        index: of this process, from 0.
        count: number of processes.
        source: option or environment variable that says so.
        local_index: of this process on its machine, from 0.
        local_count: number of processes on this machine.
    """

    index: int
    count: int
    source: str
    local_index: int = 0
    local_count: int = 1


def parse_shard(text: str) -> tuple[int, int]:
    """Parses the argument I/N of `--shard`.

    Raises:
        argparse.ArgumentTypeError: anything but two whole numbers with I from 1 to N.
    """
    found = _MEANS.fullmatch(text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise argparse.ArgumentTypeError(f"'{text}' is not allowed; use I/N with I from 1 to N, like 1/8")
    return int(found[1]), int(found[2])


def find_share(shard: tuple[int, int] | None, environment: Mapping[str, str]) -> Share | None:
    """Returns the share of this process; None if it takes all images.

    Args:
        shard: I and N of `--shard`, which goes before the environment.
        environment: of the process. `torchrun` and `accelerate launch` set RANK and WORLD_SIZE; `srun` sets
            SLURM_PROCID and the number of tasks. A batch script of Slurm has these too, but runs once: only
            in a step, which has an id, they count.

    Raises:
        UsageError: the environment holds impossible numbers.
    """
    if shard is not None:
        index, count = shard
        return Share(index - 1, count, "--shard") if count > 1 else None
    if "RANK" in environment and "WORLD_SIZE" in environment:
        local = environment.get("LOCAL_RANK", "0"), environment.get("LOCAL_WORLD_SIZE", "1")
        return _share(environment["RANK"], environment["WORLD_SIZE"], ("RANK", "WORLD_SIZE"), local)
    if "SLURM_PROCID" in environment and "SLURM_STEP_ID" in environment:
        name = "SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in environment else "SLURM_NTASKS"
        local = environment.get("SLURM_LOCALID", "0"), _tasks_of_a_node(environment)
        return _share(environment["SLURM_PROCID"], environment.get(name, "1"), ("SLURM_PROCID", name), local)
    return None


def _tasks_of_a_node(environment: Mapping[str, str]) -> str:
    """Returns the largest number in Slurm's list of tasks per node, such as "4(x2),3"."""
    listed = environment.get("SLURM_STEP_TASKS_PER_NODE") or environment.get("SLURM_TASKS_PER_NODE") or "1"
    return max(re.sub(r"\(x[0-9]+\)", "", listed).split(","), key=lambda text: (len(text), text))


def _share(index: str, count: str, names: tuple[str, str], local: tuple[str, str]) -> Share | None:
    values = [int(text) if text.isdecimal() else -1 for text in (index, count, *local)]
    if min(values) < 0 or not values[0] < values[1]:
        raise UsageError(
            f"{names[0]}={index} of {names[1]}={count} in the environment is impossible; unset both, or use "
            "--shard 1/1"
        )
    if values[1] == 1:
        return None
    return Share(values[0], values[1], names[0], values[2], max(1, values[3]))


def largest_first(jobs: Sequence[Job]) -> list[tuple[int, int]]:
    """Returns position and px of each job, largest image first; images that cannot be read have 0 px."""
    pixels = [(position, _pixels(job)) for position, job in enumerate(jobs)]
    return sorted(pixels, key=lambda pair: (-pair[1], pair[0]))


def divide(jobs: Sequence[Job], share: Share) -> list[Job]:
    """Returns the jobs of a share, largest first.

    Each job goes to the share with the fewest px so far. What exists already does not matter, so that every
    share is the same at every repetition.
    """
    loads = [(0, index) for index in range(share.count)]
    mine = []
    for position, pixels in largest_first(jobs):
        load, index = loads[0]
        heapq.heapreplace(loads, (load + max(pixels, 1), index))
        if index == share.index:
            mine.append(jobs[position])
    return mine


def check_outside(jobs: Sequence[Job], inputs: Sequence[str]) -> None:
    """Checks that no process finds the results of another one among the images.

    Processes without a common parent search the folders one by one, while others may be writing already.

    Raises:
        UsageError: results would lie in a folder that holds images, or where a "**" searches.
    """
    from hfsr.cli.input_files import search_roots

    searched = search_roots(inputs)
    if not searched:
        return
    sources = {os.path.realpath(job.source.parent) for job in jobs if job.target is not None}
    for job in jobs:
        if job.target is None:
            continue
        place = os.path.realpath(job.target.parent)
        if place in sources or any(_is_below(place, root) for root, is_deep in searched if is_deep):
            raise UsageError(
                f"results in '{job.target.parent}' would be taken for images by the other processes; choose "
                "another -o"
            )


def _is_below(place: str, root: str) -> bool:
    return os.path.commonpath([place, root]) == root


def _pixels(job: Job) -> int:
    from hfsr.images import image_size

    if job.target is None or job.error is not None or job.is_stdin:
        return 0
    try:
        width, height = image_size(job.source)
    except (ImageError, OSError, MemoryError):  # reported when the image is run
        return 0
    return width * height
