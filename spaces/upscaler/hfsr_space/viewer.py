"""The place of the results on the page: a full-width comparison, which `viewer.js` draws from their JSON."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr

from hfsr import _resources

from .results import Result

_EXAMPLE = _resources.path("spaces", "browser") / "examples"
_EXAMPLE_LINE = "A photo of 320 × 240, enlarged 4 times. Move the handle to compare."


def bare_html(value: str, name: str) -> gr.HTML:
    """Adds HTML without Gradio's frame and style; `name` is its CSS class."""
    return gr.HTML(value, elem_classes=["bare", name], apply_default_css=False)


def keep(block: gr.blocks.Block, path: Path) -> str:
    """Copies a file of the Space into Gradio's folder until the page ends; returns its path there."""
    copy = block.move_resource_to_block_cache(path)
    assert copy is not None
    block.keep_in_cache.add(copy)
    return copy


class Viewer:
    """Widgets of the results of one tab.

    Attributes:
        data: component with the results as JSON, which is not visible.
        example: its value on arrival, a finished comparison.
    """

    def __init__(self) -> None:
        bare_html("<section class='viewer'></section>", "viewer-block")
        self.data = bare_html("", "results-data")
        before, after = (keep(self.data, _EXAMPLE / f"{kind}.webp") for kind in ("before", "after"))
        result = Result("Example", after, before, after, 1280, 960, _EXAMPLE_LINE, ())
        self.example = self._value([result], is_example=True)
        self.data.value = self.example

    def store(self, path: str) -> str | None:
        """Copies a file of a result into Gradio's folder, which deletes it after an hour."""
        return self.data.move_resource_to_block_cache(path)

    def results(self, results: Sequence[Result], archive: str | None = None) -> str:
        """Returns the value that shows these results.

        Args:
            results: with their files in Gradio's folder.
            archive: path there of a ZIP with all of them.
        """
        return self._value(results, archive=archive)

    def _value(
        self, results: Sequence[Result], *, is_example: bool = False, archive: str | None = None
    ) -> str:
        content: dict[str, Any] = {
            "example": is_example,
            "results": [result.to_json(_url) for result in results],
            "archive": _url(archive) if archive else None,
        }
        return f'<div class="results" data-results="{html.escape(json.dumps(content))}"></div>'


def _url(path: str) -> str:
    """URL relative to the page, which may lie below a path of its host."""
    return f"gradio_api/file={quote(path)}"
