"""Tests of the page in a headless Chromium."""

from __future__ import annotations

import re
import zipfile
from contextlib import ExitStack

import numpy as np
import pytest
from PIL import Image

import hfsr
from hfsr import cli

from .conftest import TIMEOUT_MS, eventually
from .http_client import UPSCALE, HttpClient

pytestmark = pytest.mark.browser


@pytest.fixture
def visit(chromium, served):
    """Opens the page in its own browser context; checks that all requests go to this machine."""
    contexts, requested, errors = [], [], []

    def open_page(width=1280, height=860, dark=False, beside=None, **options):
        """`beside`: page of a visitor who opens a second tab."""
        if beside is None:
            context = chromium.new_context(
                viewport={"width": width, "height": height},
                color_scheme="dark" if dark else "light",
                **options,
            )
            contexts.append(context)
            context.set_default_timeout(TIMEOUT_MS)
        else:
            context = beside.context
        page = context.new_page()
        page.on("request", lambda request: requested.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(served.url)
        page.locator(".viewer:visible").wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert requested
    assert {url for url in requested if not url.startswith((served.url, "data:", "blob:"))} == set()
    assert errors == []


def give(page, *paths):
    """Chooses images, of which at least one is accepted."""
    offer(page, *paths)
    names = [re.compile(re.escape(path.name)) for path in paths[:1]]
    page.locator(".chosen-images:visible li", has_text=names[0]).wait_for()


def offer(page, *paths):
    """Chooses files that may be refused."""
    page.locator(".image-input:visible input[type=file]").set_input_files(list(paths))


def enhance(page):
    page.get_by_role("button", name="Enhance").click()


def choose(page, label, option):
    page.get_by_label(label).click()
    page.get_by_role("option", name=option, exact=True).click()


def report(page):
    return page.locator(".report:not(.block):visible")


def line(page, text=None):
    """The facts of a result in plain words, when it is there."""
    found = page.locator(".viewer:not(.example):visible .line", has_text=text)
    found.wait_for()
    return found.inner_text()


def download(page, folder, name="Download PNG"):
    with page.expect_download() as event:
        page.get_by_role("link", name=name).click()
    path = folder / event.value.suggested_filename
    event.value.save_as(path)
    return path


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def is_in_view(page, selector):
    script = """selector => {
        const element = [...document.querySelectorAll(selector)].find((each) => each.offsetParent);
        const box = element?.getBoundingClientRect();
        return box && box.height > 0 && box.top >= -1 && box.bottom <= innerHeight + 1;
    }"""
    page.wait_for_function(script, arg=selector)


def focused(page):
    return page.evaluate("document.activeElement.textContent.trim()")


def test_arrival_shows_a_finished_comparison_and_examples_by_time(visit):
    page = visit()
    after = page.locator(".viewer:visible .after")
    page.wait_for_function("() => document.querySelector('.viewer .after').naturalWidth === 1280")
    assert after.bounding_box()["width"] == 1280  # 1:1
    assert page.locator(".zoom [aria-pressed=true]:visible").inner_text() == "1:1"
    examples = page.locator(".examples:visible button")
    page.locator(".examples:visible button", has_text="about").nth(2).wait_for()
    times = [int(re.search(r", about (\d+) seconds?$", text)[1]) for text in examples.all_inner_texts()]
    assert times == sorted(times)
    reached = set()
    for _ in range(25):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("(e => e.ariaLabel || e.textContent.trim())(document.activeElement)"))
    assert {"Enhance", "Model", "1:1", "Comparison: before on the left, after on the right"} <= reached
    assert any(name.startswith("More settings") for name in reached)
    assert any(name.startswith("Cat, about") for name in reached)
    page.get_by_role("button", name="Cat, about").click()
    page.locator(".chosen-images:visible", has_text="cat.png").wait_for()


