"""Images that a command line names, and the paths of their results."""

from __future__ import annotations

import contextlib
import glob
import itertools
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
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

__all__ = [
    "STDIN",
    "Job",
    "MadeFolders",
    "Skipped",
    "find_jobs",
    "folder_of",
    "names_a_file",
    "remove_unfinished",
    "search_roots",
]

STDIN = "-"
"""The input or output that means a standard stream."""
_LIKE_A_FORMAT = re.compile(r"\.[a-z]{2,5}")
"""Suffixes that look like those of a file format, unlike "run.v1" and "results.2026"."""


@dataclass(frozen=True)
class Job:
    """One image and the path of its result, or an input that contains no image."""

    source: Path
    target: Path | None
    error: str | None = None
    """Reason for which the image cannot be processed, in one line."""
    is_stdin: bool = False
    """True if the image comes from standard input."""

    @property
    def is_empty(self) -> bool:
        """True if the input contains no image."""
        return self.target is None


@dataclass(frozen=True)
class _Found:
    """An image and its path relative to the results (None for an input without images)."""

    source: Path
    relative: Path | None
    is_stdin: bool = False


@dataclass
class Skipped:
    """Files and folders that a search skipped.

    Attributes:
        files: files without the name of an image that hfsr reads.
        dangling: symbolic links to files that are not there.
        folders: messages about the folders that could not be listed.
        left_out: folders that are not searched: hidden ones, links, the one of the results, and those that
            a pattern matches.
    """

    files: list[Path] = field(default_factory=list)
    dangling: list[Path] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    left_out: list[Path] = field(default_factory=list)

    def add_folder(self, error: OSError) -> None:
        """Records a folder that `os.walk` could not list."""
        self.folders.append(f"the folder '{error.filename}' cannot be listed ({error.strerror})")

    def add_file(self, path: Path) -> None:
        """Records a file that is not read."""
        (self.dangling if path.is_symlink() and not path.exists() else self.files).append(path)

    @property
    def lines(self) -> list[str]:
        """One line per folder that could not be listed, one for the other folders, two for the files."""
        lines = list(self.folders)
        if self.left_out:
            count = len(self.left_out)
            what = "1 folder was" if count == 1 else f"{count} folders were"
            names = _quoted(self.left_out)
            lines.append(
                f"{what} not searched (hidden, linked, of the results, or matched by a pattern): {names}"
            )
        if self.dangling:
            count = len(self.dangling)
            what = "1 link leads nowhere and was" if count == 1 else f"{count} links lead nowhere and were"
            lines.append(f"{what} skipped: {_quoted(self.dangling)}")
        if self.files:
            count = len(self.files)
            what = "1 file was" if count == 1 else f"{count} files were"
            lines.append(f"{what} skipped, because hfsr does not read them: {count_suffixes(self.files)}")
        return lines


def _quoted(paths: Iterable[Path]) -> str:
    return some_of((f"'{path}'" for path in paths), 5)


