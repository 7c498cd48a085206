"""The page and its server."""

from __future__ import annotations

import os
import signal
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from . import limits, upscale_tab, zeroshot_tab
from .catalog import HERE, Menu, Offer
from .middleware import Door

TITLE = """# Larger and sharper pictures
Drop a picture, press one button, compare, download."""


def build(models: dict[str, str] | None = None) -> gr.Blocks:
    """Builds the page.

    Args:
        models: what the menu shows -> model; by default what `models.yml` lists.
    """
    menu = Menu([Offer("Enhance", *entry) for entry in models.items()]) if models else Menu.read()
    cache = (limits.KEEP_SECONDS, limits.KEEP_SECONDS)
    with gr.Blocks(title="hfsr upscaler", analytics_enabled=False, delete_cache=cache) as page:
        gr.Markdown(TITLE, elem_id="title")
        with gr.Tab("Enhance", id="enhance", elem_id="enhance"):
            upscale_tab.tab(page, menu)
        with gr.Tab("Experiments", id="experiments", elem_id="experiments"):
            zeroshot_tab.tab(page)
    # Programs wait in the queue like everyone: without api_open=False they could pass it by.
    return page.queue(max_size=limits.MAX_WAITING, default_concurrency_limit=1, api_open=False)


def launch(
    models: dict[str, str] | None = None,
    *,
    host: str | None = None,
    port: int | None = None,
    browser: bool = False,
) -> None:
    """Serves the page until it is interrupted; then nothing of what visitors gave or got is left."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # how the Hub stops a Space: as by Ctrl-C
    with TemporaryDirectory(prefix="hfsr_space_") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        build(models).launch(server_name=host, server_port=port, inbrowser=browser, **settings())


def settings() -> dict[str, Any]:
    """How gradio is to serve the page: its limits, its looks, and nothing that it does not need."""
    return {
        "app_kwargs": {"middleware": [Middleware(Door)]},
        "max_file_size": limits.MAX_UPLOAD,
        "run_history": False,
        "enable_monitoring": False,
        "ssr_mode": False,
        "footer_links": ["api", "gradio", "settings"],
        "theme": theme(),
        "css_paths": HERE / "style.css",
        "js": (HERE / "page.js").read_text(encoding="utf-8"),
    }


def theme() -> gr.themes.Base:
    """The page's colours and letters; the font comes with gradio, not from another server."""
    font: list[Any] = [gr.themes.LocalFont("Source Sans Pro", weights=(400, 700)), "system-ui", "sans-serif"]
    plain = gr.themes.Default(primary_hue="indigo", secondary_hue="indigo", font=font, radius_size="lg")
    return plain.set(  # gradio's own gray is too pale to read on white
        body_background_fill="*neutral_50",
        body_text_color_subdued="*neutral_600",
        block_info_text_color="*neutral_600",
    )
