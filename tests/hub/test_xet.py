"""Large files by Xet, the way that the client takes by default, with a local store; and what breaks."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from hfsr.hub import save_pretrained
from hfsr.model_zoo import create_model

from .client import Client
from .server import HubServer, Repo
from .test_calls import told

pytest.importorskip("hf_xet")

PUSH = "import hfsr\nresult = hfsr.push_to_hub(folder, repo, **more)"
LOAD = """
import hashlib, torch, hfsr
model = hfsr.from_pretrained(repo, **more)
state = b"".join(t.numpy().tobytes() for t in model.state_dict().values())
result = hashlib.sha256(state).hexdigest()
"""
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def store(hub: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    hub.xet_store = tmp_path_factory.mktemp("xet") / "store"
    yield hub.xet_store
    hub.xet_store = None


@pytest.fixture(scope="module")
def client(hub: HubServer, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Somebody who may write to org/*."""
    home = tmp_path_factory.mktemp("xet-client")
    client = Client(hub.url, home=home / "hf", cwd=home, token="hf_publisher", xet=True)
    yield client
    client.close()


class Model:
    """A model folder with weights of its own, and the name that it is pushed to."""

    def __init__(self, hub: HubServer, client: Client, folder: Path) -> None:
        self.hub, self.client = hub, client
        number = next(NUMBERS)
        torch.manual_seed(7000 + number)
        self.repo_id = f"org/xet-{number}"
        self.network = create_model("edsr_tiny")
        self.folder = save_pretrained(self.network, folder / "model")
        hub.announce_xet(self.folder / "model.safetensors")

    @property
    def repo(self) -> Repo:
        return self.hub.repos[self.repo_id]

    def push(self, **more: object) -> str:
        return self.client.ok(PUSH, folder=str(self.folder), repo=self.repo_id, more=more)

    def refused(self, **more: object) -> str:
        return self.client.error(PUSH, folder=str(self.folder), repo=self.repo_id, more=more)

    def load(self, **more: object) -> str:
        return self.client.ok(LOAD, repo=self.repo_id, more=more)


@pytest.fixture
def model(hub: HubServer, client: Client, tmp_path: Path) -> Model:
    return Model(hub, client, tmp_path)


def stored(store: Path) -> dict[Path, bytes]:
    """The files that hold the contents of what was uploaded: Xet's xorbs and shards, not their indices."""
    return {
        path: path.read_bytes()
        for kind in ("xorbs", "shards")
        for path in (store / "xet" / "xorbs" / kind).glob("*")
        if path.suffix != ".tagset"
    }


# What goes well


def test_what_the_client_asks(hub: HubServer, model: Model, tmp_path: Path) -> None:
    """Neither bytes through the Hub nor classic LFS."""
    api, page = f"/api/models/{model.repo_id}", f"/{model.repo_id}/resolve"
    with hub.recorded() as calls:
        assert model.push() == f"{hub.url}/{model.repo_id}"
    checked = ["POST /api/validate-yaml 200", "POST /api/repos/create {}", f"GET {api} 200"]
    hashes = f"POST {api}/paths-info/<commit> 200"
    commit = ["POST /api/validate-yaml 200", f"POST {api}/preupload/main 200"]
    write = [f"GET {api}/xet-write-token/main 200", f"POST {api}/commit/main 200"]
    assert told(calls) == [*checked[:1], checked[1].format(200), checked[2], hashes, *commit, *write]
    with hub.recorded() as calls:
        model.push()
    assert told(calls) == [*checked[:1], checked[1].format(409), checked[2], hashes]
    with hub.recorded() as calls:
        model.load(cache_dir=str(tmp_path / "cache"))
    assert told(calls) == [
        f"GET {api} 200",
        f"HEAD {page}/main/config.json 200",
        f"GET {page}/main/config.json 200",
        f"HEAD {page}/<commit>/model.safetensors 302",
        f"GET {api}/xet-read-token/<commit> 200",
    ]
    with hub.recorded() as calls:
        model.load(cache_dir=str(tmp_path / "cache"))
    assert told(calls) == [f"HEAD {page}/main/config.json 200"]


def test_the_weights_arrive_bit_by_bit(model: Model, tmp_path: Path) -> None:
    model.push()
    state = b"".join(tensor.numpy().tobytes() for tensor in model.network.state_dict().values())
    assert model.load(cache_dir=str(tmp_path / "cache")) == hashlib.sha256(state).hexdigest()
    [cached] = (tmp_path / "cache").rglob("snapshots/*/model.safetensors")
    assert cached.read_bytes() == (model.folder / "model.safetensors").read_bytes()