def find_jobs(
    inputs: Sequence[str],
    *,
    output: Path | None,
    default: Path,
    suffix: str,
    ext: str | None,
    skipped: Skipped,
) -> list[Job]:
    """Pairs every image with its result; a result that would overwrite an input is an error of its job.

    Results that would have the same name get distinct ones: with the suffix of the source in the name
    ("a_png_x2.webp"), and with a number if that does not suffice.

    Args:
        inputs: images, folders and globs, as typed; "-" is standard input.
        output: a file for one image, otherwise a folder.
        default: the folder if `output` is None.
        suffix: text after the stem of each result.
        ext: format of the results, with or without its dot; None keeps that of the image.
        skipped: receives the files and folders that are not read.

    Raises:
        UsageError: if `output` names a file and there may be more than one image, or has the suffix of a
            format that hfsr does not write.
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
    """Returns True if `output` is the path of an image, False if it is a folder.

    Args:
        output: the path, as typed.
        is_one: True if there is one image; a suffix of letters is then that of a file, even if unknown.

    Raises:
        UsageError: if hfsr does not write that format.
    """
    if os.path.isdir(output):
        return False
    suffix = output.suffix.lower()
    is_unknown = is_one and _LIKE_A_FORMAT.fullmatch(suffix) is not None
    if suffix not in WRITE_SUFFIXES and (suffix in SUFFIXES | UNSUPPORTED_SUFFIXES or is_unknown):
        hint = "; create the folder first if you mean one of that name" if is_unknown else ""
        raise UsageError(f"-o {output}: hfsr does not write {suffix}; use {', '.join(WRITE_SUFFIXES)}{hint}")
    return suffix in WRITE_SUFFIXES


@contextmanager
def folder_of(target: Path) -> Iterator[None]:
    """Creates the folder of a result; if no result is written, removes the folders again that it created."""
    folder = target.parent
    made = [each for each in (folder, *folder.parents) if not os.path.lexists(each)]
    try:
        _make(folder)
        yield
    finally:
        if not os.path.lexists(target):
            for each in made:
                with contextlib.suppress(OSError):  # never created, or no longer empty
                    each.rmdir()


class MadeFolders(AbstractContextManager["MadeFolders"]):
    """Creates folders of results; at the end of its block those without a result are removed again.

    Args:
        keep: True to remove none, where other processes may be about to write there.
    """

    def __init__(self, *, keep: bool = False) -> None:
        self._keep = keep
        self._made: set[Path] = set()

    def make(self, folder: Path) -> None:
        """Creates a folder and those above it.

        Raises:
            ImageError: it cannot be created.
        """
        self._made |= {each for each in (folder, *folder.parents) if not os.path.lexists(each)}
        _make(folder)

    def __exit__(self, *error: object) -> None:
        for folder in () if self._keep else sorted(self._made, reverse=True):  # the innermost first
            with contextlib.suppress(OSError):  # never created, or not empty
                folder.rmdir()


def search_roots(inputs: Sequence[str]) -> list[tuple[str, bool]]:
    """Returns the real path of each folder that a search starts from, and if a "**" searches all below it.

    A search of a folder leaves out that of the results, a pattern does not.

    Args:
        inputs: images, folders and globs, as typed.
    """
    roots = []
    for text in inputs:
        if os.path.isdir(text):
            roots.append((os.path.realpath(text), False))
        elif _is_glob(text):
            roots.append((os.path.realpath(_fixed_part(text)), "**" in text))
    return roots


def _fixed_part(pattern: str) -> Path:
    """Returns the folders of a pattern before its first wildcard."""
    return Path(*itertools.takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts[:-1]))


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(
            f"the folder '{folder}' cannot be created ({error.strerror}); choose another -o"
        ) from error


def _is_many(text: str) -> bool:
    return os.path.isdir(text) or _is_glob(text)


def _is_glob(text: str) -> bool:
    return glob.has_magic(text) and not os.path.lexists(text)


def _expand(text: str, output: Path, skipped: Skipped) -> Iterator[tuple[Path, Path]]:
    """Yields the images that an input names, each with its path relative to the folder of the results."""
    path = Path(text)
    if os.path.isdir(path):
        for image in _walk(path, output, skipped):
            yield image, image.relative_to(path)
    elif _is_glob(text):
        root = _fixed_part(text)
        for name in sorted(glob.glob(text, recursive=True)):
            found = Path(name)
            if is_image_name(found) and found.is_file():
                yield found, found.relative_to(root)
            elif not found.is_dir():
                skipped.add_file(found)
            elif "**" not in text:  # a "**" searches the folders too
                skipped.left_out.append(found)
    else:
        yield path, Path(path.name)


def _walk(folder: Path, output: Path, skipped: Skipped) -> Iterator[Path]:
    """Yields images at any depth, sorted by name; skips hidden folders, linked folders and `output`."""
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
                skipped.add_file(path)


def _without_repeats(found: list[_Found]) -> list[_Found]:
    """Drops images that occur more than once."""
    kept: dict[str, _Found] = {}
    for each in found:
        kept.setdefault(STDIN if each.is_stdin else os.path.realpath(each.source), each)
    return list(kept.values())


def _named_apart(found: list[_Found], folder: Path, suffix: str, ext: str | None) -> list[Job]:
    """Gives each result a name of its own."""
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
    """Returns a name for comparisons: some file systems ignore the case of letters."""
    return None if name is None else str(name).casefold()


def _numbered(name: Path) -> Iterator[Path]:
    yield name
    yield from (name.with_stem(f"{name.stem}_{number}") for number in itertools.count(2))


def remove_unfinished(jobs: Iterable[Job]) -> None:
    """Removes the unfinished results that killed processes left in the folders of the jobs' results."""
    from hfsr.atomic import remove_partial_files
    from hfsr.images.encoding.target_file import place_of

    for folder in {place_of(job.target).parent for job in jobs if job.target is not None}:
        remove_partial_files(folder, recursive=False)


def _result_name(found: _Found, suffix: str, ext: str | None, *, tells_source: bool = False) -> Path | None:
    """Returns the name of a result, relative to the folder of the results.

    Args:
        found: the image.
        suffix: text after the stem.
        ext: suffix of the result; None keeps that of the source if hfsr writes it.
        tells_source: True to put the suffix of the source into the name.
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
