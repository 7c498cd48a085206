"""The page and its server."""

from __future__ import annotations

import os
import re
import signal
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from hfsr import _resources
from hfsr.samples import SAMPLE

from . import api, limits, upscale_tab, zeroshot_tab
from .catalog import SPACE_DIR, CatalogEntry, ModelCatalog
from .choices import Preload, Settings, choose, expected_seconds
from .messages import format_seconds
from .middleware import RequestFilter
from .tools import prepare_tools
from .widgets import NAMES, PAGE_EVENT, TabWidgets, samples

TITLE = """# Larger and cleaner images
Drop images, press one button, compare, download."""
SHARED = _resources.path("spaces", "browser")
"""Files of the static Space, whose comparison this page uses too."""
_PRELOAD_SECONDS = 60


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


def build_page(catalog: ModelCatalog, preloading: Thread | None = None) -> gr.Blocks:
    """Builds the page for a catalog.

    Args:
        catalog: the choices of the page.
        preloading: thread that loads the first models; the expected times of the examples wait for it.
    """
    cache = (limits.KEEP_SECONDS, limits.KEEP_SECONDS)
    with gr.Blocks(title="hfsr upscaler", analytics_enabled=False, delete_cache=cache) as page:
        gr.Markdown(TITLE, elem_id="title")
        with gr.Tab("Enhance", id="enhance", elem_id="enhance"):
            enhance = upscale_tab.build_tab(page, catalog)
        with gr.Tab("Experiments", id="experiments", elem_id="experiments"):
            zeroshot_tab.build_tab(page)
        api.add_endpoints(page, catalog)
        if preloading is not None:
            show_times(page, enhance, catalog, preloading)
    # api_open=False makes programs wait in the queue too; otherwise they could bypass it.
    return page.queue(max_size=limits.MAX_WAITING, default_concurrency_limit=1, api_open=False)


def show_times(page: gr.Blocks, tab: TabWidgets, catalog: ModelCatalog, preloading: Thread) -> None:
    """Adds the expected times to the names of the example images when the page is opened."""
    settings = Settings(catalog.first.model)

    def names() -> list[gr.Button]:
        preloading.join(_PRELOAD_SECONDS)
        buttons = []
        for path in samples():
            choice = choose(catalog, path, settings)
            seconds = expected_seconds(choice.models, choice.image)
            time = f", about {format_seconds(seconds)}" if seconds else ""
            buttons.append(gr.Button(f"{NAMES.get(path.stem, path.stem)}{time}"))
        return buttons

    page.load(names, None, list(tab.source.examples.values()), **PAGE_EVENT)


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
        preloading = Preload(catalog, SAMPLE)
        preloading.start()
        try:
            page = build_page(catalog, preloading)
            page.launch(
                server_name=host,
                server_port=port,
                inbrowser=browser,
                mcp_server=prepare_tools(),
                **server_settings(page),
            )
        finally:
            preloading.stop()


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
        "css_paths": [SHARED / "comparison.css", SPACE_DIR / "style.css"],
        "head": f'<script type="module">{page_script()}</script>',
    }


def page_script() -> str:
    """Returns the page's JavaScript modules as one; Gradio serves no files of the Space."""
    modules = [SHARED / "comparison.js", SPACE_DIR / "viewer.js", SPACE_DIR / "page.js"]
    script = "\n".join(module.read_text(encoding="utf-8") for module in modules)
    return re.sub(r"^import .*;\n|^export (?=class |function |const )", "", script, flags=re.MULTILINE)


def theme() -> gr.themes.Base:
    """Returns the colors and fonts; the font is part of Gradio, so the page requests no other server."""
    font: list[Any] = [gr.themes.LocalFont("Source Sans Pro", weights=(400, 700)), "system-ui", "sans-serif"]
    base = gr.themes.Default(primary_hue="indigo", secondary_hue="indigo", font=font, radius_size="lg")
    return base.set(  # the default gray and indigo have too little contrast
        body_background_fill="*neutral_50",
        body_text_color_subdued="*neutral_600",
        block_info_text_color="*neutral_600",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_hover_dark="*primary_700",
        color_accent="*primary_600",
        checkbox_border_color="*neutral_500",
        checkbox_border_color_dark="*neutral_400",
        link_text_color_dark="*primary_400",
        link_text_color_hover_dark="*primary_300",
    )
