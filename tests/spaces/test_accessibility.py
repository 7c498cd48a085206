"""Tests of both Spaces by axe-core in a headless Chromium: contrast, target size, names, roles."""

from __future__ import annotations

import pytest
from PIL import Image

from hfsr import _resources

from .axe import VIEWS, serious_violations
from .conftest import TIMEOUT_MS
from .static_site import served_folder

pytestmark = pytest.mark.browser


@pytest.fixture
def open_page(chromium):
    """Opens a page in its own browser context."""
    contexts = []

    def visit(url, width, dark):
        context = chromium.new_context(
            viewport={"width": width, "height": 844}, color_scheme="dark" if dark else "light"
        )
        contexts.append(context)
        context.set_default_timeout(TIMEOUT_MS)
        page = context.new_page()
        page.goto(url)
        return page

    yield visit
    for context in contexts:
        context.close()


@pytest.mark.parametrize(("width", "dark"), VIEWS)
def test_gradio_space(open_page, served, photo, text_file, width, dark, tmp_path):
    with Image.open(photo) as image:
        image.crop((0, 0, 60, 40)).save(tmp_path / "small.png")
    page = open_page(served.url, width, dark)
    page.locator(".viewer:visible").wait_for()
    page.locator(".image-input:visible input[type=file]").set_input_files(text_file)
    page.get_by_role("alert").locator("visible=true").wait_for()
    assert serious_violations(page) == []
    page.locator(".image-input:visible input[type=file]").set_input_files(tmp_path / "small.png")
    page.locator(".chosen-images:visible").wait_for()
    page.get_by_role("button", name="More settings").click()
    page.get_by_role("button", name="Enhance").click()
    page.locator(".viewer:not(.example):visible").wait_for()
    page.get_by_text("Details").locator("visible=true").click()
    page.wait_for_function("() => !document.querySelector('.buttons .primary').disabled")
    assert serious_violations(page) == []
    page.get_by_label("By kind").check()
    page.get_by_label("Kind of image").click()
    page.get_by_role("option", name="Photo from the web", exact=True).click()
    page.get_by_label("number input for Strength").wait_for()
    assert serious_violations(page) == []
    page.get_by_role("tab", name="Experiments").click()
    page.get_by_role("button", name="Learn and enlarge").wait_for()
    assert serious_violations(page) == []


@pytest.mark.parametrize(("width", "dark"), VIEWS)
def test_static_space_on_arrival(open_page, width, dark):
    """Without models, so that it shows an error, too."""
    with served_folder(_resources.path("spaces", "browser")) as url:
        page = open_page(url, width, dark)
        page.get_by_role("alert").wait_for()
        page.get_by_text("More settings").click()
        assert serious_violations(page) == []