def test_one_image_from_upload_to_download(visit, served, photo, text_file, tmp_path):
    page = visit()
    give(page, photo)
    assert not page.locator(".drop").first.is_visible()  # the input is a line now
    page.locator(".plan:visible", has_text=re.compile("^About 1 second")).wait_for()
    page.get_by_role("button", name="Enhance").focus()
    page.keyboard.press("Enter")
    assert re.fullmatch(r"600 × 400, \d+\.\d [KM]B, \d+ seconds?", line(page))
    page.wait_for_function("() => document.activeElement.textContent === 'photo_x2.png'")
    announced = page.locator(".announcer[role=status]")
    assert announced.inner_text() == f"Done: {line(page)}."
    assert report(page).count() == 0 or report(page).inner_text() == ""
    assert page.locator(".viewer:visible .frame").bounding_box()["width"] == 600

    saved = download(page, tmp_path)
    assert saved.name == "photo_x2.png"
    own = tmp_path / "own.png"
    assert cli.main(["upscale", str(photo), "-m", served.quick, "-o", str(own)]) == 0
    assert np.array_equal(pixels(saved), pixels(own))
    before, after = page.locator(".viewer:visible .stage img").all()
    for image, name, source in ((before, "Before", photo), (after, "After", own)):
        assert image.get_attribute("alt") == f"{name}: photo_x2.png"
        shown = tmp_path / f"{name}.png"
        shown.write_bytes(page.request.get(image.evaluate("image => image.src")).body())
        assert np.array_equal(pixels(shown), pixels(source))  # the browser gets no lossy copy
    page.get_by_text("Details").locator("visible=true").click()
    assert "EDSR x2, tile" in page.locator(".facts-block:visible dl").inner_text()
    slider = page.get_by_role("slider", name="Comparison").locator("visible=true")
    slider.focus()
    page.keyboard.press("PageDown")
    assert slider.get_attribute("aria-valuetext") == "30 percent before, 70 percent after"

    offer(page, text_file)  # a new input, also a refused one, removes the former result
    alert = page.get_by_role("alert").locator("visible=true")
    alert.wait_for()
    assert re.match("'letter.png' is (no image|not an image)", alert.inner_text())
    page.locator(".viewer.example:visible").wait_for()
    assert page.get_by_role("link", name="Download PNG").count() == 0
    assert page.locator(".drop").first.is_visible()
    enhance(page)
    report(page).get_by_text("Choose an image first.").wait_for()
    assert page.get_by_role("button", name="Enhance").is_enabled()
    assert served.is_idle()


def test_several_images_pasted_and_saved_as_one_zip(visit, served, photo, tmp_path):
    with Image.open(photo) as image:
        image.crop((0, 0, 40, 30)).save(tmp_path / "a.png")
        image.crop((0, 0, 20, 30)).save(tmp_path / "b.png")
    page = visit()
    paste = """files => {
        const data = new DataTransfer();
        for (const [name, bytes] of files) {
            data.items.add(new File([Uint8Array.from(bytes)], name, {type: "image/png"}));
        }
        document.body.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data, bubbles: true}));
    }"""
    page.evaluate(paste, [[name, list((tmp_path / name).read_bytes())] for name in ("a.png", "b.png")])
    page.locator(".chosen-images:visible li").nth(1).wait_for()
    enhance(page)
    archive = download(page, tmp_path, "Download all (ZIP)")
    with zipfile.ZipFile(archive) as files:
        assert files.testzip() is None
        assert files.namelist() == ["a_x2.png", "b_x2.png"]
        files.extractall(tmp_path)
    hfsr.Upscaler(hfsr.from_pretrained(served.quick)).file(tmp_path / "b.png", tmp_path / "own.png")
    assert np.array_equal(pixels(tmp_path / "b_x2.png"), pixels(tmp_path / "own.png"))
    assert line(page).startswith("80 × 60, ")
    page.get_by_role("button", name="b_x2.png").click()
    assert line(page).startswith("40 × 60, ")
    assert page.locator(".strip:visible [aria-pressed=true]").inner_text() == "b_x2.png"


