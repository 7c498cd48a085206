"""Folders of data sets on the Hub as --gt: fetched once, kept, read offline."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from .client import Client
from .server import HubServer

EVALUATE = """
import contextlib, io, json, hfsr
from hfsr.cli import main
out = io.StringIO()
with contextlib.redirect_stdout(out):
    code = main(["evaluate", "-m", "hfsr-x2-small", "--gt", place, "--json"])
result = [code, json.loads(out.getvalue() or "{}")]
"""


@pytest.fixture
def images(hub: HubServer) -> dict[str, bytes]:
    contents = {}
    for path in ("Tiny/HR/a.png", "Tiny/HR/b.png", "Tiny/LR/a.png", "Other/c.png"):
        file = io.BytesIO()
        pixels = np.random.default_rng(len(contents)).integers(0, 256, (6, 6, 3), np.uint8)
        Image.fromarray(pixels).resize((24, 24)).save(file, "PNG")
        contents[path] = file.getvalue()
    hub.create("datasets/org/sets", contents=contents)
    return contents


def test_a_folder_is_measured_and_kept(
    hub: HubServer, stranger: Client, stranger_home: Path, images: dict[str, bytes], tmp_path: Path
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
        (folder / name).write_bytes(images[f"Tiny/HR/{name}"])
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


def test_what_is_not_there_is_one_line(hub: HubServer, stranger: Client, images: dict[str, bytes]) -> None:
    fetch = "from hfsr.hub.download.datasets import local_folder\nresult = str(local_folder(place))"
    for place, told in (
        ("hf://datasets/org/nothing/HR", "the Hub has no data set 'org/nothing'"),
        ("hf://datasets/org/sets/Missing", "has no folder 'Missing'"),
        ("hf://datasets/org/sets@v9/Tiny", "has no revision 'v9'"),
        ("hf://datasets/org", "write hf://datasets/owner/name/folder"),
        ("hf://datasets/org/sets/../..", "write hf://datasets/owner/name/folder"),
    ):
        assert told in stranger.error(fetch, place=place)
    assert stranger.ok(fetch, place="hf://datasets/org/sets@main/Other").endswith("/Other")


FETCH = """
from pathlib import Path
from hfsr.hub.download.datasets import local_folder
folder = local_folder(place)
result = {path.name: path.read_bytes().hex() for path in folder.iterdir()}
"""


def test_damaged_images_are_not_kept(hub: HubServer, stranger: Client, images: dict[str, bytes]) -> None:
    hub.create("datasets/org/unlucky", contents={"HR/a.png": images["Other/c.png"]})
    place = "hf://datasets/org/unlucky/HR"
    with hub.fault("GET", "/objects/", "wrong"):
        assert "arrived damaged" in stranger.error(FETCH, place=place)
    assert stranger.ok(FETCH, place=place) == {"a.png": images["Other/c.png"].hex()}


@pytest.mark.parametrize("kind", ["500", "cut", "short"])
def test_half_a_set_is_no_set(hub: HubServer, stranger: Client, images: dict[str, bytes], kind: str) -> None:
    """One image arrives damaged and another one not at all: what is there is not trusted later."""
    files = {f"HR/{name}.png": images["Other/c.png"] + f"{name}{kind}".encode() for name in "abc"}
    hub.create(f"datasets/org/half-{kind}", contents=files)
    place = f"hf://datasets/org/half-{kind}/HR"
    first, second = (hashlib.sha256(files[f"HR/{name}.png"]).hexdigest() for name in "ab")
    with hub.fault("GET", f"/objects/{first}", "wrong"), hub.fault("GET", f"/objects/{second}", kind):
        stranger.error(FETCH, place=place)
    with hub.fault("GET", "/api/datasets/", "500"):  # where the client would do with what it has
        assert "has trouble" in stranger.error(FETCH, place=place)
    whole = {name.removeprefix("HR/"): data.hex() for name, data in files.items()}
    assert stranger.ok(FETCH, place=place) == whole
    with hub.fault("GET", "/api/datasets/", "500"):
        assert stranger.ok(FETCH, place=place) == whole


CARD = """
import contextlib, io, json, torch, hfsr
from hfsr.cli import main
torch.manual_seed(41)
hfsr.save_pretrained(hfsr.create_model("edsr_tiny"), "measured")
result = main(["push", "measured", "org/measured", "--licence", "mit", "--no-example", "--gt", place])
"""
REPEAT = """
import contextlib, io, json
from hfsr.cli import main
out = io.StringIO()
with contextlib.redirect_stdout(out):
    code = main(["evaluate", "--from-card", "org/measured", "--json", *words])