def test_branches_privacy_and_offline(hub: HubServer, model: Model, stranger: Client, tmp_path: Path) -> None:
    model.push(private=True, revision="v1")
    assert model.repo.private
    assert "model.safetensors" in model.repo.files("v1").keys() - model.repo.files("main").keys()
    first = model.load(revision="v1", cache_dir=str(tmp_path / "cache"))
    assert "is private and you are not logged in" in stranger.error(LOAD, repo=model.repo_id, more={})
    with hub.recorded() as calls:
        again = {"cache_dir": str(tmp_path / "cache"), "local_files_only": True}
        assert model.load(revision="v1", **again) == first
    assert calls == []


def test_gated(hub: HubServer, model: Model, client: Client) -> None:
    model.push()
    model.repo.gated = True
    hub.repos["somebody/gated"] = hub.repos.pop(model.repo_id)
    assert "is gated: request access" in client.error(LOAD, repo="somebody/gated", more={})


def test_somebody_elses_commit_meanwhile(hub: HubServer, model: Model) -> None:
    hub.before_commit = lambda repo: repo.add_commit("main", dict(repo.files()))
    try:
        assert "changed during the upload" in model.refused()
    finally:
        hub.before_commit = None
    model.push()


# What goes wrong


@pytest.mark.parametrize(
    ("kind", "told_so"),
    [
        ("500", "has trouble (status 500)"),
        ("401", "rejects the token"),
        ("403", "the token may not write to"),
        ("cut", "is out of reach"),
        ("page", "is out of reach"),
    ],
)
def test_an_upload_that_breaks_off_is_repeated(hub: HubServer, model: Model, kind: str, told_so: str) -> None:
    with hub.fault("GET", "/xet-write-token/", kind):
        assert told_so in model.refused()
    assert len(model.repo.commits) == 1
    assert {path.name for path in model.folder.iterdir()} == {"README.md", "config.json", "model.safetensors"}
    model.push()
    assert len(model.repo.commits) == 2
    assert model.load()


def test_bytes_that_are_stored_and_not_committed(hub: HubServer, model: Model) -> None:
    with hub.fault("POST", "/commit/", "500"):
        assert "has trouble" in model.refused()
    assert len(model.repo.commits) == 1
    model.push()
    assert model.load()


def test_a_store_that_cannot_be_written(hub: HubServer, model: Model, store: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    hub.xet_store = tmp_path / "file" / "store"
    try:
        message = model.refused()
    finally:
        hub.xet_store = store
    assert "Not a directory" in message
    assert "repeat the command" in message
    assert len(model.repo.commits) == 1


@pytest.mark.parametrize(
    ("kind", "told_so"),
    [
        ("500", "has trouble (status 500)"),
        ("403", "does not let you read"),
        ("cut", "is out of reach"),
        ("page", "a response that is not from the Hub"),
    ],
)
def test_a_download_that_is_refused(
    hub: HubServer, model: Model, client: Client, tmp_path: Path, kind: str, told_so: str
) -> None:
    model.push()
    more = {"cache_dir": str(tmp_path / "cache")}
    with hub.fault("GET", "/xet-read-token/", kind):
        assert told_so in client.error(LOAD, repo=model.repo_id, more=more)
    assert not list((tmp_path / "cache").rglob("model.safetensors"))
    assert model.load(**more)


@pytest.mark.parametrize("kind", ["xorbs", "shards"])
@pytest.mark.parametrize("how", ["short", "gone", "wrong"])
def test_a_damaged_store_never_breaks_the_cache(
    model: Model, client: Client, store: Path, tmp_path: Path, kind: str, how: str
) -> None:
    """Also what the client publishes in the store that repositories share must go: the next load takes it."""
    known = stored(store)
    model.push()
    good = {path: data for path, data in stored(store).items() if path not in known}
    [path] = (path for path in good if path.parent.name == kind)
    path.chmod(0o644)
    if how == "gone":
        path.unlink()
    else:
        half = len(good[path]) // 2
        path.write_bytes(good[path][:half] + bytes(255 - b for b in good[path][half:]) * (how == "wrong"))
    words = {"repo": model.repo_id, "more": {"cache_dir": str(tmp_path / "cache")}}
    outcome = client.run(LOAD, **words)
    path.write_bytes(good[path])
    whole = client.ok(LOAD, **words)
    state = b"".join(tensor.numpy().tobytes() for tensor in model.network.state_dict().values())
    assert whole == hashlib.sha256(state).hexdigest()
    if outcome.error is None:  # what is damaged was not needed: then what came is right
        assert (outcome.result, kind) == (whole, "shards")
    else:
        assert outcome.error == "HubError"
        assert "\n" not in outcome.message
        assert "repeat the command" in outcome.message or "arrived damaged" in outcome.message
