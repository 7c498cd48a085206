"""The page and its server."""

from __future__ import annotations

import os
import signal
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from . import limits, upscale_tab, zeroshot_tab
from .catalog import SPACE_DIR, CatalogEntry, ModelCatalog
from .middleware import RequestFilter

TITLE = """# Larger and sharper images
Drop an image, press one button, compare, download."""


def build(models: dict[str, str] | None = None) -> gr.Blocks:
    """Builds the page.

    Args:
        models: label -> model; None uses `models.yml`.
    """
    return build_page(read_catalog(models))


def read_catalog(models: dict[str, str] | None = None) -> ModelCatalog:
    """Returns the catalog of these models (label -> model), or that of `models.yml`."""
    if models:
        return ModelCatalog([CatalogEntry("Enhance", *item) for item in models.items()])
    return ModelCatalog.read()


def build_page(catalog: ModelCatalog) -> gr.Blocks:
    """Builds the page for a catalog."""
    cache = (limits.KEEP_SECONDS, limits.KEEP_SECONDS)
    with gr.Blocks(title="hfsr upscaler", analytics_enabled=False, delete_cache=cache) as page:
        gr.Markdown(TITLE, elem_id="title")
        with gr.Tab("Enhance", id="enhance", elem_id="enhance"):
            upscale_tab.build_tab(page, catalog)
        with gr.Tab("Experiments", id="experiments", elem_id="experiments"):
            zeroshot_tab.build_tab(page)
    # api_open=False makes programs wait in the queue too; otherwise they could bypass it.
    return page.queue(max_size=limits.MAX_WAITING, default_concurrency_limit=1, api_open=False)


def launch(
    models: dict[str, str] | None = None,
    *,
    host: str | None = None,
    port: int | None = None,
    browser: bool = False,
) -> None:
    """Serves the page until it is interrupted, then deletes all uploads and results."""
    # The Hub stops a Space by SIGTERM; it is handled like Ctrl-C, so that files are deleted.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with TemporaryDirectory(prefix="hfsr_space_") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        catalog = read_catalog(models)
        catalog.preload()
        page = build_page(catalog)
        page.launch(server_name=host, server_port=port, inbrowser=browser, **server_settings(page))


def server_settings(page: gr.Blocks) -> dict[str, Any]:
    """Returns the arguments of Gradio's `launch`: middleware, limits, style, and disabled features."""
    endpoints = {fn.api_name for fn in page.fns.values() if isinstance(fn.api_name, str)}
    return {
        "app_kwargs": {"middleware": [Middleware(RequestFilter, endpoints=endpoints)]},
        "max_file_size": limits.MAX_UPLOAD,
        "run_history": False,
        "enable_monitoring": False,
        "ssr_mode": False,
        "footer_links": ["api", "gradio", "settings"],
        "theme": theme(),
        "css_paths": SPACE_DIR / "style.css",
        "js": (SPACE_DIR / "page.js").read_text(encoding="utf-8"),
    }


def theme() -> gr.themes.Base:
    """Returns the colors and fonts; the font is part of Gradio, so the page requests no other server."""
    font: list[Any] = [gr.themes.LocalFont("Source Sans Pro", weights=(400, 700)), "system-ui", "sans-serif"]
    base = gr.themes.Default(primary_hue="indigo", secondary_hue="indigo", font=font, radius_size="lg")
    return base.set(  # the default gray has too little contrast on white
        body_background_fill="*neutral_50",
        body_text_color_subdued="*neutral_600",
        block_info_text_color="*neutral_600",
    )
