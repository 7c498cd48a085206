"""`from_pretrained`: every kind of name, and every way in which it can fail."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from hfsr import _resources
from hfsr.checkpoints import save_checkpoint, write_model_folder
from hfsr.errors import CheckpointError, OptionsError
from hfsr.hub import from_pretrained
from hfsr.hub.download.resolve import find_local
from hfsr.model_zoo import create_model

from .client import Client
from .server import HubServer

LOAD = "import hfsr\nhfsr.from_pretrained(name, cache_dir=cache, **more)"


@pytest.fixture
def model_files(tmp_path: Path) -> dict[str, bytes]:
    """The files of a model folder, named as `HubServer.create` takes them."""
    write_model_folder(create_model("edsr_tiny"), tmp_path / "folder")
    return {
        "config_json": (tmp_path / "folder" / "config.json").read_bytes(),
        "model_safetensors": (tmp_path / "folder" / "model.safetensors").read_bytes(),
    }


def refusal(client: Client, name: str, cache: Path, **more: object) -> str:
    return client.error(LOAD, name=name, cache=str(cache), more=more)


# On this machine


def test_local_models_need_no_hub_client(stranger_home: Path, hub: HubServer, tmp_path: Path) -> None:
    """Also the test of an import that stays light: nothing of the Hub is loaded for a folder or a file."""
    write_model_folder(create_model("edsr_tiny"), tmp_path / "model")
    save_checkpoint(create_model("edsr_tiny"), tmp_path / "tiny.safetensors")
    client = Client(hub.url, home=stranger_home / "unused", cwd=tmp_path)
    try:
        loaded = client.ok(
            """
import sys, hfsr
models = [hfsr.from_pretrained("model"), hfsr.from_pretrained("./tiny.safetensors")]
result = [[type(m).__name__ for m in models], "huggingface_hub" in sys.modules, "jinja2" in sys.modules]
"""
        )
    finally:
        client.close()
    assert loaded == [["EDSR", "EDSR"], False, False]


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt"])
def test_files(tmp_path: Path, suffix: str) -> None:
    model = create_model("edsr_tiny")
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_checkpoint(model, path)
    else:
        torch.save({"params": model.state_dict()}, path)
    loaded = from_pretrained(str(path), dtype=torch.bfloat16)
    assert not loaded.training
    assert {p.dtype for p in loaded.parameters()} == {torch.bfloat16}
    assert type(from_pretrained(path)).__name__ == "EDSR"


def test_a_bundled_name_comes_before_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a bundled name means does not depend on the current directory."""
    write_model_folder(create_model("edsr_tiny"), tmp_path / "bundled" / "small")
    (tmp_path / "small").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_resources, "bundled_models", lambda: ["small"])
    monkeypatch.setattr(_resources, "path", lambda kind, name: tmp_path / "bundled" / name)
    assert type(from_pretrained("small")).__name__ == "EDSR"
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        from_pretrained("./small")
    with pytest.raises(CheckpointError, match=r"did you mean 'small'\?"):
        from_pretrained("smal")


def test_names_that_are_nothing() -> None:
    with pytest.raises(CheckpointError, match=r"a folder or a file, nor an id on the Hub.*owner/name"):
        from_pretrained("nothing of that name")
    with pytest.raises(CheckpointError, match=r"no checkpoint file 'runs/best\.pth'"):
        from_pretrained("runs/best.pth")
    with pytest.raises(CheckpointError):
        from_pretrained(Path("org/name"))
    assert find_local("org/name") is None


def test_words_that_do_not_apply(tmp_path: Path) -> None:
    write_model_folder(create_model("edsr_tiny"), tmp_path)
    with pytest.raises(OptionsError, match="has no revisions"):
        from_pretrained(tmp_path, revision="main")
    with pytest.raises(CheckpointError, match="enlarges by 2, not by 4"):
        from_pretrained(tmp_path, scale=4)


def test_the_client_is_not_imported_by_this_module() -> None:
    """The tests above run in one process with others; this holds the module's own imports."""
    source = Path(sys.modules["hfsr.hub.download.resolve"].__file__ or "").read_text()
    assert "huggingface_hub" not in source


# On the Hub


def test_models_that_are_not_there(
    hub: HubServer, stranger: Client, publisher: Client, tmp_path: Path
) -> None:
    assert "is private and you are not logged in" in refusal(stranger, "org/nobody", tmp_path)
    assert "your token may not see it" in refusal(publisher, "org/nobody", tmp_path)