result = [code, json.loads(out.getvalue())]
"""


def test_a_card_on_the_hub_is_repeated_by_its_name_alone(
    hub: HubServer, publisher: Client, stranger: Client, images: dict[str, bytes]
) -> None:
    """The card tells where its images are, and the Hub can link their data set."""
    place = "hf://datasets/org/sets/Tiny/HR"
    assert publisher.ok(CARD, place=place) == 0
    card = hub.repos["org/measured"].files()["README.md"].data.decode()
    [result] = yaml.safe_load(card.split("---\n")[1])["model-index"][0]["results"]
    assert (result["dataset"]["type"], result["dataset"]["name"]) == ("org/sets", "Tiny")
    assert result["dataset"]["args"]["gt"] == place
    code, said = stranger.ok(REPEAT, words=[])
    [one] = said["sets"]
    assert (code, one["deviations"], said["left_out"]) == (0, [], [])
    assert one["here"]["psnr_y"] == pytest.approx(one["card"]["psnr_y"], abs=1e-3)
    assert f"| {one['here']['psnr_y']:.2f} |" in card
    wrong = card.replace(f"value: {one['card']['psnr_y']}", f"value: {one['card']['psnr_y'] + 0.01:.4f}")
    hub.create(
        "org/measured",
        contents={
            **{name: blob.data for name, blob in hub.repos["org/measured"].files().items()},
            "README.md": wrong.encode(),
        },
    )
    code, said = stranger.ok(REPEAT, words=["--gt", place])
    assert code == 1
    assert "PSNR (Y): the card has" in said["sets"][0]["deviations"][0]


TRAIN = """
from hfsr.training import load_options
from hfsr.training.setup import build_dataset
options = load_options("tiny.yml")
sets = {key: build_dataset(options, key) for key in options.datasets}
def told(file):
    return [file.gt.name, file.gt.read_bytes().hex(), file.lq and file.lq.name]
result = {key: [told(file) for file in dataset.files] for key, dataset in sets.items()}
"""
OPTIONS = """
name: tiny
model_type: SRModel
scale: 2
datasets:
  train:
    type: PairedImageDataset
    dataroot_gt: [hf://datasets/org/sets/Tiny/HR, hf://datasets/org/sets@main/Other]
    gt_size: 16
  val:
    type: PairedImageDataset
    dataroot_gt: hf://datasets/org/sets/Tiny/HR
    dataroot_lq: hf://datasets/org/sets/Tiny/LR
network_g: {type: EDSR, num_feat: 8, num_block: 2}
train: {total_iter: 1, optim_g: {type: Adam, lr: 0.001}}
"""


def test_option_files_name_folders_of_data_sets(
    hub: HubServer, images: dict[str, bytes], tmp_path: Path
) -> None:
    (tmp_path / "tiny.yml").write_text(OPTIONS)
    client = Client(hub.url, home=tmp_path / "hf", cwd=tmp_path)
    try:
        images["Tiny/LR/b.png"] = images["Tiny/LR/a.png"]
        hub.create("datasets/org/sets", contents=images)
        sets = client.ok(TRAIN)
        hub.repos["datasets/org/sets"].files().pop("Other/c.png")
        (tmp_path / "tiny.yml").write_text(OPTIONS.replace("sets@main/Other", "sets/Missing"))
        assert "has no folder 'Missing'" in client.error(TRAIN)
    finally:
        client.close()
    assert sets["train"] == [
        [name.split("/")[-1], images[name].hex(), None]
        for name in ("Tiny/HR/a.png", "Tiny/HR/b.png", "Other/c.png")
    ]
    assert [[name, lq] for name, _, lq in sets["val"]] == [["a.png", "a.png"], ["b.png", "b.png"]]
