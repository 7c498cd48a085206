"""The Space as programs use it: `/upscale` by gradio_client, and what a stranger may not do."""

from __future__ import annotations

import json
import urllib.request

import numpy as np
import pytest
from PIL import Image

import hfsr

client = pytest.importorskip("gradio_client", reason="gradio is not installed: pip install 'hfsr[demo]'")


@pytest.fixture(scope="module")
def upscale(served, tmp_path_factory):
    """Calls /upscale with named arguments."""
    downloads = tmp_path_factory.mktemp("downloads")
    space = client.Client(served.url, verbose=False, download_files=downloads, analytics_enabled=False)
    yield lambda **arguments: space.predict(**arguments, api_name="/upscale")
    space.close()


def _events(served, *data):
    """What the server answers to /upscale when asked by hand: the last event's name and text."""
    address = f"{served.url}/gradio_api/call/upscale"
    body = json.dumps({"data": data}).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        event = json.load(answer)["event_id"]
    with urllib.request.urlopen(f"{address}/{event}", timeout=60) as answer:
        return answer.read().decode()


@pytest.mark.parametrize(
    ("tile", "dtype"), [("256", "auto"), ("64", "fp32"), ("auto", "bf16"), ("512", "fp32")]
)
def test_the_png_is_what_upscaler_writes(served, upscale, photo, tmp_path, tile, dtype):
    (before, after), png, report = upscale(
        image=client.handle_file(photo), model=served.quick, tile=tile, dtype=dtype
    )
    upscaler = hfsr.Upscaler(hfsr.from_pretrained(served.quick), tile=tile, dtype=dtype)
    upscaler.file(photo, tmp_path / "own.png")
    with Image.open(png) as ours, Image.open(tmp_path / "own.png") as own, Image.open(after) as seen:
        assert np.array_equal(np.asarray(ours), np.asarray(own))
        assert np.array_equal(np.asarray(seen), np.asarray(own))
    with Image.open(before) as enlarged, Image.open(photo) as given:
        assert np.array_equal(np.asarray(enlarged), np.asarray(given.resize((600, 400))))
    assert "300 × 200 px became 600 × 400 px." in report
    assert upscaler.summary in report
    assert served.jobs() == []


def test_a_file_that_is_no_picture(upscale, text_file):
    with pytest.raises(client.exceptions.AppError, match=r"^'letter.png' is no picture"):
        upscale(image=client.handle_file(text_file))


def test_a_picture_of_too_many_pixels_is_not_decoded(upscale, tmp_path):
    bomb = tmp_path / "bomb.png"
    Image.new("1", (20_000, 10_000)).save(bomb)
    assert bomb.stat().st_size < 100_000
    with pytest.raises(client.exceptions.AppError, match=r"20000 ?x ?10000"):
        upscale(image=client.handle_file(bomb))


@pytest.mark.parametrize("argument", ["model", "tile", "dtype"])
def test_what_the_menu_does_not_offer_is_refused(upscale, photo, argument):
    with pytest.raises(client.exceptions.AppError, match=r"^'\.\./x' is not offered; choose one of"):
        upscale(image=client.handle_file(photo), **{argument: "../x"})


@pytest.mark.parametrize("meta", [{}, {"meta": {"_type": "gradio.FileData"}}])
def test_files_of_the_server_cannot_be_read(served, photo, meta):
    answer = _events(served, {"path": str(photo), **meta}, served.quick, "256", "auto")
    assert answer.startswith("event: error")
    assert "px became" not in answer