def test_settings_are_used(visit, served, photo, tmp_path):
    page = visit()
    give(page, photo)
    page.get_by_role("button", name="More settings").click()
    choose(page, "Tile size", "64 px")
    page.get_by_label("fp32, most exact").check()
    page.get_by_label("Self-ensemble").check()
    page.get_by_label("WebP").check()
    page.get_by_label("Fit to a width").check()
    page.get_by_label("Width, px").fill("450")
    page.get_by_label("Width, px").press("Tab")
    enhance(page)
    assert line(page).startswith("450 × 300, ")
    saved = download(page, tmp_path, "Download WEBP")
    assert saved.name == "photo_w450.webp"
    page.get_by_text("Details").locator("visible=true").click()
    assert "tile 64, fp32" in page.locator(".facts-block:visible dl").inner_text()

    strength = page.get_by_label("number input for Strength")
    assert strength.count() == 0
    page.get_by_label("Clean", exact=True).check()
    strength.wait_for()
    page.wait_for_timeout(1000)  # the answer that shows the field sets it too, maybe twice
    strength.fill("0")
    strength.press("Tab")
    page.get_by_label("PNG").check()
    page.get_by_label("Self-ensemble").uncheck()
    assert page.get_by_label("Model").input_value() == "of grain"
    enhance(page)
    line(page, "600 × 400")
    own = tmp_path / "own.png"
    hfsr.Upscaler(hfsr.from_pretrained(served.mild), tile=64, dtype="fp32").file(photo, own)
    assert np.array_equal(pixels(download(page, tmp_path)), pixels(own))


def test_automatic_says_what_it_chose_and_why(visit, photo, tmp_path):
    with Image.open(photo) as image:
        image.crop((0, 0, 32, 24)).save(tmp_path / "small.jpg", quality=70)
    page = visit()
    page.get_by_label("By kind").check()
    give(page, tmp_path / "small.jpg")
    plan = page.locator(".plan:visible")
    plan.get_by_text("Chosen: “Photo from the web”, because it is a JPEG of quality 70.").wait_for()
    page.get_by_label("3×").check()
    enhance(page)
    assert line(page).startswith("96 × 72, ")
    assert download(page, tmp_path).name == "small_x3.png"
    page.get_by_text("Details").locator("visible=true").click()
    facts = page.locator(".facts-block:visible dl").inner_text()
    assert "hfsr-x4-photo (chosen: JPEG of quality 70)" in facts
    choose(page, "Kind of image", "Clean image")
    page.wait_for_function("() => !document.querySelector('.plan p').textContent.includes('Chosen')")


def test_photos_have_a_strength(visit, photo, tmp_path):
    with Image.open(photo) as image:
        image.crop((0, 0, 32, 24)).save(tmp_path / "small.jpg", quality=70)
    page = visit()
    page.get_by_label("By kind").check()
    give(page, tmp_path / "small.jpg")
    strength = page.get_by_label("number input for Strength")
    assert strength.count() == 0  # "Automatic"
    choose(page, "Kind of image", "Photo from the web")
    strength.wait_for()
    ends = page.locator(".ends:not(.block):visible").inner_text().split("\n")
    assert [end.strip() for end in ends if end.strip()] == ["keeps detail", "removes artifacts"]
    page.wait_for_timeout(1000)  # the answer that shows the field sets it too
    strength.fill("0.4")
    strength.press("Tab")
    enhance(page)
    assert re.fullmatch(r"64 × 48, .*, strength 0\.4", line(page))
    assert page.locator(".viewer:visible .tag:visible").count() == 0  # they would overlap in a small frame
    facts = page.locator(".facts-block:visible")
    facts.get_by_text("Details").click()
    assert "hfsr-x2 to hfsr-x2-photo at 0.4" in facts.locator("dl").inner_text()
    own = tmp_path / "own.png"
    assert cli.main(["upscale", str(tmp_path / "small.jpg"), "--strength", "0.4", "-o", str(own)]) == 0
    assert np.array_equal(pixels(download(page, tmp_path)), pixels(own))
    choose(page, "Kind of image", "Clean image")
    strength.wait_for(state="hidden")
    enhance(page)
    page.wait_for_function("() => !document.querySelector('.viewer .line').textContent.includes('strength')")


def begin_long_job(page, large_photo):
    give(page, large_photo)
    choose(page, "Model", "slowly")
    enhance(page)
    report(page).get_by_text(re.compile(r"^\d+ of \d+ parts, about .* left$")).wait_for()


