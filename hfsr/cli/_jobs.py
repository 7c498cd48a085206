"""Which pictures a command line stands for, and where their results go."""

from __future__ import annotations

import contextlib
import glob
import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hfsr.errors import ImageError, OptionsError, UsageError

__all__ = ["WRITTEN", "Job", "find_jobs", "folder_of", "names_a_file"]

WRITTEN = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".avif")
"""Endings of results; a picture of one of them becomes one of the same."""
READ = (*WRITTEN, ".gif", ".pgm", ".pnm", ".ppm")


@dataclass(frozen=True)
class Job:
    """One picture to read and where its result goes, or an input in which there is none."""

    source: Path
    target: Path | None

    @property
    def is_empty(self) -> bool:
        return self.target is None


def find_jobs(
    inputs: Sequence[str], *, output: Path | None, default: Path, suffix: str, ext: str | None
) -> list[Job]:
    """Pairs every picture with its result, so that no result is another's or an input.

    Args:
        inputs: pictures, folders and globs, as they were typed.
        output: a file for one picture, else a folder.
        default: the folder where `output` is None.
        suffix: added to the name of each result.
        ext: ending of the results, with or without its dot; None keeps what the picture has.

    Raises:
        UsageError: `output` names a file, and there is more than one picture.
        OptionsError: a result would overwrite an input or another result.
    """
    to_file = output is not None and names_a_file(output)
    if output is not None and to_file and (len(inputs) > 1 or _is_many(inputs[0])):
        raise UsageError(f"-o {output} names a file, but there can be several results; name a folder")
    folder = output or default
    jobs = []
    for text in inputs:
        found = list(_expand(text, folder))
        if not found:
            jobs.append(Job(Path(text), None))
        for source, relative in found:
            named = output if to_file else folder / _result_name(relative, suffix, ext)
            jobs.append(Job(source, named))
    return _without_clashes(jobs)


def names_a_file(output: Path) -> bool:
    """Whether it is a picture's place, not a folder's. Raises UsageError for a format that is read alone."""
    if os.path.isdir(output):
        return False
    ending = output.suffix.lower()
    if ending in READ and ending not in WRITTEN:
        raise UsageError(f"-o {output}: hfsr does not write {ending}; use {', '.join(WRITTEN)}")
    return ending in WRITTEN


@contextmanager
def folder_of(target: Path) -> Iterator[None]:
    """Makes the folder of a result; where none comes, what was made is gone again at the end."""
    folder = target.parent
    made = [each for each in (folder, *folder.parents) if not os.path.lexists(each)]
    try:
        _make(folder)
        yield
    finally:
        if not os.path.lexists(target):
            for each in made:
                with contextlib.suppress(OSError):  # never made, or another run has put something there
                    each.rmdir()


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(
            f"the folder '{folder}' cannot be made ({error.strerror}); choose another -o"
        ) from error


def _is_many(text: str) -> bool:
    return os.path.isdir(text) or _is_glob(text)


def _is_glob(text: str) -> bool:
    return glob.has_magic(text) and not os.path.lexists(text)


def _expand(text: str, output: Path) -> Iterator[tuple[Path, Path]]:
    """The pictures an input stands for, each with its path relative to where results go."""
    path = Path(text)
    if os.path.isdir(path):
        for picture in _walk(path, output):
            yield picture, picture.relative_to(path)
    elif _is_glob(text):
        fixed = itertools.takewhile(lambda part: not glob.has_magic(part), path.parts[:-1])
        root = Path(*fixed)
        for name in sorted(glob.glob(text, recursive=True)):
            if _is_picture(Path(name)):
                yield Path(name), Path(name).relative_to(root)
    else:
        yield path, Path(path.name)


def _walk(folder: Path, output: Path) -> Iterator[Path]:
    """Pictures at any depth, in the order of their names; hidden ones, linked folders and `output` are left
    out.
    """
    left_out = os.path.realpath(output)
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if name[0] != "." and os.path.realpath(os.path.join(place, name)) != left_out
        )
        yield from (Path(place, name) for name in sorted(names) if _is_picture(Path(place, name)))


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in READ and path.name[0] != "." and path.is_file()


def _result_name(relative: Path, suffix: str, ext: str | None) -> Path:
    kept = relative.suffix if relative.suffix.lower() in WRITTEN else ".png"
    ending = kept if ext is None else "." + ext.lstrip(".").lower()
    return relative.with_name(f"{relative.stem}{suffix}{ending}")


def _without_clashes(jobs: list[Job]) -> list[Job]:
    sources = {os.path.realpath(job.source) for job in jobs}
    seen: dict[str, str] = {}
    kept = []
    for job in jobs:
        if job.target is None:
            kept.append(job)
            continue
        source, target = os.path.realpath(job.source), os.path.realpath(job.target)
        if target in sources:
            raise OptionsError(f"'{job.target}' would overwrite an input; choose another -o or --suffix")
        if seen.get(target, source) != source:
            raise OptionsError(
                f"'{seen[target]}' and '{job.source}' would both become '{job.target}'; rename one, or run "
                "them apart"
            )
        if target not in seen:
            kept.append(job)
        seen[target] = source
    return kept
