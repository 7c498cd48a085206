"""Rendering of `card.md.jinja`, the template of every model card, and of its individual blocks."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
from huggingface_hub import EvalResult

from .results import protocol_sentences, result_columns, result_rows
from .schema import EXAMPLE, Example

__all__ = [
    "example_variables",
    "one_line",
    "python_string",
    "render",
    "render_section",
    "results_variables",
]


def render(**variables: Any) -> str:
    """Renders the text of a card below its front matter."""
    return _template().render(**variables)


def render_section(name: str, variables: dict[str, Any]) -> str:
    """Renders one block of the template with its title: "example" or "results"."""
    template = _template()
    return "".join(template.blocks[name](template.new_context(variables))).strip() + "\n\n"


def example_variables(example: Example | None) -> dict[str, Any]:
    """Returns the variables of the block "example"."""
    if example is None:
        return {"example": None}
    return {"example": EXAMPLE, "caption": example.caption, "speed": example.speed}


def results_variables(results: Sequence[EvalResult]) -> dict[str, Any]:
    """Returns the variables of the block "results"."""
    return {
        "rows": result_rows(results),
        "columns": result_columns(results),
        "protocols": protocol_sentences(results),
    }


def python_string(text: str) -> str:
    """Writes a string as a literal of Python, in double quotes."""
    return json.dumps(text, ensure_ascii=False)


def one_line(text: str) -> str:
    """Joins the lines of a text."""
    return " ".join(text.splitlines())


def _cell(value: object) -> str:
    """Writes a value as a cell of a Markdown table, which ends at a vertical bar or a line break."""
    return one_line(str(value)).replace("|", r"\|")


@lru_cache(maxsize=1)
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # the result is Markdown
    )
    environment.filters |= {
        "cell": _cell,
        "one_line": one_line,
        "python": python_string,
        "shell": shlex.quote,
    }
    return environment.get_template("card.md.jinja")
