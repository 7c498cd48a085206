"""Pushing while training: the real client in a process of its own, against a Hub on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ..hub.client import Client, Outcome
from ..hub.server import HubServer
from .conftest import tiny_options, write_images

SCRIPT = """
import time
from pathlib import Path
from hfsr import training
from hfsr.training.engine import Engine

step = getattr(Engine, "_original_step", Engine.step)
Engine._original_step = step

def waiting_step(self, stream):
    while self.iteration == wait_at and self.publisher._child and self.publisher._child.poll() is None:
        time.sleep(0.01)
    return step(self, stream)

Engine.step = waiting_step
options = training.load_options(file, ["logger:push_to_hub=" + repository, *overrides])
result = str(training.train(options, option_file=Path(file), auto_resume=resume, root=Path(file).parent))
"""


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


@pytest.fixture(scope="module")
def publisher(hub: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("publisher")
    client = Client(hub.url, home=folder / "hf", cwd=folder, token="hf_publisher")
    yield client
    client.close()


@pytest.fixture
def file(tmp_path: Path) -> str:
    content = tiny_options(write_images(tmp_path / "pictures"))
    content["datasets"]["train"]["name"] = "Smooth"
    (tmp_path / "tiny.yml").write_text(yaml.safe_dump(content))
    return str(tmp_path / "tiny.yml")


def train(
    client: Client, file: str, repository: str, *overrides: str, resume: bool = False, wait_at: int = -1
) -> Outcome:
    """Trains; before the step that follows iteration `wait_at`, until the push under way has ended."""
    outcome = client.run(
        SCRIPT,
        file=file,
        repository=repository,
        overrides=list(overrides),
        resume=resume,
        wait_at=wait_at,
    )
    assert outcome.error is None, outcome
    return outcome


def test_each_new_best_arrives_with_its_numbers_while_training_goes_on(hub, publisher, file, tmp_path):
    outcome = train(publisher, file, "org/tiny", wait_at=4)
    assert outcome.stderr.index("published: ") < outcome.stderr.index("iter 6:")
    repo = hub.repos["org/tiny"]
    assert len(repo.commits) >= 3, "the repository itself, a push while training, the last one"
    files = repo.files()
    models = tmp_path / "experiments" / "tiny" / "models"
    assert files["model.safetensors"].data == (models / "net_g_best" / "model.safetensors").read_bytes()
    card = files["README.md"].data.decode()
    told = next(line for line in outcome.stderr.splitlines() if "; best psnr_y on held_out" in line)
    assert f"{float(told.rsplit('held_out: ', 1)[1].split()[0]):.2f}" in card
    assert "| data | Smooth, pictures |" in card
    assert str(tmp_path) not in card


@pytest.mark.slow
def test_a_hub_that_refuses_once_gets_the_last_push_at_the_end(hub, publisher, file, tmp_path):
    with hub.fault("POST", "/api/repos/create", "402", times=1) as fault:
        outcome = train(publisher, file, "org/late", "val:val_freq=6", wait_at=4)
    assert fault.times == 0
    assert outcome.stderr.index("not published yet: the Hub") < outcome.stderr.index("published: http")
    best = (tmp_path / "experiments/tiny/models/net_g_best/model.safetensors").read_bytes()
    assert hub.repos["org/late"].files()["model.safetensors"].data == best


@pytest.mark.slow
def test_what_could_not_be_pushed_is_said_with_the_command_that_does_it(hub, publisher, file, tmp_path):
    outcome = train(publisher, file, "somebody/else", "val:val_freq=6")
    folder = tmp_path / "experiments" / "tiny"
    last = [line for line in outcome.stderr.splitlines() if "published" in line][-1]
    assert "may not write to 'somebody/else'" in last
    assert last.endswith(f"try again with: hfsr push {folder} somebody/else")
    assert (folder / "training_states" / "6.state").is_file()


@pytest.mark.slow
def test_without_a_token_it_is_said_at_the_start_and_pushed_when_the_run_is_resumed(
    hub, publisher, file, tmp_path
):
    stranger = Client(hub.url, home=tmp_path / "hf", cwd=tmp_path / "work")
    try:
        outcome = train(stranger, file, "org/again")
    finally:
        stranger.close()
    told = [line for line in outcome.stderr.splitlines() if "needs a token" in line]
    assert len(told) == 2, "at the start and at the end"
    assert told[1].endswith(f"hfsr push {tmp_path / 'experiments' / 'tiny'} org/again")
    assert outcome.stderr.index("needs a token") < outcome.stderr.index("before training")
    assert "org/again" not in hub.repos
    train(publisher, file, "org/again", resume=True)
    assert "model.safetensors" in hub.repos["org/again"].files()
