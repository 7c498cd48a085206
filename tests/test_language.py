"""Plain American English in docstrings, comments and documentation.

A reader who knows PyTorch and the Hugging Face libraries must understand every sentence at first sight. A
docstring starts with a noun phrase (the object) or a verb in the third person (its effect), and the terms are
those of the field. `ruff` checks the form of docstrings, `codespell` the spelling.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import io
import pkgutil
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import FunctionType

import pytest

import hfsr

ROOT = Path(__file__).resolve().parent.parent

PENDING: tuple[str, ...] = ()
"""Packages whose text is not revised yet. Remove an entry when its tests pass without it."""

BANNED_OPENING = re.compile(r"(What|Whether|How|Where|Who|Whom|Whose|When|Why|Which)\b")
"""First words of a clause that describes the object indirectly."""

COINED_TERMS = {
    r"pictures?": "image",
    r"nobody": "name the reader, or say that nothing reads it",
    r"heirs?": "reusable buffer",
    r"(is|are) told": "receives, takes",
    r"tells? of": "reports",
    r"(is|are) said( of)?": "states, reports, applies to",
    r"speaks? for": "is evidence for",
    r"lets? go of": "frees",
    r"minds": "requires",
    r"words?": "key (of an option), argument",
    r"judges?": "evaluates, classifies",
    r"(cures?|mends?|mended)": "fixes",
    r"goes without": "does not need",
}
"""Terms that are not those of the field, and the terms to use instead."""

SPELLED = ("hfsr", "docs", "options", "spaces", "README.md", "CHANGELOG.md", "CONTRIBUTING.md")
"""Folders and files whose spelling is checked."""

PLAIN_METHODS = {"forward", "core"}
"""Methods of networks, which CONTRIBUTING.md documents."""


def source_files() -> list[Path]:
    """Files of the package and of the Space that are not pending."""
    files = [*(ROOT / "hfsr").rglob("*.py"), *(ROOT / "spaces").rglob("*.py")]
    return sorted(file for file in files if not is_pending(file.relative_to(ROOT).as_posix()))


def is_pending(path: str) -> bool:
    return path.startswith(PENDING)


def docstrings(source: str) -> Iterator[tuple[int, str]]:
    """Yields line and text of the docstrings of modules, classes, functions and attributes."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield node.lineno, text


def comments(source: str) -> Iterator[tuple[int, str]]:
    """Yields line and text of the comments."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def banned_openings(source: str) -> list[tuple[int, str]]:
    """Docstrings whose first word is that of a clause."""
    return [(line, text) for line, text in docstrings(source) if BANNED_OPENING.match(text.strip())]


def coined_terms(source: str) -> list[tuple[int, str]]:
    """Docstrings and comments with a coined term, with the term to use instead."""
    found = []
    for line, text in [*docstrings(source), *comments(source)]:
        prose = re.sub(r"`[^`]*`", "", text)  # code
        for term, instead in COINED_TERMS.items():
            if match := re.search(rf"\b{term}\b", prose, re.IGNORECASE):
                found.append((line, f"'{match.group()}' (use: {instead}) in: {text.strip()[:80]}"))
    return found


def report(check) -> str:
    """Runs a check on every source file; returns one line for each finding."""
    return "\n".join(
        f"{file.relative_to(ROOT)}:{line}: {text.strip().splitlines()[0]}"
        for file in source_files()
        for line, text in check(file.read_text(encoding="utf-8"))
    )


def test_docstrings_do_not_open_with_a_clause():
    found = report(banned_openings)
    assert not found, f"begin with a noun phrase or a verb in the third person:\n{found}"


def test_no_coined_terms():
    found = report(coined_terms)
    assert not found, f"use the terms of the field:\n{found}"


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ('"""What it costs."""', 1),
        ('class A:\n    b: int\n    """Whether it is."""', 1),
        ('def f():\n    """\n    Where it is."""', 1),
        ('"""Whatever the size, one row."""', 0),
        ('"""Returns what it is."""', 0),
        ('x = "What"', 0),
    ],
)
def test_banned_openings_are_found(source, count):
    assert len(banned_openings(source)) == count


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ('"""Reads a picture."""', 1),
        ("x = 1  # what nobody reads", 1),
        ('def f():\n    """Rows.\n\n    The network is told the scale.\n    """', 1),
        ('"""Returns the value of `words`."""', 0),
        ('LQ = "LQ pictures as given"', 0),
        ("password = 1  # swordfish", 0),
    ],
)
def test_coined_terms_are_found(source, count):
    assert len(coined_terms(source)) == count


def test_pending_entries_exist():
    assert [path for path in PENDING if not (ROOT / path).exists()] == []


def test_spelling():
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "codespell_lib",
            "--skip",
            ",".join(f"*{path}*" for path in PENDING),
            *SPELLED,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"run `codespell {' '.join(SPELLED)}`:\n{done.stdout}{done.stderr}"


def public_classes() -> Iterator[type]:
    """Yields the public classes of hfsr, without those of pending modules."""
    for module in pkgutil.walk_packages(hfsr.__path__, "hfsr."):
        if module.name.endswith(".__main__") or is_pending(f"{module.name.replace('.', '/')}.py"):
            continue
        for value in vars(importlib.import_module(module.name)).values():
            if inspect.isclass(value) and value.__module__ == module.name and value.__name__[0] != "_":
                yield value


@cache
def protocol_methods() -> frozenset[str]:
    """Names of the methods of protocols, which document them for the classes that implement them."""
    return frozenset(n for cls in public_classes() if getattr(cls, "_is_protocol", False) for n in vars(cls))


def undocumented_methods(cls: type) -> list[str]:
    """Public methods and properties of a class without a docstring, except overrides."""
    found = []
    for name, member in vars(cls).items():
        function = inspect.unwrap(
            getattr(member, "__func__", None) or getattr(member, "fget", None) or member
        )
        function = getattr(function, "func", function)  # a cached property
        if not isinstance(function, FunctionType) or function.__name__ == "<lambda>" or name.startswith("_"):
            continue
        is_inherited = any(name in vars(base) for base in cls.__mro__[1:])
        if not (function.__doc__ or is_inherited or name in PLAIN_METHODS or name in protocol_methods()):
            found.append(f"{cls.__module__}.{cls.__qualname__}.{name}")
    return found


def test_public_methods_have_docstrings():
    found = "\n".join(name for cls in public_classes() for name in undocumented_methods(cls))
    assert not found, f"describe these methods:\n{found}"


def test_undocumented_methods_are_found():
    class Base:
        def run(self):
            """Runs."""

    class Derived(Base):
        def run(self): ...
        def stop(self): ...
        def _hidden(self): ...

        @property
        def state(self): ...

        @property
        def size_in_px(self):
            """Px."""

    names = [name.rpartition(".")[2] for name in undocumented_methods(Derived)]
    assert names == ["stop", "state"]
