"""A process that is killed in the middle of a transfer: the next one finds nothing broken, and does it."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from hfsr.hub import save_pretrained
from hfsr.model_zoo import create_model

from .client import Client
from .server import HubServer

PUSH = "import hfsr\nhfsr.push_to_hub(folder, repo)"
LOAD = "import hfsr\nhfsr.from_pretrained(repo)"
NUMBERS = itertools.count(9100)


STEPS = {
    False: [(PUSH, "PUT", "/objects/"), (PUSH, "POST", "/commit/"), (LOAD, "GET", "/objects/")],
    True: [(PUSH, "GET", "/xet-write-token/"), (LOAD, "GET", "/xet-read-token/")],
}
"""By Xet or not -> what is under way, and the call that never gets its answer."""


@pytest.mark.parametrize("xet", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["lfs", "xet"])
def test_killed_at_every_step(hub: HubServer, tmp_path: Path, xet: bool) -> None:
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
    for script, method, pattern in STEPS[xet]:
        client = process()
        if script is LOAD:
            client.ok(PUSH, **words)
        with hub.fault(method, pattern, "stall"):
            client.start(script, **words)
            assert hub.stalled.wait(240)
            client.close()
    assert not list((tmp_path / "hf").rglob("snapshots/*/model.safetensors"))
    client = process()
    try:
        client.ok(LOAD, **words)
    finally:
        client.close()
        hub.xet_store = None
    repo = hub.repos[repo_id]
    assert len(repo.commits) == 2
    assert repo.files()["model.safetensors"].data == weights
    [cached] = (tmp_path / "hf").rglob("snapshots/*/model.safetensors")
    assert cached.read_bytes() == weights
