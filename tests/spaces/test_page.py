"""Tests of the page in a headless Chromium."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import hfsr
from hfsr import cli

from .conftest import TIMEOUT_MS, eventually
from .http_client import HttpClient


pytestmark = [
    pytest.mark.browser,
]


@pytest.fixture
def visit(chromium, served):
    """Opens the page in its own browser context; checks that all requests go to this machine."""
    contexts, requested = [], []

    def open_page(width=1280, height=860, dark=False, beside=None):
        """`beside`: page of a visitor who opens a second tab."""
        if beside is None:
            context = chromium.new_context(
                viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
            )
            contexts.append(context)
            context.set_default_timeout(TIMEOUT_MS)
        else:
            context = beside.context
        page = context.new_page()
        page.on("request", lambda request: requested.append(request.url))
        page.goto(served.url)
        page.get_by_role("button", name="Enhance").wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert requested
    assert {url for url in requested if not url.startswith((served.url, "data:", "blob:"))} == set()


def give(page, path):
    page.locator(".image-container:visible input[type=file]").set_input_files(path)
    page.get_by_role("button", name="Remove Image").wait_for()


def enhance(page):
    page.get_by_role("button", name="Enhance").click()


def choose(page, label, option):
    page.get_by_label(label).click()
    page.get_by_role("option", name=option).click()


def report(page):
    return page.locator(".report[role=status]:visible")  # announced by screen readers


def download(page, folder):
    with page.expect_download() as event:
        page.get_by_role("button", name="Download PNG").click()
    path = folder / event.value.suggested_filename
    event.value.save_as(path)
    return path


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_upload_enhance_compare_download(visit, served, photo, tmp_path):
    page = visit()
    give(page, photo)
    enhance(page)
    report(page).get_by_text("300 × 200 px became 600 × 400 px.").wait_for()

    saved = download(page, tmp_path)
    assert saved.name == "photo_x2.png"
    own = tmp_path / "own.png"
    assert cli.main(["upscale", str(photo), "-m", served.quick, "-o", str(own)]) == 0
    assert np.array_equal(pixels(saved), pixels(own))

    before, after = page.locator(".comparison img").all()
    for image, name in ((before, "Before"), (after, "After")):
        assert image.get_attribute("alt") == name
        assert image.evaluate("i => [i.naturalWidth, i.naturalHeight]") == [600, 400]
    shown = tmp_path / "shown.png"
    shown.write_bytes(page.request.get(after.get_attribute("src")).body())
    assert np.array_equal(pixels(shown), pixels(saved))  # the browser gets the PNG, not a lossy copy

    assert "inset(0px 0px 0px 50%)" in after.get_attribute("style")
    box = page.get_by_test_id("slider").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] - 120, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    assert "inset(0px 0px 0px 50%)" not in after.get_attribute("style")
    assert served.is_idle()


def test_slider_keyboard_control(visit, photo):
    page = visit()
    give(page, photo)
    enhance(page)
    slider = page.get_by_role("slider", name="Comparison: before on the left, after on the right")
    slider.wait_for()
    slider.focus()
    after = page.locator(".comparison img").last
    at = 50
    for key, step in (
        ("ArrowLeft", -5),
        ("ArrowRight", 5),
        ("Shift+ArrowUp", 1),
        ("PageDown", -20),
        ("Home", -31),
    ):
        page.keyboard.press(key)
        at += step
        page.wait_for_function("([e, at]) => e.ariaValueNow == at", arg=[slider.element_handle(), at])
        assert slider.get_attribute("aria-valuetext") == f"{at} percent before, {100 - at} percent after"
        cut = float(re.search(r"inset\(0px 0px 0px ([\d.]+)%\)", after.get_attribute("style"))[1])
        assert cut == pytest.approx(at, abs=1)
    page.keyboard.press("End")
    page.keyboard.press("Tab")
    assert slider.get_attribute("aria-valuenow") == "100"
    assert not slider.evaluate("e => e === document.activeElement")


def test_keyboard_navigation(visit, photo):
    page = visit()
    reached = set()
    for _ in range(25):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("(e => e.ariaLabel || e.textContent.trim())(document.activeElement)"))
    wanted = {"Enhance", "Example image 1", "Example image 3", "Model"}
    assert wanted <= reached
    assert any(name.startswith("Advanced") for name in reached)


def test_example_image(visit):
    page = visit()
    page.get_by_role("button", name="Example image 2").click()
    page.get_by_role("button", name="Remove Image").wait_for()
    enhance(page)
    report(page).get_by_text("320 × 240 px became 640 × 480 px.").wait_for()


def test_advanced_options_are_used(visit, photo):
    page = visit()
    give(page, photo)
    page.get_by_role("button", name="Advanced").click()
    choose(page, "Tile size", "64 px")
    page.get_by_label("fp32, most exact").check()
    page.get_by_label("Self-ensemble").check()
    enhance(page)
    report(page).get_by_text("Details").click()
    report(page).get_by_text("tile 64, fp32").wait_for()


def test_task_model_and_strength(visit, served, photo, tmp_path):
    page = visit()
    give(page, photo)
    page.get_by_role("button", name="Advanced").click()
    strength = page.get_by_label("number input for Strength")
    assert strength.count() == 0
    page.get_by_label("Clean").check()
    strength.fill("0")
    strength.press("Tab")
    assert page.get_by_label("Model").input_value() == "of grain"
    enhance(page)
    saved = download(page, tmp_path)
    own = tmp_path / "own.png"
    hfsr.Upscaler(hfsr.from_pretrained(served.mild)).file(photo, own)
    assert np.array_equal(pixels(saved), pixels(own))
    page.get_by_label("Enlarge").check()
    strength.wait_for(state="detached")


def test_text_file_shows_an_error(visit, photo, text_file):
    page = visit()
    give(page, text_file)
    enhance(page)
    page.get_by_text(re.compile("'letter.png' is (no image|not an image)")).wait_for()
    page.get_by_role("button", name="Remove Image").click()
    give(page, photo)
    enhance(page)
    report(page).get_by_text("300 × 200 px became 600 × 400 px.").wait_for()


def test_keyboard_focus_moves_to_cancel_and_back(visit, served, large_photo):
    page = visit()
    give(page, large_photo)
    choose(page, "Model", "slowly")
    page.get_by_role("button", name="Enhance").focus()
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement.textContent.trim() === 'Cancel'")
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement.textContent.trim() === 'Enhance'")
    assert served.is_idle()


def test_phone_scrolls_to_progress_and_result(visit, photo):
    page = visit(width=390, height=844)
    give(page, photo)
    enhance(page)
    page.get_by_role("button", name="Download PNG").wait_for()
    is_visible = """() => {
        const box = document.querySelector(".comparison").getBoundingClientRect();
        return box.height > 0 && box.top >= -1 && box.bottom <= window.innerHeight + 1;
    }"""
    page.wait_for_function(is_visible)


def test_new_image_removes_the_previous_result(visit, photo):
    page = visit()
    give(page, photo)
    enhance(page)
    report(page).get_by_text("photo_x2.png").wait_for()
    page.get_by_role("button", name="Download PNG").wait_for()
    page.get_by_role("button", name="Remove Image").click()
    report(page).get_by_text("Your result appears here").wait_for()
    assert page.get_by_role("button", name="Download PNG").count() == 0


def test_start_without_an_image(visit):
    page = visit()
    enhance(page)
    page.get_by_text("Drop an image first.").wait_for()
    report(page).get_by_text("Your result appears here").wait_for()


def begin_long_job(page, large_photo):
    give(page, large_photo)
    choose(page, "Model", "slowly")
    enhance(page)
    report(page).get_by_text(re.compile(r"^\d+ of \d+ tiles, about .* left$")).wait_for()


def test_progress_and_cancel(visit, served, large_photo):
    page = visit()
    begin_long_job(page, large_photo)
    text, fraction, busy = report(page).evaluate(
        "e => [e.innerText, e.querySelector('progress').value, e.ariaBusy]"
    )
    done, total = map(int, re.findall(r"\d+", text)[:2])
    assert fraction == pytest.approx(done / total, abs=1e-3)
    assert busy == "true"  # not announced after every tile
    assert len(served.jobs()) == 1
    assert page.get_by_role("button", name="Enhance").is_disabled()
    page.get_by_role("button", name="Cancel").click()
    report(page).get_by_text("Your result appears here").wait_for()
    assert served.is_idle()
    assert page.get_by_role("button", name="Download PNG").count() == 0
    assert page.get_by_role("button", name="Enhance").is_enabled()


def test_job_ends_when_the_visitor_leaves(visit, served, photo, large_photo):
    leaving, waiting = visit(), visit()
    begin_long_job(leaving, large_photo)
    give(waiting, photo)
    enhance(waiting)
    waiting.get_by_text("queue: 1/1").wait_for()
    leaving.reload()
    report(waiting).get_by_text("300 × 200 px became 600 × 400 px.").wait_for()
    assert served.is_idle()
    give(leaving, photo)  # the ended job does not block the visitor
    enhance(leaving)
    report(leaving).get_by_text("300 × 200 px became 600 × 400 px.").wait_for()


def test_two_tabs_of_one_visitor(visit, served, photo, large_photo):
    first = visit()
    second = visit(beside=first)
    begin_long_job(first, large_photo)
    give(second, photo)
    enhance(second)
    report(second).get_by_text("You already have an image in work, here or in another tab").wait_for()
    assert second.get_by_role("button", name="Enhance").is_enabled()
    second.get_by_role("tab", name="Experiments").click()
    second.get_by_role("button", name="Example image 1").click()
    second.get_by_role("button", name="Remove Image").wait_for()
    second.get_by_role("button", name="Learn and enlarge").click()
    report(second).get_by_text("You already have an image in work").wait_for()
    first.get_by_role("button", name="Cancel").click()
    report(first).get_by_text("Your result appears here").wait_for()
    second.get_by_role("tab", name="Enhance").click()
    enhance(second)
    report(second).get_by_text("300 × 200 px became 600 × 400 px.").wait_for()


def test_full_queue(visit, served, photo, large_photo):
    with ExitStack() as visitors:
        clients = [visitors.enter_context(HttpClient(served.url)) for _ in range(9)]
        image = clients[0].upload(large_photo)
        job = (image, served.slow, "auto", "auto", False, 1)
        events = [clients[0].join("upscale", *job).json()["event_id"]]
        assert eventually(served.jobs)
        events += [client.join("upscale", *job).json()["event_id"] for client in clients[1:]]
        page = visit()
        give(page, photo)
        enhance(page)
        page.get_by_text("This application is currently busy. Please try again.").wait_for()
        assert eventually(page.get_by_role("button", name="Enhance").is_enabled)
        for client, event in reversed(list(zip(clients, events, strict=True))):
            client.cancel("upscale", event)
    enhance(page)
    report(page).get_by_text("300 × 200 px became 600 × 400 px.").wait_for()


def test_zeroshot_tab(visit, served, photo, tmp_path):
    page = visit()
    page.get_by_role("tab", name="Experiments").click()
    page.get_by_role("button", name="Example image 2").click()
    page.get_by_role("button", name="Remove Image").wait_for()
    page.get_by_role("button", name="Learn and enlarge").click()
    learning = r"^Learning: step \d+ of at most 1000, loss 0\.\d{4}, \d+ (seconds|minutes) left at most$"
    page.get_by_role("img", name="Loss so far").wait_for()
    assert re.search(learning, report(page).inner_text(), re.MULTILINE)
    page.get_by_role("button", name="Cancel").click()
    report(page).get_by_text("The progress of the training appears here").wait_for()
    assert served.is_idle()

    small = tmp_path / "small.png"
    with Image.open(photo) as image:
        image.crop((0, 0, 16, 16)).save(small)
    page.get_by_role("button", name="Remove Image").click()
    give(page, small)
    page.get_by_role("button", name="Learn and enlarge").click()
    report(page).get_by_text("16 × 16 px became 32 × 32 px.").wait_for()
    saved = download(page, tmp_path)
    assert saved.name == "small_zeroshot_x2.png"
    assert pixels(saved).shape == (32, 32, 3)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_on_a_phone(visit, photo, dark, tmp_path):
    page = visit(width=390, height=844, dark=dark)
    give(page, photo)
    enhance(page)
    page.get_by_role("button", name="Download PNG").wait_for()
    page.get_by_role("button", name="Advanced").click()
    look = "[document.documentElement.scrollWidth, getComputedStyle(document.body).backgroundColor]"
    width, background = page.evaluate(look)
    assert width == 390
    brightness = sum(int(value) for value in background.strip("rgb()").split(",")) / 3
    assert (brightness < 64) if dark else (brightness > 192)
    page.screenshot(path=tmp_path / "phone.png", full_page=True)
    with Image.open(tmp_path / "phone.png") as shot:
        assert shot.width == 390
    page.get_by_role("tab", name="Experiments").click()
    page.get_by_role("button", name="Learn and enlarge").wait_for()
    assert page.evaluate(look)[0] == 390
