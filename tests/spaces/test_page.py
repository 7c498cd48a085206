"""The page in a real Chromium: what a visitor does, and what can go wrong."""

from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import hfsr

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
PATIENCE = 60_000  # ms; for a machine that is busy with other things

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="no Chromium: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def chromium():
    reason = "playwright is not installed: pip install 'hfsr[test]'"
    api = pytest.importorskip("playwright.sync_api", reason=reason)
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium, served):
    """Opens the page in a window of its own; whatever it asks for has to come from this machine."""
    contexts, asked = [], []

    def open_page(width=1280, height=860, dark=False):
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto(served.url)
        page.get_by_role("button", name="Enhance").wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert asked
    assert {url for url in asked if not url.startswith((served.url, "data:", "blob:"))} == set()


def give(page, path):
    page.locator("input[type=file]").set_input_files(path)
    page.get_by_role("button", name="Remove Image").wait_for()


def enhance(page):
    page.get_by_role("button", name="Enhance").click()


def choose(page, label, option):
    page.get_by_label(label).click()
    page.get_by_role("option", name=option).click()


def report(page):
    return page.locator("#report [role=status]")  # what a screen reader hears


def download(page, folder):
    with page.expect_download() as event:
        page.get_by_role("button", name="Download PNG").click()
    path = folder / event.value.suggested_filename
    event.value.save_as(path)
    return path


def vanishes(jobs, seconds=20):
    deadline = time.monotonic() + seconds
    while jobs() and time.monotonic() < deadline:
        time.sleep(0.1)
    return not jobs()


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_upload_enhance_compare_download(visit, served, photo, tmp_path):
    page = visit()
    give(page, photo)
    enhance(page)
    report(page).get_by_text("300 × 200 px became 600 × 400 px.").wait_for()
    assert "tile 256" in report(page).inner_text()

    saved = download(page, tmp_path)
    assert saved.name == "photo_x2.png"
    hfsr.Upscaler(hfsr.from_pretrained(served.quick), tile=256).file(photo, tmp_path / "own.png")
    assert np.array_equal(pixels(saved), pixels(tmp_path / "own.png"))

    before, after = page.locator("#comparison img").all()
    for image in (before, after):
        assert image.evaluate("i => [i.naturalWidth, i.naturalHeight]") == [600, 400]
    shown = tmp_path / "shown.png"
    shown.write_bytes(page.request.get(after.get_attribute("src")).body())
    assert np.array_equal(pixels(shown), pixels(saved))  # the browser gets no lossy copy

    assert "inset(0px 0px 0px 50%)" in after.get_attribute("style")
    handle = page.get_by_test_id("slider")
    box = handle.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] - 120, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    assert "inset(0px 0px 0px 50%)" not in after.get_attribute("style")
    assert served.jobs() == []


def test_an_example_is_a_click_away(visit):
    page = visit()
    page.get_by_role("button", name="Example picture 2").click()
    page.get_by_role("button", name="Remove Image").wait_for()
    enhance(page)
    report(page).get_by_text("320 × 240 px became 640 × 480 px.").wait_for()


def test_advanced_choices_reach_the_run(visit, photo):
    page = visit()
    give(page, photo)
    page.get_by_role("button", name="Advanced").click()
    choose(page, "Piece size", "64 px")
    page.get_by_label("fp32, most exact").check()
    enhance(page)
    report(page).get_by_text("tile 64, fp32").wait_for()


def test_a_text_file_is_told_in_words_and_the_page_goes_on(visit, photo, text_file):
    page = visit()
    give(page, text_file)
    enhance(page)
    page.get_by_text("'letter.png' is no picture: it holds text").wait_for()
    page.get_by_role("button", name="Remove Image").click()
    give(page, photo)
    enhance(page)
    report(page).get_by_text("300 × 200 px became 600 × 400 px.").wait_for()


def test_without_a_picture_it_asks_for_one(visit):
    page = visit()
    enhance(page)
    page.get_by_text("Drop a picture first.").wait_for()
    report(page).get_by_text("Your result appears here").wait_for()


def test_progress_by_pieces_and_cancel(visit, served, large_photo):
    page = visit()
    give(page, large_photo)
    choose(page, "What to do", served.slow)
    enhance(page)
    report(page).get_by_text(re.compile(r"^\d+ of 24 pieces, about .* left$")).wait_for()
    said, part = report(page).evaluate("e => [e.innerText, e.querySelector('progress').value]")
    assert part == pytest.approx(int(said.split()[0]) / 24, abs=1e-3)
    assert len(served.jobs()) == 1
    assert page.get_by_role("button", name="Enhance").is_disabled()
    page.get_by_role("button", name="Cancel").click()
    report(page).get_by_text("Your result appears here").wait_for()
    assert vanishes(served.jobs)
    assert page.get_by_role("button", name="Download PNG").count() == 0
    assert page.get_by_role("button", name="Enhance").is_enabled()


def test_a_visitor_who_leaves_ends_the_job_and_the_next_one_gets_on(visit, served, photo, large_photo):
    leaving, waiting = visit(), visit()
    give(leaving, large_photo)
    choose(leaving, "What to do", served.slow)
    give(waiting, photo)
    enhance(leaving)
    report(leaving).get_by_text(" of 24 pieces").wait_for()
    enhance(waiting)
    waiting.locator("#report").get_by_text("queue: 1/1").wait_for()
    leaving.reload()
    report(waiting).get_by_text("300 × 200 px became 600 × 400 px.").wait_for()
    assert vanishes(served.jobs)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_on_a_phone(visit, photo, dark, tmp_path):
    page = visit(width=390, height=844, dark=dark)
    give(page, photo)
    enhance(page)
    page.get_by_role("button", name="Download PNG").wait_for()
    width, background = page.evaluate(
        "[document.documentElement.scrollWidth, getComputedStyle(document.body).backgroundColor]"
    )
    assert width == 390
    brightness = sum(int(value) for value in background.strip("rgb()").split(",")) / 3
    assert (brightness < 64) if dark else (brightness > 192)
    page.screenshot(path=tmp_path / "phone.png", full_page=True)
    with Image.open(tmp_path / "phone.png") as shot:
        assert shot.width == 390
