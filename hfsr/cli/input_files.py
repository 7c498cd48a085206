"""Which images a command line stands for, and where their results go."""

from __future__ import annotations

import contextlib
import glob
import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from hfsr.errors import ImageError, UsageError
from hfsr.images.formats import (
    SUFFIXES,
    UNSUPPORTED_SUFFIXES,
    WRITE_SUFFIXES,
    count_suffixes,
    is_image_name,
    result_suffix,
)

__all__ = ["Job", "Skipped", "find_jobs", "folder_of", "names_a_file"]


@dataclass(frozen=True)
class Job:
    """One image to read and where its result goes, or an input in which there is none."""

    source: Path
    target: Path | None
    error: str | None = None
    """Why it cannot be done, in one line."""

    @property
    def is_empty(self) -> bool:
        return self.target is None


@dataclass
class Skipped:
    """Files and folders that a search passed over.

    Attributes:
        files: whose names are not those of images that hfsr reads.
        folders: which could not be listed, each with the reason.
    """

    files: list[Path] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)

    def add_folder(self, error: OSError) -> None:
        """Records a folder that `os.walk` could not list."""
        self.folders.append(f"the folder '{error.filename}' cannot be listed ({error.strerror})")

    @property
    def lines(self) -> list[str]:
        """One line per folder, and one that counts the files."""
        count = len(self.files)
        if not count:
            return self.folders
        what = "1 file was" if count == 1 else f"{count} files were"
        text = f"{what} skipped, not being images that hfsr reads: {count_suffixes(self.files)}"
        return [*self.folders, text]


def find_jobs(
    inputs: Sequence[str],
    *,
    output: Path | None,
    default: Path,
    suffix: str,
    ext: str | None,
    skipped: Skipped,
) -> list[Job]:
    """Pairs every image with its result; one whose result would be another's or an input has an error.

    Args:
        inputs: images, folders and globs, as they were typed.
        output: a file for one image, else a folder.
        default: the folder where `output` is None.
        suffix: added to the name of each result.
        ext: ending of the results, with or without its dot; None keeps what the image has.
        skipped: receives what the inputs hold beside images.

    Raises:
        UsageError: `output` names a file, and there is more than one image.
    """
    to_file = output is not None and names_a_file(output)
    if output is not None and to_file and (len(inputs) > 1 or _is_many(inputs[0])):
        raise UsageError(f"-o {output} names a file, but there can be several results; name a folder")
    folder = output or default
    jobs = []
    for text in inputs:
        found = list(_expand(text, folder, skipped))
        if not found:
            jobs.append(Job(Path(text), None))
        for source, relative in found:
            named = output if to_file else folder / _result_name(relative, suffix, ext)
            jobs.append(Job(source, named))
    return _without_clashes(jobs)


def names_a_file(output: Path) -> bool:
    """Whether it is an image's place, not a folder's. Raises UsageError for a format that is read alone."""
    if os.path.isdir(output):
        return False
    suffix = output.suffix.lower()
    if suffix in (SUFFIXES | UNSUPPORTED_SUFFIXES) - set(WRITE_SUFFIXES):
        raise UsageError(f"-o {output}: hfsr does not write {suffix}; use {', '.join(WRITE_SUFFIXES)}")
    return suffix in WRITE_SUFFIXES


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


def _expand(text: str, output: Path, skipped: Skipped) -> Iterator[tuple[Path, Path]]:
    """The images an input stands for, each with its path relative to where results go."""
    path = Path(text)
    if os.path.isdir(path):
        for image in _walk(path, output, skipped):
            yield image, image.relative_to(path)
    elif _is_glob(text):
        fixed = itertools.takewhile(lambda part: not glob.has_magic(part), path.parts[:-1])
        root = Path(*fixed)
        for name in sorted(glob.glob(text, recursive=True)):
            found = Path(name)
            if is_image_name(found) and found.is_file():
                yield found, found.relative_to(root)
            elif not found.is_dir():
                skipped.files.append(found)
    else:
        yield path, Path(path.name)


def _walk(folder: Path, output: Path, skipped: Skipped) -> Iterator[Path]:
    """Images at any depth, in the order of their names, without hidden and linked folders and `output`."""
    left_out = os.path.realpath(output)
    for place, folders, names in os.walk(folder, onerror=skipped.add_folder):
        folders[:] = sorted(
            name
            for name in folders
            if name[0] != "." and os.path.realpath(os.path.join(place, name)) != left_out
        )
        for path in (Path(place, name) for name in sorted(names)):
            if is_image_name(path) and path.is_file():
                yield path
            else:
                skipped.files.append(path)


def _result_name(relative: Path, suffix: str, ext: str | None) -> Path:
    ending = result_suffix(relative.suffix) if ext is None else "." + ext.lstrip(".").lower()
    return relative.with_name(f"{relative.stem}{suffix}{ending}")


def _without_clashes(jobs: list[Job]) -> list[Job]:
    """Drops inputs that are named twice, and marks those whose result would replace an input or a result."""
    sources = {os.path.realpath(job.source) for job in jobs}
    seen: dict[str, Job] = {}
    kept = []
    for job in jobs:
        if job.target is None:
            kept.append(job)
            continue
        source, target = os.path.realpath(job.source), os.path.realpath(job.target)
        if target in sources:
            error = f"'{job.target}' would overwrite an input; choose another -o or --suffix"
            kept.append(replace(job, error=error))
        elif target not in seen:
            kept.append(job)
            seen[target] = job
        elif os.path.realpath(seen[target].source) != source:
            error = f"'{seen[target].source}' and '{job.source}' would both become '{job.target}'; "
            kept.append(replace(job, error=error + "rename one, or run them apart"))
    return kept
