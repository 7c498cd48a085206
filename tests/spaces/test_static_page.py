"""Tests of the static Space in a headless Chromium: its PNGs are those of the command line."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

import hfsr
from hfsr import _resources, cli
from hfsr.checkpoints import write_model_folder
from hfsr.publishing.static_space import stage_static_space
from hfsr.publishing.web_model import MANIFEST

from .axe import VIEWS, serious_violations
from .conftest import CHROMIUM, TIMEOUT_MS
from .static_site import runtime_file, served_folder

GPU_FLAGS = (
    "--headless --no-sandbox --enable-unsafe-webgpu --use-webgpu-adapter=swiftshader --disable-sync "
    "--enable-features=Vulkan --use-vulkan=swiftshader --disable-vulkan-surface --disable-quic "
    "--no-first-run --disable-background-networking --disable-component-update"
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, str]:
    """A quick network, and one with a pool, which runs whole."""
    folder = tmp_path_factory.mktemp("models")
    for name, preset in {"quick": "edsr_tiny", "pooled": "rcan_tiny"}.items():
        torch.manual_seed(0)
        model = hfsr.create_model(preset)
        write_model_folder(model, folder / name)
    return {name: str(folder / name) for name in ("quick", "pooled")}


@pytest.fixture(scope="module")
def site(models, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("static")
    with pytest.MonkeyPatch.context() as patch:
        file = runtime_file()
        patch.setenv("HFSR_CACHE", str(folder / "cache"))
        return stage_static_space(folder / "site", [*models.values()], runtime=file)


@pytest.fixture(scope="module")
def url(site):
    with served_folder(site) as address:
        yield address


@pytest.fixture(scope="module")
def modules_url():
    """The page's modules without models and runtime."""
    with served_folder(_resources.path("spaces", "browser")) as address:
        yield address


@pytest.fixture
def visit(chromium, url):
    """Opens the page in its own browser context; all requests must go to this machine, without an error."""
    contexts, requested, errors = [], [], []

    def open_page(address=url, width=1280, height=860, dark=False):
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
        )
        contexts.append(context)
        context.set_default_timeout(TIMEOUT_MS)
        context.on("request", lambda request: requested.append(request.url))
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        page.locator("#tasks:not([disabled])").wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert requested or not contexts
    hosts = ("http://127.0.0.1:", "data:", "blob:http://127.0.0.1:")
    assert [address for address in requested if not address.startswith(hosts)] == []
    assert errors == []


def give(page, *paths):
    page.locator("#files").set_input_files(list(paths))
    page.locator(".item").nth(len(paths) - 1).wait_for()


def start(page):
    page.get_by_role("button", name="Start", exact=True).click()


def choose(page, model):
    page.get_by_label("Kind of image").select_option(label=Path(model).name)


def finish(page, count=1):
    page.locator(".item .show").nth(0).wait_for(state="attached")
    page.wait_for_function(
        "n => document.querySelectorAll('.item').length >= n && !document.querySelector('#start').hidden",
        arg=count,
    )
    assert page.locator("#alert").text_content() == ""
    page.locator("#download:not([hidden])").wait_for()


def download(page, folder):
    with page.expect_download() as event:
        page.get_by_role("link", name="Download PNG").click()
    path = folder / event.value.suggested_filename
    event.value.save_as(path)
    return path


def by_command(source, model, folder, suffix=".png"):
    target = folder / f"own_{Path(source).stem}{suffix}"
    assert cli.main(["upscale", str(source), "-m", model, "--dtype", "fp32", "-o", str(target)]) == 0
    return target


def values(path):
    """All samples as integers, with alpha, at their full depth."""
    image = hfsr.images.read_image(path)
    pixels = image.pixels if image.pixels.ndim == 3 else image.pixels[..., None]
    return np.dstack([pixels] if image.alpha is None else [pixels, image.alpha]).astype(np.int32)


