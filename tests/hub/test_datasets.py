"""Folders of data sets on the Hub as --gt: fetched once, kept, read offline."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .client import Client
from .server import HubServer

EVALUATE = """
import contextlib, io, json, hfsr
from hfsr.cli import main
out = io.StringIO()
with contextlib.redirect_stdout(out):
    code = main(["evaluate", "-m", "hfsr-x2", "--gt", place, "--json"])
result = [code, json.loads(out.getvalue() or "{}")]
"""


@pytest.fixture
def pictures(hub: HubServer) -> dict[str, bytes]:
    contents = {}
    for path in ("Tiny/HR/a.png", "Tiny/HR/b.png", "Tiny/LR/a.png", "Other/c.png"):
        file = io.BytesIO()
        pixels = np.random.default_rng(len(contents)).integers(0, 256, (6, 6, 3), np.uint8)
        Image.fromarray(pixels).resize((24, 24)).save(file, "PNG")
        contents[path] = file.getvalue()
    hub.create("datasets/org/sets", contents=contents)
    return contents


def test_a_folder_is_measured_and_kept(
    hub: HubServer, stranger: Client, stranger_home: Path, pictures: dict[str, bytes], tmp_path: Path
) -> None:
    place = "hf://datasets/org/sets/Tiny/HR"
    with hub.recorded() as calls:
        code, report = stranger.ok(EVALUATE, place=place)
    assert (code, report["set"], report["images"]) == (0, "Tiny", 2)
    files = [call for call in calls if call.method == "HEAD" and "/resolve/" in call.path]
    assert {call.path.split("/resolve/")[1].split("/", 1)[1] for call in files} == {
        "Tiny/HR/a.png",
        "Tiny/HR/b.png",
    }
    assert all(call.agent.startswith("hfsr/") for call in files)
    folder = tmp_path / "Tiny"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(pictures[f"Tiny/HR/{name}"])
    _, local = stranger.ok(EVALUATE, place=str(folder))
    assert report["psnr_y"] == local["psnr_y"]
    with hub.recorded() as calls:
        stranger.ok(EVALUATE, place=place)
    assert not [call for call in calls if call.method == "GET" and "/objects/" in call.path]
    offline = Client(hub.url, home=stranger_home / "hf", cwd=tmp_path / "work", offline=True)
    try:
        with hub.recorded() as calls:
            assert offline.ok(EVALUATE, place=place)[1]["psnr_y"] == report["psnr_y"]
        assert calls == []
    finally:
        offline.close()


def test_what_is_not_there_is_one_line(hub: HubServer, stranger: Client, pictures: dict[str, bytes]) -> None:
    fetch = "from hfsr.hub.datasets import local_folder\nresult = str(local_folder(place))"
    for place, told in (
        ("hf://datasets/org/nothing/HR", "the Hub has no data set 'org/nothing'"),
        ("hf://datasets/org/sets/Missing", "has no folder 'Missing'"),
        ("hf://datasets/org/sets@v9/Tiny", "has no revision 'v9'"),
        ("hf://datasets/org", "write hf://datasets/owner/name/folder"),
        ("hf://datasets/org/sets/../..", "write hf://datasets/owner/name/folder"),
    ):
        assert told in stranger.error(fetch, place=place)
    assert stranger.ok(fetch, place="hf://datasets/org/sets@main/Other").endswith("/Other")


def test_damaged_pictures_are_not_kept(hub: HubServer, stranger: Client, pictures: dict[str, bytes]) -> None:
    hub.create("datasets/org/unlucky", contents={"HR/a.png": pictures["Other/c.png"]})
    fetch = "from hfsr.hub.datasets import local_folder\nresult = str(local_folder('hf://datasets/org/unlucky/HR'))"
    with hub.fault("GET", "/objects/", "wrong"):
        assert "arrived damaged" in stranger.error(fetch)
    folder = Path(stranger.ok(fetch))
    assert (folder / "a.png").read_bytes() == pictures["Other/c.png"]
