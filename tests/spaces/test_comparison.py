"""Tests of the comparison of before and after, which both Spaces share, in a headless Chromium."""

from __future__ import annotations

import pytest

from hfsr import _resources

from .conftest import TIMEOUT_MS
from .static_site import served_folder

pytestmark = pytest.mark.browser

SIZE = (1280, 960)
"""Px of the example's result."""


@pytest.fixture(scope="module")
def address():
    """The static page without models: it shows its example."""
    with served_folder(_resources.path("spaces", "browser")) as url:
        yield url


@pytest.fixture
def page(chromium, address):
    context = chromium.new_context(viewport={"width": 1280, "height": 860})
    context.set_default_timeout(TIMEOUT_MS)
    page = context.new_page()
    page.goto(address)
    page.locator(".stage .after").wait_for()
    yield page
    context.close()


def box(page, selector):
    return page.locator(selector).bounding_box()


def seam(page):
    """Position of the border between before and after, in px of the screen."""
    cut = page.locator(".after").evaluate("image => image.style.clipPath.match(/([\\d.]+)px\\)$/)[1]")
    return box(page, ".stage")["x"] + float(cut)


def middle(page, selector):
    found = box(page, selector)
    return found["x"] + found["width"] / 2, found["y"] + found["height"] / 2


@pytest.mark.parametrize(("name", "factor"), [("1:1", 1), ("2:1", 2), ("Fit", None)])
def test_zoom_and_slider_by_mouse_and_keys(page, name, factor):
    page.get_by_role("button", name=name, exact=True).click()
    assert page.locator(".zoom [aria-pressed=true]").all_inner_texts() == [name]
    pane, stage = box(page, ".pane"), box(page, ".stage")
    if factor is None:
        assert stage["width"] <= pane["width"]
    else:
        assert (stage["width"], stage["height"]) == (factor * SIZE[0], factor * SIZE[1])
    page.mouse.move(*middle(page, ".handle"))
    page.mouse.down()
    page.mouse.move(pane["x"] + 100, pane["y"] + 40, steps=3)
    page.mouse.up()
    assert seam(page) == pytest.approx(pane["x"] + 100, abs=1)
    slider = page.get_by_role("slider")
    slider.focus()
    for key, at in (("Home", 0), ("PageUp", 20), ("ArrowLeft", 15), ("Shift+ArrowRight", 16), ("End", 100)):
        page.keyboard.press(key)
        assert slider.get_attribute("aria-valuenow") == str(at)
        assert slider.get_attribute("aria-valuetext") == f"{at} percent before, {100 - at} percent after"
        width = page.evaluate("document.querySelector('.pane').clientWidth")
        assert seam(page) == pytest.approx(pane["x"] + width * at / 100, abs=1)


def test_panning_keeps_the_handle_and_zooming_keeps_the_middle(page):
    page.get_by_role("button", name="2:1").click()
    before, at = box(page, ".stage"), seam(page)
    x, y = middle(page, ".pane")
    page.mouse.move(x + 200, y)
    page.mouse.down()
    page.mouse.move(x + 80, y - 70, steps=3)
    page.mouse.up()
    after = box(page, ".stage")
    assert before["x"] - after["x"] == pytest.approx(120, abs=1)
    assert before["y"] - after["y"] == pytest.approx(70, abs=1)
    assert seam(page) == pytest.approx(at, abs=1)
    share = "p => (p.scrollLeft + p.clientWidth / 2) / p.firstElementChild.offsetWidth"
    seen = page.locator(".pane").evaluate(share)
    page.get_by_role("button", name="1:1").click()
    assert page.locator(".pane").evaluate(share) == pytest.approx(seen, abs=0.002)
    assert page.get_by_text("Drag the image to see other parts of it.").is_visible()


def test_slider_by_touch(chromium, address):
    context = chromium.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(address)
    page.locator(".handle").scroll_into_view_if_needed()
    x, y = middle(page, ".handle")
    client = context.new_cdp_session(page)
    for kind, at in (("touchStart", x), ("touchMove", x - 60), ("touchMove", x - 90)):
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": at, "y": y}]})
    client.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert middle(page, ".handle")[0] == pytest.approx(x - 90, abs=1.5)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert min(box(page, ".handle")["width"], box(page, ".zoom button >> nth=0")["height"]) >= 44
    context.close()


def test_handle_has_a_contrast_of_3_to_1(page):
    """The arrows on the grip, and the grip's shadow line on white images."""
    script = """() => {
        const luminance = (color) => {
            const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
                .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const grip = document.querySelector(".grip");
        const colors = [getComputedStyle(grip, "::before").color, getComputedStyle(grip).backgroundColor];
        const [low, high] = colors.map(luminance).sort((a, b) => a - b);
        return (high + 0.05) / (low + 0.05);
    }"""
    assert page.evaluate(script) >= 3
