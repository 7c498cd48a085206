"""Tests of the Space's tools with the client of the Model Context Protocol."""

from __future__ import annotations

import asyncio
import base64
import io
import re
from contextlib import closing

import httpx
import numpy as np
import pytest
from PIL import Image

import hfsr

reason = "mcp is not installed: pip install 'hfsr[mcp]'"
mcp = pytest.importorskip("mcp", reason=reason)
http = pytest.importorskip("mcp.client.streamable_http", reason=reason)


@pytest.fixture(scope="module")
def ask(served):
    """Runs a coroutine function with a session of the Space's server."""

    def run(talk):
        async def connect():
            async with (
                http.streamable_http_client(f"{served.url}/gradio_api/mcp/") as (read, write, _),
                mcp.ClientSession(read, write) as session,
            ):
                await session.initialize()
                return await talk(session)

        with closing(asyncio.new_event_loop()) as loop:
            return loop.run_until_complete(connect())

    return run


@pytest.fixture
def call(ask):
    return lambda name, **arguments: ask(lambda session: session.call_tool(name, arguments))


def data_url(path):
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def decoded(result):
    """Pixels of the image, and the texts of a result."""
    image = next(part for part in result.content if part.type == "image")
    with Image.open(io.BytesIO(base64.b64decode(image.data))) as opened:
        return np.asarray(opened), [part.text for part in result.content if part.type == "text"]


def test_tools_have_typed_arguments(ask, served):
    tools = {tool.name: tool for tool in ask(lambda session: session.list_tools()).tools}
    assert tools.keys() == {"upscale", "zeroshot"}
    schema = tools["upscale"].inputSchema
    assert schema["required"] == ["image"]
    arguments = schema["properties"]
    assert served.quick in arguments["model"]["enum"]
    assert arguments["format"]["enum"] == ["png", "jpg", "webp"]
    assert arguments["scale"]["type"] == "number"
    assert arguments["width"]["type"] == "integer"
    assert arguments["strength"]["type"] == "number"
    assert arguments["strength"]["default"] == 1
    assert "0 keeps detail, 1 removes artifacts" in arguments["strength"]["description"]
    assert arguments["self_ensemble"]["type"] == "boolean"
    assert arguments["image"]["type"] == "string"
    assert all(argument["description"] for argument in arguments.values())
    assert tools["zeroshot"].inputSchema["properties"]["scale"]["enum"] == [2, 3, 4]
    assert tools["upscale"].description.startswith("Enlarge an image")


def test_image_as_data_url_and_as_uploaded_file(call, served, photo, tmp_path):
    own = tmp_path / "own.png"
    hfsr.Upscaler(hfsr.from_pretrained(served.quick), dtype="fp32").file(photo, own)
    uploaded = httpx.post(
        f"{served.url}/gradio_api/upload", files={"files": ("photo.png", photo.read_bytes())}, trust_env=False
    ).json()
    for image in (data_url(photo), f"{served.url}/gradio_api/file={uploaded[0]}"):
        result = call("upscale", image=image, model=served.quick, dtype="fp32")
        assert not result.isError
        pixels, texts = decoded(result)
        with Image.open(own) as expected:
            assert np.array_equal(pixels, np.asarray(expected))
        assert any(text.startswith("600 × 400, ") for text in texts)
    assert served.is_idle()


def test_zeroshot_tool(call, tmp_path):
    Image.new("L", (9, 9)).save(tmp_path / "dot.png")
    result = call("zeroshot", image=data_url(tmp_path / "dot.png"), scale=3)
    assert result.isError
    assert "too small to learn from" in result.content[0].text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image": "http://127.0.0.1:9/a.png"}, "downloads nothing from the web"),
        ({"image": "/etc/passwd"}, "Invalid file data"),
        ({"image": "data:text/plain;base64,SGVsbG8="}, "not an image"),
        ({"model": "../x"}, "not offered|not one of"),
    ],
)
def test_errors_are_told(call, photo, arguments, message):
    result = call("upscale", **{"image": data_url(photo), **arguments})
    assert result.isError
    (text,) = result.content
    assert re.search(message, text.text), text.text