def test_gated(hub: HubServer, stranger: Client, tmp_path: Path, model_files: dict[str, bytes]) -> None:
    hub.create("somebody/gated", gated=True, **model_files)
    message = refusal(stranger, "somebody/gated", tmp_path)
    assert message.startswith(f"'somebody/gated' is gated: request access at {hub.url}/somebody/gated,")


def test_repositories_of_other_kinds(
    hub: HubServer, stranger: Client, tmp_path: Path, model_files: dict[str, bytes]
) -> None:
    hub.create("org/bare", notes_txt=b"anything")
    message = refusal(stranger, "org/bare", tmp_path)
    assert "no weights that hfsr reads (.safetensors, .pth, .pt), but .gitattributes, notes.txt" in message
    hub.create("org/alone", config_json=model_files["config_json"], other_pth=b"anything")
    assert "no weights that hfsr reads" in refusal(stranger, "org/alone", tmp_path)
    hub.create("org/foreign", **{**model_files, "config_json": b'{"model_type": "swin2sr"}'})
    assert "holds the network 'swin2sr' according to" in refusal(stranger, "org/foreign", tmp_path)
    hub.create("org/text", **{**model_files, "config_json": b"not json"})
    assert "is not JSON" in refusal(stranger, "org/text", tmp_path)
    config = json.loads(model_files["config_json"])
    config["model_args"]["num_block"] = 3
    hub.create("org/misfit", **{**model_files, "config_json": json.dumps(config).encode()})
    message = refusal(stranger, "org/misfit", tmp_path)
    assert message.startswith("'org/misfit/model.safetensors' does not fit this EDSR: ")
    assert "body.2.conv1.weight" in message


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("500", "has trouble (status 500)"),
        ("cut", "is out of reach"),
        ("short", "ended early"),
        ("wrong", "arrived damaged"),
    ],
)
@pytest.mark.parametrize("which", ["config.json", "/objects/"])
def test_a_bad_download_leaves_nothing(
    hub: HubServer,
    stranger: Client,
    tmp_path: Path,
    model_files: dict[str, bytes],
    kind: str,
    told: str,
    which: str,
) -> None:
    hub.create("org/unlucky", **model_files)
    with hub.fault("GET", which, kind):
        assert told in refusal(stranger, "org/unlucky", tmp_path)
    left = [path for path in tmp_path.rglob("*") if path.is_file() and path.name.endswith(".incomplete")]
    assert left == []
    stranger.ok(LOAD, name="org/unlucky", cache=str(tmp_path), more={})  # and now it works
    hub.repos.pop("org/unlucky")


@pytest.mark.parametrize("method", ["*", "HEAD", "GET"])
def test_a_page_of_the_network_is_no_model(
    hub: HubServer, stranger: Client, tmp_path: Path, model_files: dict[str, bytes], method: str
) -> None:
    """A hotel's network answers everything with its own page, and 200."""
    hub.create("org/behind-a-page", **model_files)
    with hub.fault(method, "", "page"):
        assert "not from the Hub" in refusal(stranger, "org/behind-a-page", tmp_path)
    stranger.ok(LOAD, name="org/behind-a-page", cache=str(tmp_path), more={})


def test_a_connection_that_breaks_once_is_resumed(
    hub: HubServer, stranger: Client, tmp_path: Path, model_files: dict[str, bytes]
) -> None:
    hub.create("org/resumed", **model_files)
    with hub.fault("GET", "/objects/", "half", times=1), hub.recorded() as calls:
        stranger.ok(LOAD, name="org/resumed", cache=str(tmp_path), more={})
    assert len([call for call in calls if call.method == "GET" and "/objects/" in call.path]) == 2


def test_no_network_fails_at_once_or_uses_the_cache(
    hub: HubServer, stranger: Client, tmp_path: Path, model_files: dict[str, bytes]
) -> None:
    hub.create("org/away", **model_files)
    with hub.fault("*", "", "cut"), hub.recorded() as calls:
        assert "is out of reach" in refusal(stranger, "org/away", tmp_path)
    assert len(calls) == 1  # no minute of retries before the answer
    stranger.ok(LOAD, name="org/away", cache=str(tmp_path), more={})
    with hub.fault("*", "", "cut"):
        stranger.ok(LOAD, name="org/away", cache=str(tmp_path), more={})
