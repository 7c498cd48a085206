"""The images that a command line stands for, and the places of their results."""

from __future__ import annotations

import contextlib
import glob
import itertools
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from hfsr.errors import ImageError, UsageError, some_of
from hfsr.images.formats import (
    SUFFIXES,
    UNSUPPORTED_SUFFIXES,
    WRITE_SUFFIXES,
    count_suffixes,
    is_image_name,
    result_suffix,
)

__all__ = ["STDIN", "Job", "Skipped", "find_jobs", "folder_of", "names_a_file"]

STDIN = "-"
"""The input, or output, that stands for a standard stream."""
_LIKE_A_FORMAT = re.compile(r"\.[a-z]{2,5}")
"""Suffixes that look like a format's: not "run.v1" and "results.2026"."""


@dataclass(frozen=True)
class Job:
    """One image to read and where its result goes, or an input in which there is none."""

    source: Path
    target: Path | None
    error: str | None = None
    """Why it cannot be done, in one line."""
    is_stdin: bool = False
    """The image comes from standard input."""

    @property
    def is_empty(self) -> bool:
        return self.target is None


@dataclass(frozen=True)
class _Found:
    """An image, and its path relative to the results; None for an input without images."""

    source: Path
    relative: Path | None
    is_stdin: bool = False


@dataclass
class Skipped:
    """Files and folders that a search passed over.

    Attributes:
        files: whose names are not those of images that hfsr reads.
        folders: which could not be listed, each with the reason.
        left_out: folders that are not searched: hidden ones, links, that of the results, and those that a
            pattern matches.
    """

    files: list[Path] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    left_out: list[Path] = field(default_factory=list)

    def add_folder(self, error: OSError) -> None:
        """Records a folder that `os.walk` could not list."""
        self.folders.append(f"the folder '{error.filename}' cannot be listed ({error.strerror})")

    @property
    def lines(self) -> list[str]:
        """One line per folder that could not be listed, and one each that counts files and other folders."""
        lines = list(self.folders)
        if self.left_out:
            count = len(self.left_out)
            what = "1 folder was" if count == 1 else f"{count} folders were"
            names = some_of((f"'{path}'" for path in self.left_out), 5)
            lines.append(
                f"{what} not searched (hidden, linked, of the results, or matched by a pattern): {names}"
            )
        if self.files:
            count = len(self.files)
            what = "1 file was" if count == 1 else f"{count} files were"
            lines.append(f"{what} skipped, not being images that hfsr reads: {count_suffixes(self.files)}")
        return lines


def find_jobs(
    inputs: Sequence[str],
    *,
    output: Path | None,
    default: Path,
    suffix: str,
    ext: str | None,
    skipped: Skipped,
) -> list[Job]:
    """Pairs every image with its result; one whose result would be an input has an error.

    Results that would have one name get distinct ones: with the source's suffix in the name
    ("a_png_x2.webp"), and with a number where that does not help.

    Args:
        inputs: images, folders and globs, as they were typed; "-" is standard input.
        output: a file for one image, else a folder.
        default: the folder where `output` is None.
        suffix: added to the name of each result.
        ext: ending of the results, with or without its dot; None keeps what the image has.
        skipped: receives what the inputs hold beside images.

    Raises:
        UsageError: `output` names a file, and there is more than one image; or a file of no format that hfsr
            writes.
    """
    is_one = len(inputs) == 1 and not _is_many(inputs[0])
    to_file = output is not None and names_a_file(output, is_one=is_one)
    if output is not None and to_file and not is_one:
        raise UsageError(f"-o {output} names a file, but there can be several results; name a folder")
    folder = output or default
    found = []
    for text in dict.fromkeys(inputs):
        if text == STDIN:
            found.append(_Found(Path("stdin"), Path("stdin"), is_stdin=True))
            continue
        images = [_Found(source, relative) for source, relative in _expand(text, folder, skipped)]
        found += images or [_Found(Path(text), None)]
    found = _without_repeats(found)
    if to_file and output is not None:
        jobs = [Job(each.source, output, is_stdin=each.is_stdin) for each in found]
    else:
        jobs = _named_apart(found, folder, suffix, ext)
    return _without_overwriting(jobs)


