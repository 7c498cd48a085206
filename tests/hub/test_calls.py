"""What the client asks of the Hub, call by call: a new route, or one asked twice, is seen here first."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch

from hfsr.hub import save_pretrained
from hfsr.zoo import create_model

from .client import Client
from .server import Call, HubServer

PUSH = "import hfsr\nhfsr.push_to_hub(folder, 'org/calls', **more)"
LOAD = "import hfsr\nhfsr.from_pretrained('org/calls', **more)"

VALIDATE = "POST /api/validate-yaml 200"
CREATE = "POST /api/repos/create 200"
EXISTS = "POST /api/repos/create 409"
INFO = "GET /api/models/org/calls 200"
HASHES = "POST /api/models/org/calls/paths-info/<commit> 200"
STORE = [
    "POST /org/calls.git/info/lfs/objects/batch 200",
    "PUT /objects/<file> 200",
    "POST /org/calls.git/info/lfs/verify 200",
]
LOADED = [
    INFO,
    "HEAD /org/calls/resolve/main/config.json 200",
    "GET /org/calls/resolve/main/config.json 200",
    "HEAD /org/calls/resolve/<commit>/model.safetensors 302",
    "GET /objects/<file> 200",
]


def told(calls: Sequence[Call]) -> list[str]:
    """The calls without what differs from run to run."""
    return [re.sub(r"[0-9a-f]{40}", "<commit>", re.sub(r"[0-9a-f]{64}", "<file>", str(c))) for c in calls]


def preupload(revision: str) -> list[str]:
    return [VALIDATE, f"POST /api/models/org/calls/preupload/{revision} 200"]


def commit(revision: str) -> str:
    return f"POST /api/models/org/calls/commit/{revision} 200"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(8800)
    return save_pretrained(create_model("edsr_tiny"), tmp_path_factory.mktemp("calls") / "model")


@pytest.fixture(scope="module", autouse=True)
def first(hub: HubServer, publisher: Client, folder: Path) -> Iterator[list[Call]]:
    """The calls of a first push."""
    with hub.recorded() as calls:
        publisher.ok(PUSH, folder=str(folder), more={})
    yield calls
    hub.repos.pop("org/calls")


def test_a_first_push(first: list[Call]) -> None:
    assert told(first) == [VALIDATE, CREATE, INFO, HASHES, *preupload("main"), *STORE, commit("main")]


def test_a_push_of_what_is_there(hub: HubServer, publisher: Client, folder: Path) -> None:
    with hub.recorded() as calls:
        publisher.ok(PUSH, folder=str(folder), more={})
    assert told(calls) == [VALIDATE, EXISTS, INFO, HASHES]


def test_a_push_of_a_changed_card(hub: HubServer, publisher: Client, folder: Path) -> None:
    card = folder / "README.md"
    card.write_text(card.read_text() + "\nMore.\n")
    with hub.recorded() as calls:
        publisher.ok(PUSH, folder=str(folder), more={})
    assert told(calls) == [VALIDATE, EXISTS, INFO, HASHES, *preupload("main"), commit("main")]


def test_a_push_to_a_branch(hub: HubServer, publisher: Client, folder: Path) -> None:
    card = folder / "README.md"
    card.write_text(card.read_text() + "\nOn a branch.\n")
    with hub.recorded() as calls:
        publisher.ok(PUSH, folder=str(folder), more={"revision": "v2"})
    branch = "POST /api/models/org/calls/branch/v2 200"
    info = "GET /api/models/org/calls/revision/v2 200"
    assert told(calls) == [VALIDATE, EXISTS, branch, info, HASHES, *preupload("v2"), commit("v2")]


def test_a_load_and_the_next_one(hub: HubServer, stranger: Client, tmp_path: Path) -> None:
    again = ["HEAD /org/calls/resolve/main/config.json 200"]
    for words, expected in (({}, LOADED), ({}, again), ({"local_files_only": True}, [])):
        with hub.recorded() as calls:
            stranger.ok(LOAD, more={"cache_dir": str(tmp_path), **words})
        assert told(calls) == expected


def test_a_folder_of_a_data_set(hub: HubServer, stranger: Client) -> None:
    hub.create("datasets/org/calls", contents={"HR/a.png": b"one", "HR/b.png": b"two", "LR/a.png": b"three"})
    with hub.recorded() as calls:
        stranger.ok(
            "from hfsr.hub.download.datasets import local_folder\nlocal_folder('hf://datasets/org/calls/HR')"
        )
    calls.sort(key=str)  # files are fetched side by side
    assert told(calls) == [
        "GET /api/datasets/org/calls/revision/main 200",
        "GET /api/datasets/org/calls/tree/<commit> 200",
        "GET /objects/<file> 200",
        "GET /objects/<file> 200",
        "HEAD /datasets/org/calls/resolve/<commit>/HR/a.png 302",
        "HEAD /datasets/org/calls/resolve/<commit>/HR/b.png 302",
    ]


def test_the_lists_above_can_fail(hub: HubServer, stranger: Client) -> None:
    """A route that the server does not know is answered by 501, and is listed."""
    error = stranger.run("from huggingface_hub import HfApi\nHfApi().get_user_overview('org')").error
    assert error == "HfHubHTTPError"
    assert [str(call) for call in hub.calls[-1:]] == ["GET /api/users/org/overview 501"]
    assert hub.unknown == ["GET /api/users/org/overview"]
    hub.unknown.clear()
