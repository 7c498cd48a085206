"""`hfsr push` when something is in the way: one line with the remedy, the folder kept, safe to repeat."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import torch

from hfsr.checkpoints import save_checkpoint
from hfsr.model_zoo import create_model

from .client import Client, Outcome
from .server import HubServer

PUSH = """
import os
from hfsr.cli import main
os.environ.pop("HF_TOKEN", None)
if token:
    os.environ["HF_TOKEN"] = token
result = main(["push", *words])
os.environ["HF_TOKEN"] = "hf_publisher"
"""
NUMBERS = itertools.count()
FILES = {"README.md", "config.json", "model.safetensors"}


class Push:
    """Pushes of one checkpoint to one name."""

    def __init__(self, publisher: Client, folder: Path, owner: str = "org") -> None:
        number = next(NUMBERS)
        torch.manual_seed(5000 + number)  # weights that the Hub has never seen
        self.publisher, self.name = publisher, f"refused-{number}"
        self.repo_id = f"{owner}/{self.name}"
        self.file = folder / f"{self.name}.safetensors"
        save_checkpoint(create_model("edsr_tiny"), self.file)

    def __call__(self, *words: str, token: str | None = "hf_publisher") -> Outcome:
        words = (str(self.file), self.repo_id, "--licence", "mit", "--no-example", *words)
        return self.publisher.run(PUSH, words=list(words), token=token)

    def kept(self) -> set[str]:
        """The files of the local folder."""
        script = "from pathlib import Path\nresult = [p.name for p in Path(folder).glob('*')]"
        return set(self.publisher.ok(script, folder=f"{self.name}_hub"))


@pytest.fixture
def push(publisher: Client, tmp_path: Path) -> Push:
    return Push(publisher, tmp_path)


def refused(outcome: Outcome) -> str:
    """The one line of a push that failed."""
    assert outcome.error is None, outcome
    assert outcome.result == 1
    assert outcome.stderr.count("\n") == 1
    assert outcome.stderr.startswith("hfsr push: ")
    return outcome.stderr.strip()


def test_no_token(hub: HubServer, push: Push) -> None:
    with hub.recorded() as calls:
        line = refused(push(token=None))
    assert "needs a token of the Hub with write access and there is none; log in with 'hf auth login'" in line
    assert calls == []
    assert push().result == 0


@pytest.mark.parametrize(
    ("token", "told", "remedy"),
    [
        ("hf_wrong", "the Hub rejects the token", "create a new one in your settings"),
        ("hf_reader", "the token may not write to", "use a token with write access"),
    ],
)
def test_a_token_that_does_not_do(hub: HubServer, push: Push, token: str, told: str, remedy: str) -> None:
    line = refused(push(token=token))
    assert told in line
    assert remedy in line
    assert line.endswith(f"('{push.name}_hub' is kept)")
    assert push.kept() == FILES
    assert push.repo_id not in hub.repos
    assert push().result == 0


def test_somebody_elses_name(hub: HubServer, publisher: Client, tmp_path: Path) -> None:
    push = Push(publisher, tmp_path, owner="somebody")
    repo = hub.create(push.repo_id)
    line = refused(push())
    assert "may not write to" in line
    assert "--create-pr" in line
    assert len(repo.commits) == 1
    assert push("--create-pr").result == 0


@pytest.mark.parametrize(
    ("method", "pattern", "kind", "told", "remedy"),
    [
        ("POST", "/api/repos/create", "402", "requires a paid plan", "choose another owner"),
        ("POST", "/api/repos/create", "page", "a response that is not from the Hub", "log in there first"),
        ("GET", "/api/models/org/refused-[0-9]+$", "page", "not from the Hub", "repeat the command"),
        ("POST", "/api/repos/create", "429", "limits the rate", "wait some minutes"),
        ("POST", "/api/validate-yaml", "cut", "out of reach", "repeat the command"),
        ("GET", "/api/models/org/refused-[0-9]+$", "cut", "out of reach", "repeat the command"),
        ("POST", "/preupload/", "500", "has trouble", "try again later"),
        ("POST", "/objects/batch", "500", "has trouble", "try again later"),
        ("PUT", "/objects/", "cut", "out of reach", "repeat the command"),
        ("PUT", "/objects/", "507", "has trouble", "try again later"),
        ("POST", "/lfs/verify", "500", "has trouble", "try again later"),
        ("POST", "/commit/", "cut", "out of reach", "repeat the command"),
        ("POST", "/commit/", "503", "has trouble", "try again later"),
    ],
)
def test_whatever_breaks_can_be_repeated(
    hub: HubServer, push: Push, method: str, pattern: str, kind: str, told: str, remedy: str
) -> None:
    with hub.fault(method, pattern, kind):
        line = refused(push())
    assert told in line
    assert remedy in line
    assert line.endswith(f"('{push.name}_hub' is kept)")
    assert push.kept() == FILES
    assert push.repo_id not in hub.repos or len(hub.repos[push.repo_id].commits) == 1
    again = push()
    assert again.result == 0
    assert again.stdout.endswith(f"{hub.url}/{push.repo_id}\n")
    assert hub.repos[push.repo_id].files().keys() > FILES
    assert len(hub.repos[push.repo_id].commits) == 2


def test_an_answer_that_is_lost_is_not_sent_twice(hub: HubServer, push: Push) -> None:
    """The commit was made, but the connection broke before the Hub could say so."""
    with hub.fault("POST", "/commit/", "lost", times=1):
        outcome = push()
    if outcome.result:
        refused(outcome)
    repo = hub.repos[push.repo_id]
    assert len(repo.commits) == 2
    again = push()
    assert "nothing has changed" in again.stdout
    assert len(repo.commits) == 2


def test_another_librarys_model_is_not_overwritten(hub: HubServer, push: Push) -> None:
    """The name is taken by something of one's own."""
    theirs = json.dumps({"model_type": "bert"}).encode()
    repo = hub.create(push.repo_id, contents={"config.json": theirs, "README.md": b"# BERT\n"})
    line = refused(push())
    assert f"the name '{push.repo_id}' is taken by another library's model" in line
    assert "choose another name" in line
    assert repo.files()["config.json"].data == theirs
    assert push("--revision", "hfsr").result == 0
    assert repo.files()["config.json"].data == theirs


def test_a_name_that_something_unseen_has(hub: HubServer, push: Push) -> None:
    hub.reserved.add(push.repo_id)
    line = refused(push())
    assert (
        f"the name '{push.repo_id}' is taken on the Hub by a repository that your token may not see" in line
    )
    assert "choose another name" in line


def test_every_option(hub: HubServer, push: Push) -> None:
    outcome = push("--private", "--revision", "v1", "--message", "First try")
    assert outcome.result == 0, outcome.stderr
    repo = hub.repos[push.repo_id]
    assert repo.private
    assert set(repo.refs) == {"main", "v1"}
    assert repo.files("v1").keys() > FILES
    assert not repo.files("main").keys() & FILES
