"""A process that is killed in the middle of a transfer: the next one finds nothing broken, and does it."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import pytest
import torch

from hfsr.hub import save_pretrained
from hfsr.zoo import create_model

from .client import Client
from .server import HubServer

PUSH = "import hfsr\nhfsr.push_to_hub(folder, repo)"
LOAD = "import hfsr\nhfsr.from_pretrained(repo)"
NUMBERS = itertools.count(9100)


@pytest.mark.parametrize(
    ("xet", "method", "pattern"),
    [
        (False, "PUT", "/objects/"),
        (False, "POST", "/commit/"),
        (False, "GET", "/objects/"),
        (True, "GET", "/xet-write-token/"),
        (True, "GET", "/xet-read-token/"),
    ],
    ids=lambda value: str(value).strip("/"),
)
def test_killed(hub: HubServer, tmp_path: Path, xet: bool, method: str, pattern: str) -> None:
    number = next(NUMBERS)
    torch.manual_seed(number)
    repo_id, folder = f"org/killed-{number}", save_pretrained(create_model("edsr_tiny"), tmp_path / "model")
    weights = (folder / "model.safetensors").read_bytes()
    if xet:
        pytest.importorskip("hf_xet")
        hub.xet_store = tmp_path / "xet"
        hub.announce_xet(folder / "model.safetensors")

    def process() -> Client:
        return Client(hub.url, home=tmp_path / "hf", cwd=tmp_path, token="hf_publisher", xet=xet)

    words = {"folder": str(folder), "repo": repo_id}
    loads = method == "GET" and "write" not in pattern
    client = process()
    if loads:
        client.ok(PUSH, **words)
    with hub.fault(method, pattern, "stall"):
        client.start(LOAD if loads else PUSH, **words)
        assert hub.stalled.wait(30)
        client.close()
    client = process()
    try:
        if not loads:
            client.ok(PUSH, **words)
        client.ok(LOAD, **words)
    finally:
        client.close()
        hub.xet_store = None
    assert hub.repos[repo_id].files()["model.safetensors"].data == weights
    [cached] = (tmp_path / "hf").rglob("snapshots/*/model.safetensors")
    assert hashlib.sha256(cached.read_bytes()).digest() == hashlib.sha256(weights).digest()
