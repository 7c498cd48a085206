"""The one template of every card, `card.md.jinja`; its blocks can be written alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
from huggingface_hub import EvalResult

from .results import protocol_sentences, result_columns, table
from .schema import EXAMPLE, Example

__all__ = ["example_variables", "render", "results_variables", "section"]


def render(**words: Any) -> str:
    """The whole card below its front matter."""
    return _template().render(**words)


def section(name: str, words: dict[str, Any]) -> str:
    """One block of the template, "example" or "results", with its title."""
    template = _template()
    return "".join(template.blocks[name](template.new_context(words))).strip() + "\n\n"


def example_variables(example: Example | None) -> dict[str, Any]:
    """What the block "example" wants to know."""
    if example is None:
        return {"example": None}
    return {"example": EXAMPLE, "words": example.words, "speed": example.speed}


def results_variables(results: Sequence[EvalResult]) -> dict[str, Any]:
    """What the block "results" wants to know."""
    return {
        "rows": table(results),
        "columns": result_columns(results),
        "protocols": protocol_sentences(results),
    }


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
    return environment.get_template("card.md.jinja")