def names_a_file(output: Path, *, is_one: bool = False) -> bool:
    """True for the place of an image, False for a folder.

    Args:
        output: as it was typed.
        is_one: there is one image, so that a suffix of letters is that of a file, known or not.

    Raises:
        UsageError: hfsr does not write that format.
    """
    if os.path.isdir(output):
        return False
    suffix = output.suffix.lower()
    is_unknown = is_one and _LIKE_A_FORMAT.fullmatch(suffix) is not None
    if suffix not in WRITE_SUFFIXES and (suffix in SUFFIXES | UNSUPPORTED_SUFFIXES or is_unknown):
        hint = "; a folder of that name must be there already" if is_unknown else ""
        raise UsageError(f"-o {output}: hfsr does not write {suffix}; use {', '.join(WRITE_SUFFIXES)}{hint}")
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
            elif "**" not in text:  # which searches the folders too
                skipped.left_out.append(found)
    else:
        yield path, Path(path.name)


def _walk(folder: Path, output: Path, skipped: Skipped) -> Iterator[Path]:
    """Images at any depth, in the order of their names, without hidden and linked folders and `output`."""
    results = os.path.realpath(output)
    for place, folders, names in os.walk(folder, onerror=skipped.add_folder):
        searched: list[Path] = []
        for name in sorted(folders):
            path = Path(place, name)
            is_left_out = name[0] == "." or path.is_symlink() or os.path.realpath(path) == results
            (skipped.left_out if is_left_out else searched).append(path)
        folders[:] = [path.name for path in searched]
        for path in (Path(place, name) for name in sorted(names)):
            if is_image_name(path) and path.is_file():
                yield path
            else:
                skipped.files.append(path)


def _without_repeats(found: list[_Found]) -> list[_Found]:
    """Drops images that are named twice."""
    kept: dict[str, _Found] = {}
    for each in found:
        kept.setdefault(STDIN if each.is_stdin else os.path.realpath(each.source), each)
    return list(kept.values())


def _named_apart(found: list[_Found], folder: Path, suffix: str, ext: str | None) -> list[Job]:
    """Names all results, no two alike."""
    plain = [_result_name(each, suffix, ext) for each in found]
    counts = Counter(map(_key, plain))
    taken = {key for key, count in counts.items() if count == 1}
    jobs = []
    for each, name in zip(found, plain, strict=True):
        if name is None:
            jobs.append(Job(each.source, None))
            continue
        if counts[_key(name)] > 1:
            longer = _result_name(each, suffix, ext, tells_source=True) or name
            name = next(one for one in _numbered(longer) if _key(one) not in taken)
            taken.add(_key(name))
        jobs.append(Job(each.source, folder / name, is_stdin=each.is_stdin))
    return jobs


def _key(name: Path | None) -> str | None:
    """A name for comparisons: file systems may not tell upper from lower case."""
    return None if name is None else str(name).casefold()


def _numbered(name: Path) -> Iterator[Path]:
    yield name
    yield from (name.with_stem(f"{name.stem}_{number}") for number in itertools.count(2))


def _result_name(found: _Found, suffix: str, ext: str | None, *, tells_source: bool = False) -> Path | None:
    """Name of a result, relative to the folder of the results.

    Args:
        found: the image.
        suffix: added to the stem.
        ext: ending of the result; None keeps that of the source where hfsr writes it.
        tells_source: put the source's suffix into the name.
    """
    relative = found.relative
    if relative is None:
        return None
    ending = result_suffix(relative.suffix) if ext is None else "." + ext.lstrip(".").lower()
    own = "_" + relative.suffix[1:].lower() if tells_source and relative.suffix else ""
    return relative.with_name(f"{relative.stem}{own}{suffix}{ending}")


def _without_overwriting(jobs: list[Job]) -> list[Job]:
    """Marks images whose result would replace an input."""
    sources = {os.path.realpath(job.source) for job in jobs if not job.is_stdin}
    marked = []
    for job in jobs:
        if job.target is not None and os.path.realpath(job.target) in sources:
            error = f"'{job.target}' would overwrite an input; choose another -o or --suffix"
            job = replace(job, error=error)
        marked.append(job)
    return marked