def test_progress_moves_and_can_be_canceled_by_keyboard(visit, served, large_photo):
    page = visit()
    give(page, large_photo)
    choose(page, "Model", "slowly")
    page.get_by_role("button", name="Enhance").focus()
    page.keyboard.press("Enter")
    bar = report(page).locator("progress")
    bar.wait_for()
    page.wait_for_function("document.activeElement.textContent.trim() === 'Cancel'")
    report(page).get_by_text(re.compile("about .* left$")).wait_for()
    values = []
    for _ in range(6):  # it moves on between two reports of the server
        values.append(bar.evaluate("bar => bar.value"))
        page.wait_for_timeout(250)
    assert values == sorted(values)
    assert len(set(values)) >= 4
    assert len(served.jobs()) == 1
    assert page.get_by_role("button", name="Enhance").is_disabled()
    page.keyboard.press("Enter")
    report(page).get_by_text("Canceled.").wait_for()
    page.wait_for_function("document.activeElement.textContent.trim() === 'Enhance'")
    assert page.locator(".announcer").inner_text() == "Canceled."
    assert served.is_idle()
    assert page.get_by_role("link", name="Download PNG").count() == 0


def test_canceled_job_says_so_until_the_next_one(visit, served, photo, large_photo):
    page = visit()
    begin_long_job(page, large_photo)
    page.get_by_role("button", name="Cancel").click()
    report(page).get_by_text("Canceled.").wait_for()
    assert eventually(page.get_by_role("button", name="Enhance").is_enabled)  # after the tile that ran
    assert page.get_by_role("button", name="Cancel").is_disabled()
    assert served.is_idle()
    page.wait_for_timeout(500)  # for the answers of all events
    assert report(page).inner_text() == "Canceled."
    give(page, photo)
    enhance(page)
    line(page, "600 × 400")


def test_other_images_cancel_the_job_of_the_former_ones(visit, served, photo, large_photo):
    page = visit()
    begin_long_job(page, large_photo)
    give(page, photo)
    report(page).get_by_text("Canceled.").wait_for()
    assert served.is_idle()
    page.wait_for_timeout(500)
    assert page.get_by_role("link", name="Download PNG").count() == 0
    enhance(page)
    line(page, "600 × 400")
    give(page, large_photo)  # the job has ended: nothing is canceled
    page.locator(".viewer.example:visible").wait_for()
    page.wait_for_timeout(500)
    assert report(page).count() == 0


def test_cancel_before_the_server_knows_of_the_job(visit, served, large_photo):
    page, held = visit(), []
    give(page, large_photo)
    page.route("**/queue/join*", lambda route: route.continue_() if held else held.append(route))
    enhance(page)
    page.get_by_role("button", name="Cancel").click()
    report(page).get_by_text("Canceled.").wait_for()
    with page.expect_response("**/queue/join*"):
        held[0].continue_()
    assert served.is_idle()
    page.wait_for_timeout(500)
    assert report(page).inner_text() == "Canceled."
    assert page.get_by_role("link", name="Download PNG").count() == 0
    enhance(page)
    assert line(page).startswith("3000 × 2000, ")


def test_cancel_while_waiting_for_another_visitor(visit, served, photo, large_photo):
    working, waiting = visit(), visit()
    begin_long_job(working, large_photo)
    give(waiting, photo)
    enhance(waiting)
    waiting.get_by_text("queue: 1/1").wait_for()
    waiting.get_by_role("button", name="Cancel").click()
    report(waiting).get_by_text("Canceled.").wait_for()
    assert eventually(waiting.get_by_role("button", name="Enhance").is_enabled)
    assert report(working).locator("progress").is_visible()
    working.get_by_role("button", name="Cancel").click()
    report(working).get_by_text("Canceled.").wait_for()
    assert served.is_idle()
    enhance(waiting)
    line(waiting, "600 × 400")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_phone_follows_the_progress_and_the_result(visit, photo, dark):
    page = visit(width=390, height=844, dark=dark, has_touch=True, reduced_motion="reduce")
    width = "document.documentElement.scrollWidth"
    assert page.evaluate(width) == 390
    give(page, photo)
    page.get_by_role("button", name="Enhance").tap()
    is_in_view(page, ".viewer:not(.example) h2")
    is_in_view(page, ".viewer:not(.example) .frame")
    assert page.evaluate("scrollY") > 100
    assert focused(page) == "photo_x2.png"
    color = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(int(value) for value in re.findall(r"\d+", color)[:3]) / 3
    assert (brightness < 64) if dark else (brightness > 192)
    page.get_by_role("button", name="More settings").tap()
    assert page.evaluate(width) == 390
    page.get_by_role("tab", name="Experiments").click()
    page.get_by_role("button", name="Learn and enlarge").wait_for()
    assert page.evaluate(width) == 390