def assert_same(found, expected, share=1e-4):
    found, expected = values(found), values(expected)
    assert found.shape == expected.shape
    difference = np.abs(found - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() <= share


def sample(width, height, channels=3, seed=0):
    """Gradients and noise over the whole range."""
    rng = np.random.default_rng(seed)
    slope = np.linspace(0, 200, width)[None, :, None] * np.linspace(0.2, 1, channels)
    return (slope + rng.integers(0, 56, (height, width, channels))).astype(np.uint8)


def display_p3() -> bytes:
    """A small color profile with the primaries of Display P3 and the gamma 2.2."""

    def xyz(*numbers):
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(number * 65536) for number in numbers))

    name = b"Display P3\0"
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256)) + b"\0\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(name)) + name + bytes(78 + 1),
        b"wtpt": xyz(0.9642, 1, 0.8249),
        b"rXYZ": xyz(0.51512, 0.2412, -0.00105),
        b"gXYZ": xyz(0.29198, 0.69225, 0.04189),
        b"bXYZ": xyz(0.1571, 0.06657, 0.78407),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
        b"cprt": b"text\0\0\0\0none\0",
    }
    tags = {tag: data + bytes(-len(data) % 4) for tag, data in tags.items()}
    table, body, at = b"", b"", 128 + 4 + 12 * len(tags)
    for tag, data in tags.items():
        table += tag + struct.pack(">II", at + len(body), len(data))
        body += data
    size = at + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"none", 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    head += (
        struct.pack(">6H", 2026, 1, 1, 0, 0, 0)
        + b"acsp"
        + bytes(28)
        + struct.pack(">3i", 63190, 65536, 54061)
    )
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


@pytest.fixture(scope="module")
def pngs(tmp_path_factory) -> list[Path]:
    """PNGs of every kind."""
    folder = tmp_path_factory.mktemp("pngs")
    rgb = sample(61, 40)
    Image.fromarray(rgb).save(folder / "rgb.png", icc_profile=display_p3())
    Image.fromarray(rgb[..., 0]).save(folder / "gray.png")
    Image.fromarray(rgb).convert("P", palette=Image.Palette.ADAPTIVE, colors=13).save(folder / "palette.png")
    Image.fromarray(rgb[..., 0] > 90).save(folder / "bilevel.png")
    Image.fromarray(np.dstack([rgb, np.full(rgb.shape[:2], 77, np.uint8)])).save(folder / "constant.png")
    alpha = np.clip(np.hypot(*np.meshgrid(np.arange(61) - 30, np.arange(40) - 20)) * 14 - 60, 0, 255)
    Image.fromarray(np.dstack([rgb, alpha.astype(np.uint8)])).save(folder / "alpha.png")
    deep = hfsr.images.LoadedImage((rgb.astype(np.uint16) * 257 + sample(61, 40, seed=1)).astype(np.uint16))
    hfsr.images.write_image(deep, folder / "deep.png")
    exif = Image.Exif()
    exif[0x112] = 6
    Image.fromarray(rgb).save(folder / "turned.png", exif=exif.tobytes())
    return sorted(folder.iterdir())


