"""Tools of the Model Context Protocol: the endpoints of `api`, offered where mcp is installed."""

from __future__ import annotations

import asyncio
import importlib.util
from typing import Any

import gradio.mcp

from .uploads import mcp_folder


class ToolServer(gradio.mcp.GradioMCPServer):
    """Gradio's server, with each output of an endpoint as a part of the answer.

    Gradio 6.31 gives clients that do not ask for progress the outputs of an endpoint as one text, without the
    image.
    """

    async def _execute_tool_without_progress(self, job: Any) -> list[Any]:
        outputs = await asyncio.to_thread(job.result)
        return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]


def prepare_tools() -> bool:
    """Prepares Gradio for tools; returns True if they can be offered, which needs mcp."""
    if importlib.util.find_spec("mcp") is None:
        return False
    gradio.mcp.GradioMCPServer = ToolServer  # type: ignore[misc]
    # Gradio chooses its folder for images in requests when it is imported, and never empties it.
    gradio.mcp.DEFAULT_TEMP_DIR = str(mcp_folder())
    return True