def test_phone_shows_the_progress_of_a_long_job(visit, served, large_photo):
    page = visit(width=390, height=844, has_touch=True)
    begin_long_job(page, large_photo)
    is_in_view(page, ".report progress")
    is_in_view(page, ".buttons button:last-child")
    page.get_by_role("button", name="Cancel").tap()
    report(page).get_by_text("Canceled.").wait_for()
    assert served.is_idle()


@pytest.mark.slow
def test_job_ends_when_the_visitor_leaves(visit, served, photo, large_photo):
    leaving, waiting = visit(), visit()
    begin_long_job(leaving, large_photo)
    give(waiting, photo)
    enhance(waiting)
    waiting.get_by_text("queue: 1/1").wait_for()
    leaving.reload()
    line(waiting, "600 × 400")
    assert served.is_idle()
    give(leaving, photo)  # the ended job does not block the visitor
    enhance(leaving)
    line(leaving, "600 × 400")


@pytest.mark.slow
def test_two_tabs_of_one_visitor(visit, served, photo, large_photo):
    first = visit()
    second = visit(beside=first)
    begin_long_job(first, large_photo)
    give(second, photo)
    enhance(second)
    report(second).get_by_text("You already have an image in work, here or in another tab").wait_for()
    assert second.get_by_role("button", name="Enhance").is_enabled()
    second.get_by_role("tab", name="Experiments").click()
    give(second, photo)
    second.get_by_role("button", name="Learn and enlarge").click()
    report(second).get_by_text("You already have an image in work").wait_for()
    first.get_by_role("button", name="Cancel").click()
    report(first).get_by_text("Canceled.").wait_for()
    second.get_by_role("tab", name="Enhance").click()
    enhance(second)
    line(second, "600 × 400")
    assert served.is_idle()


def test_full_queue(visit, served, photo, large_photo):
    with ExitStack() as visitors:
        clients = [visitors.enter_context(HttpClient(served.url)) for _ in range(9)]
        image = clients[0].upload(large_photo)
        job = (image, served.slow, *UPSCALE)
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
    line(page, "600 × 400")


@pytest.mark.slow
def test_zeroshot_tab(visit, served, photo, text_file, tmp_path):
    page = visit()
    page.get_by_role("tab", name="Experiments").click()
    offer(page, text_file)
    page.get_by_role("alert").locator("visible=true").wait_for()
    page.locator(".examples:visible button").nth(1).click()
    page.locator(".chosen-images:visible li").wait_for()
    page.get_by_role("button", name="Learn and enlarge").click()
    learning = r"^Learning: step \d+ of at most 1000, loss 0\.\d{4}, about \d+ (seconds?|minutes) left$"
    page.get_by_role("img", name="Loss so far").wait_for()
    assert re.search(learning, report(page).inner_text(), re.MULTILINE)
    page.get_by_role("button", name="Cancel").locator("visible=true").click()
    report(page).get_by_text("Canceled.").wait_for()
    assert served.is_idle()

    small = tmp_path / "small.png"
    with Image.open(photo) as image:
        image.crop((0, 0, 16, 16)).save(small)
    give(page, small)
    page.get_by_role("button", name="Learn and enlarge").click()
    line(page, "32 × 32")
    saved = download(page, tmp_path)
    assert saved.name == "small_zeroshot_x2.png"
    assert pixels(saved).shape == (32, 32, 3)