def test_pngs_of_every_kind_are_those_of_the_command_line(visit, models, pngs, tmp_path):
    page = visit()
    give(page, *pngs)
    start(page)
    finish(page, len(pngs))
    for source in pngs:
        if page.locator(f"#download[download^='{source.stem}_']").count() == 0:
            page.get_by_role("button", name=f"Show {source.name}").click()
        saved = download(page, tmp_path)
        assert saved.name == f"{source.stem}_x2.png"
        expected = by_command(source, models["quick"], tmp_path)
        loose = source.stem in ("alpha", "deep")  # colors under alpha are spread in another order of sums
        assert_same(saved, expected, share=5e-3 if loose else 1e-4)
        with Image.open(saved) as found, Image.open(expected) as own:
            assert found.mode == own.mode
            assert found.info.get("icc_profile") == own.info.get("icc_profile")
    with page.expect_download() as event:
        page.get_by_role("button", name="Download all (ZIP)").click()
    event.value.save_as(tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [f"{path.stem}_x2.png" for path in pngs]


def test_a_bundled_model_is_exact_to_the_level(visit, site, tmp_path, monkeypatch):
    """With trained weights, by wasm: to one level on at most 0.01 % of the values."""
    monkeypatch.setenv("HFSR_CACHE", str(tmp_path / "cache"))
    bundled = stage_static_space(tmp_path / "site", ["hfsr-x2-small"], runtime=runtime_file())
    with Image.open(hfsr.samples.SAMPLE) as image:
        image.convert("RGB").crop((560, 300, 680, 380)).save(tmp_path / "photo.png")
    with served_folder(bundled) as address:
        page = visit(address)
        give(page, tmp_path / "photo.png")
        start(page)
        finish(page)
        assert_same(download(page, tmp_path), by_command(tmp_path / "photo.png", "hfsr-x2-small", tmp_path))
        facts = page.locator("#facts").text_content()
    assert "hfsr-x2-small, license apache-2.0" in facts
    assert "dB PSNR on" in facts


def test_a_pooled_network_runs_whole_and_refuses_larger_images(visit, models, site, tmp_path):
    Image.fromarray(sample(50, 40)).save(tmp_path / "small.png")
    page = visit()
    choose(page, models["pooled"])
    give(page, tmp_path / "small.png")
    start(page)
    finish(page)
    assert_same(download(page, tmp_path), by_command(tmp_path / "small.png", models["pooled"], tmp_path))
    assert "the image ran whole" in page.locator("#facts").text_content()
    largest = json.loads((site / "models/pooled" / MANIFEST).read_text())["max_pixels"]
    Image.new("L", (1000, largest // 1000 + 1)).save(tmp_path / "large.png")
    give(page, tmp_path / "large.png")
    start(page)
    alert = page.locator("#alert:not([hidden])")
    alert.wait_for()
    assert "This model looks at the whole image at once" in alert.text_content()


def test_a_display_p3_jpeg_keeps_its_values_and_its_profile(visit, models, tmp_path):
    colors = np.zeros((48, 64, 3), np.uint8)
    colors[:, :32] = (230, 30, 20)  # outside sRGB: a conversion would change it by tens of levels
    colors[:, 32:] = (20, 200, 60)
    Image.fromarray(colors).save(tmp_path / "p3.jpg", quality=95, subsampling=0, icc_profile=display_p3())
    page = visit()
    give(page, tmp_path / "p3.jpg")
    start(page)
    finish(page)
    saved, own = download(page, tmp_path), by_command(tmp_path / "p3.jpg", models["quick"], tmp_path)
    with Image.open(saved) as found:
        assert found.info["icc_profile"] == display_p3()
    assert np.abs(values(saved) - values(own)).mean() < 1


def test_a_webp_keeps_its_straight_alpha(visit, models, tmp_path):
    rgb = sample(61, 40)
    alpha = np.clip(np.arange(61) * 5 - 20, 1, 255).astype(np.uint8)[None].repeat(40, 0)
    Image.fromarray(np.dstack([rgb, alpha])).save(tmp_path / "alpha.webp", lossless=True, exact=True)
    page = visit()
    give(page, tmp_path / "alpha.webp")
    start(page)
    finish(page)
    saved, own = download(page, tmp_path), by_command(tmp_path / "alpha.webp", models["quick"], tmp_path)
    assert_same(saved, own)


@pytest.mark.parametrize(("width", "dark"), VIEWS)
def test_axe_finds_nothing_serious(visit, tmp_path, width, dark):
    for name in ("first", "second"):
        Image.fromarray(sample(40, 30)).save(tmp_path / f"{name}.png")
    page = visit(width=width, dark=dark)
    give(page, tmp_path / "first.png", tmp_path / "second.png")
    start(page)
    finish(page, 2)
    for name in ("More settings", "Details"):
        page.get_by_text(name).click()
    assert serious_violations(page) == []


def test_without_what_the_page_needs_it_says_so(chromium, url):
    context = chromium.new_context()
    context.add_init_script("delete window.CompressionStream")
    page = context.new_page()
    page.goto(url)
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert alert.text_content() == "This browser is too old for this page. Update it, or try another one."
    assert page.locator("#start").is_disabled()
    context.close()


def test_exif_orientation_of_a_jpeg_is_applied(visit, models, tmp_path):
    exif = Image.Exif()
    exif[0x112] = 8
    exif[0x10F] = "A maker"
    space = b"xmlns:x='adobe:ns:meta/' xmlns:t='http://ns.adobe.com/tiff/1.0/'"
    xmp = b"<x:xmpmeta " + space + b" t:ImageWidth='64' x:a='b'/>"
    image = Image.fromarray(sample(64, 32))
    image.save(tmp_path / "turned.jpg", quality=98, subsampling=0, exif=exif, xmp=xmp)
    page = visit()
    give(page, tmp_path / "turned.jpg")
    start(page)
    finish(page)
    saved, own = download(page, tmp_path), by_command(tmp_path / "turned.jpg", models["quick"], tmp_path)
    assert values(saved).shape == (128, 64, 3)
    with Image.open(saved) as found, Image.open(own) as expected:
        assert dict(found.getexif()) == dict(expected.getexif()) == {0x112: 1, 0x10F: "A maker"}
        assert found.info["XML:com.adobe.xmp"] == expected.info["XML:com.adobe.xmp"]
        assert found.info["XML:com.adobe.xmp"].encode() == xmp.replace(b" t:ImageWidth='64'", b"")
    assert np.abs(values(saved) - values(own)).mean() < 1


def test_what_is_no_image_is_refused_when_it_is_dropped(visit, tmp_path):
    page = visit()
    drop = """(names) => {
        const data = new DataTransfer();
        for (const name of names) data.items.add(new File(["Dear reader"], name, {type: "image/png"}));
        const event = new DragEvent("drop", {dataTransfer: data, bubbles: true});
        document.querySelector("#drop").dispatchEvent(event);
    }"""
    page.evaluate(drop, ["letter.png"])
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert alert.text_content() == (
        "letter.png: This is not an image. Choose a PNG, JPEG, WebP, AVIF or GIF file."
    )
    assert page.locator(".item").count() == 0
    assert page.locator("#start").is_disabled()
    frames = [Image.fromarray(sample(8, 8, seed=seed)) for seed in (0, 1)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    (tmp_path / "empty.png").touch()
    buffer = io.BytesIO()
    frames[0].save(buffer, "PNG")
    (tmp_path / "cut.png").write_bytes(buffer.getvalue()[:-60])
    page.locator("#files").set_input_files([tmp_path / "moving.gif", tmp_path / "empty.png"])
    page.wait_for_function("() => document.querySelector('#alert').textContent.includes('empty.png')")
    assert "moving.gif: Animated images are not supported" in alert.text_content()
    give(page, tmp_path / "cut.png")
    start(page)
    page.wait_for_function("() => document.querySelector('#alert').textContent.includes('cut.png')")
    assert "damaged or incomplete" in alert.text_content()


def test_cancel_stops_at_once_and_it_can_be_started_again(visit, models, tmp_path):
    Image.fromarray(sample(1200, 900)).save(tmp_path / "large.png")
    page = visit()
    give(page, tmp_path / "large.png")
    start(page)
    page.wait_for_function("() => document.querySelector('#bar').value > 0")
    assert "left" in page.locator("#progress-text").text_content()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Start", exact=True).wait_for(timeout=5000)
    assert page.get_by_role("status").text_content() == "Canceled."
    assert page.locator("#progress").is_hidden()
    assert page.locator("#download").is_hidden()
    Image.fromarray(sample(40, 30)).save(tmp_path / "small.png")
    page.get_by_role("button", name="Remove large.png").click()
    give(page, tmp_path / "small.png")
    start(page)
    finish(page)
    assert_same(download(page, tmp_path), by_command(tmp_path / "small.png", models["quick"], tmp_path))


def test_a_paste_is_taken_like_a_file(visit):
    page = visit()
    paste = """() => {
        const canvas = Object.assign(document.createElement("canvas"), {width: 20, height: 10});
        canvas.toBlob((blob) => {
            const data = new DataTransfer();
            data.items.add(new File([blob], "image.png", {type: "image/png"}));
            document.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data}));
        });
    }"""
    page.evaluate(paste)
    page.locator(".item").wait_for()
    assert page.locator(".item-name").text_content() == "image.png"


def test_on_a_phone_everything_fits_and_the_view_goes_to_the_result(visit, pngs):
    page = visit(width=390, height=780)
    give(page, next(path for path in pngs if path.stem == "rgb"))
    start(page)
    finish(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("document.activeElement.id") == "result"
    page.wait_for_timeout(1200)  # smooth scrolling
    assert page.locator("#result-title").evaluate("e => e.getBoundingClientRect().top") < 780
    small = page.evaluate(
        """() => [...document.querySelectorAll("button, summary, a[href], select, [type=radio]")]
        .filter((e) => e.checkVisibility() && e.getBoundingClientRect().height < 24)
        .map((e) => e.outerHTML)"""
    )
    assert small == []


def test_the_handle_is_moved_by_keys_and_mouse(visit):
    page = visit()
    slider = page.get_by_role("slider", name="Comparison")
    slider.focus()
    for key, at in (("ArrowRight", "55"), ("Shift+ArrowLeft", "54"), ("Home", "0"), ("End", "100")):
        page.keyboard.press(key)
        assert slider.get_attribute("aria-valuenow") == at
    box = slider.bounding_box()
    page.mouse.move(box["x"] + 10, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] - 300, box["y"] + 100, steps=3)
    page.mouse.up()
    assert 30 < int(slider.get_attribute("aria-valuenow")) < 80


def test_without_isolation_one_thread_gives_the_same(visit, site, models, tmp_path):
    Image.fromarray(sample(40, 30)).save(tmp_path / "small.png")
    with served_folder(site, isolated=False) as address:
        page = visit(address)
        assert page.evaluate("crossOriginIsolated") is False
        give(page, tmp_path / "small.png")
        start(page)
        finish(page)
        assert "1 thread," in page.locator("#facts").text_content()
        assert_same(download(page, tmp_path), by_command(tmp_path / "small.png", models["quick"], tmp_path))


def test_the_page_works_offline_after_the_first_visit(visit, site, models, tmp_path):
    Image.fromarray(sample(40, 30)).save(tmp_path / "small.png")
    with served_folder(site) as address:
        page = visit(address)
        assert page.evaluate("crossOriginIsolated") is True
        page.get_by_text("This page now works offline.").wait_for()
    page.reload()  # the server is gone
    page.locator("#tasks:not([disabled])").wait_for()
    assert page.evaluate("crossOriginIsolated") is True
    give(page, tmp_path / "small.png")
    start(page)
    finish(page)
    assert_same(download(page, tmp_path), by_command(tmp_path / "small.png", models["quick"], tmp_path))


@pytest.mark.slow
def test_2k_becomes_4k_in_tiles_within_the_memory_of_a_tab(visit, models, tmp_path):
    Image.fromarray(sample(2048, 1152)).save(tmp_path / "large.png")
    page = visit()
    give(page, tmp_path / "large.png")
    start(page)
    peak = 0
    while page.locator("#download").is_hidden():
        page.wait_for_timeout(200)
        renderers = [p for p in psutil.Process().children(recursive=True) if "--type=renderer" in p.cmdline()]
        peak = max([peak, *(process.memory_info().rss for process in renderers)])
    assert peak < 1.5 * 2**30
    assert "with a halo of 8 pixels" in page.locator("#facts").text_content()
    assert_same(download(page, tmp_path), by_command(tmp_path / "large.png", models["quick"], tmp_path))


def test_webgpu_passes_its_check_and_gives_the_same(chromium, url, models, tmp_path):
    """By SwiftShader, which computes what a graphics processor would, on the processor."""
    browser = chromium.browser_type.launch(executable_path=CHROMIUM, args=GPU_FLAGS.split())
    try:
        page = browser.new_page()
        page.set_default_timeout(TIMEOUT_MS)
        page.goto(url)
        page.locator("#tasks:not([disabled])").wait_for()
        if not page.evaluate("() => navigator.gpu?.requestAdapter().then((adapter) => adapter !== null)"):
            pytest.skip("this Chromium has no WebGPU, not even by SwiftShader")
        Image.fromarray(sample(61, 40)).save(tmp_path / "small.png")
        page.get_by_text("More settings").click()
        page.get_by_label("Use the graphics processor").check()
        give(page, tmp_path / "small.png")
        start(page)
        finish(page)
        facts = page.locator("#facts").text_content()
        own = by_command(tmp_path / "small.png", models["quick"], tmp_path)
        assert "graphics processor (WebGPU)" in facts, facts
        assert_same(download(page, tmp_path), own, share=1e-3)
    finally:
        browser.close()


def test_webgpu_that_computes_something_else_is_not_used(modules_url, chromium):
    """The comparison with the processor's results, with networks that differ."""
    page = chromium.new_page()
    page.goto(modules_url)
    script = """async ([module, error]) => {
        const {Network} = await import(module);
        const fake = (shift) => Object.assign(Object.create(Network.prototype),
            {run: async (planes) => planes.map((value) => value + shift)});
        return fake(error).compare(fake(0)).then(() => "same", (caught) => caught.message);
    }"""
    module = f"{modules_url}/network.js"
    assert page.evaluate(script, [module, 1e-4]) == "same"
    assert page.evaluate(script, [module, 0.01]) == "its results differ from those of the processor"
    assert page.evaluate(script, [module, float("nan")]) == "its results differ from those of the processor"
    page.close()


def test_a_browser_that_computes_wrong_colors_is_told(modules_url, chromium):
    page = chromium.new_page()
    page.goto(modules_url)
    script = """async ([module, error]) => {
        const {Network} = await import(module);
        const flat_check = {side: 4, colors: [[0.2, 0.4, 0.6]], outputs: [[0.2, 0.4, 0.6]], tolerance: 5e-4};
        const network = Object.assign(Object.create(Network.prototype),
            {manifest: {scale: 1, flat_check}, run: async (planes) => planes.map((value) => value + error)});
        return network.check().then(() => "right", (caught) => caught.message);
    }"""
    module = f"{modules_url}/network.js"
    assert page.evaluate(script, [module, 1e-4]) == "right"
    assert page.evaluate(script, [module, 1e-3]).startswith("This browser computes wrong results")
    page.close()
