"""`hfsr push-space`: the Space with a menu of one's own models, created and uploaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ..hub.client import Client
from ..hub.server import HubServer

PUSH = """
import hfsr, torch
from hfsr.cli import main
result = main(["push-space", *words])
"""
MODEL = (
    "import hfsr, torch\ntorch.manual_seed(0)\nhfsr.push_to_hub(hfsr.create_model('edsr_tiny'), 'org/shown')"
)


@pytest.fixture(scope="module")
def shown(hub: HubServer, publisher: Client) -> str:
    publisher.ok(MODEL)
    return "org/shown"


def test_a_space_is_made_and_repeated(hub: HubServer, publisher: Client, shown: str) -> None:
    words = ["org/try", "--model", shown, "hfsr-x2", "--hardware", "zero-a10g"]
    outcome = publisher.run(PUSH, words=words)
    assert outcome.result == 0, outcome.stderr
    assert outcome.stdout.endswith(f"{hub.url}/spaces/org/try\n")
    space = hub.repos["spaces/org/try"]
    assert space.settings == {"sdk": "gradio", "hardware": "zero-a10g"}
    files = space.files()
    assert {"app.py", "models.yml", "requirements.txt", "style.css", "README.md"} <= set(files)
    menu = yaml.safe_load(files["models.yml"].data)
    assert menu == {"Enlarge": {"2 times, shown": "org/shown", "2 times, hfsr-x2": "hfsr-x2"}}
    readme = files["README.md"].data.decode()
    front = yaml.safe_load(readme.split("---\n")[1])
    assert front["models"] == front["preload_from_hub"] == ["org/shown"]
    assert (front["sdk"], front["suggested_hardware"]) == ("gradio", "zero-a10g")
    assert 'Client("org/try")' in readme
    commits = len(space.commits)
    again = publisher.run(PUSH, words=words)
    assert "nothing has changed" in again.stdout
    assert len(space.commits) == commits


def test_a_wheel_goes_along(hub: HubServer, publisher: Client, shown: str, tmp_path: Path) -> None:
    wheel = tmp_path / "hfsr-0.1.0-py3-none-any.whl"
    wheel.write_bytes(b"a wheel")
    words = ["org/wheeled", "--model", shown, "--wheel", str(wheel), "--private"]
    assert publisher.run(PUSH, words=words).result == 0
    space = hub.repos["spaces/org/wheeled"]
    assert space.private
    asked = space.files()["requirements.txt"].data.decode()
    assert asked == f"hfsr[demo] @ {hub.url}/spaces/org/wheeled/resolve/main/{wheel.name}\n"
    assert space.files()[wheel.name].data == b"a wheel"


def test_a_plan_that_must_be_paid_is_explained(hub: HubServer, publisher: Client, shown: str) -> None:
    with hub.fault("POST", "/api/repos/create", "402"):
        outcome = publisher.run(PUSH, words=["org/dear", "--model", shown])
    assert outcome.result == 1
    assert "requires a paid plan for this Gradio Space" in outcome.stderr
    assert "hfsr demo" in outcome.stderr
    assert outcome.stderr.rstrip().endswith("('dear_space' is kept)")
    assert "spaces/org/dear" not in hub.repos


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["org/try", "--model", "model.pth"], "cannot read 'model.pth' from this machine"),
        (["org/try", "--model", "org/nobody"], "the Hub has no model 'org/nobody'"),
        (["try", "--model", "hfsr-x2"], "is not an id on the Hub"),
        (["org/try", "--model", "hfsr-x2", "--wheel", "no.whl"], "'no.whl' is no wheel of hfsr"),
        (["else/try", "--model", "hfsr-x2"], "the token may not write to 'else/try'"),
    ],
)
def test_refusals_are_one_line(hub: HubServer, publisher: Client, words: list[str], told: str) -> None:
    outcome = publisher.run(PUSH, words=words)
    assert outcome.result == 1
    assert told in outcome.stderr
    assert outcome.stderr.count("\n") == 1


def test_a_dry_run_uploads_nothing(hub: HubServer, publisher: Client) -> None:
    with hub.recorded() as calls:
        outcome = publisher.run(PUSH, words=["org/dry", "--model", "hfsr-x2", "--dry-run"])
    assert outcome.result == 0
    assert calls == []
    publisher.ok("from pathlib import Path\nPath('mine_space').mkdir()\nPath('mine_space/kept').touch()")
    outcome = publisher.run(PUSH, words=["org/mine", "--model", "hfsr-x2", "--dry-run"])
    assert "'mine_space' is there and is no Space" in outcome.stderr
    assert publisher.ok("result = Path('mine_space/kept').exists()")


def test_what_would_fail_in_a_space_is_said(hub: HubServer, publisher: Client, shown: str) -> None:
    publisher.ok(
        "import hfsr\nresult = hfsr.push_to_hub(hfsr.create_model('edsr_tiny'), 'org/hidden', private=True)"
    )
    argv = ["push-space", "org/open", "--model", "org/hidden", shown, "--dry-run"]
    script = "from hfsr.cli import main\nresult = main(argv)"
    told = publisher.run(script, argv=argv).stdout
    assert "note: 'org/hidden' is private: visitors of the public Space 'org/open' cannot use it" in told
    assert f"note: '{shown}'" not in told
    assert "note: the Space installs hfsr[demo] from a package index, which must have hfsr" in told
    assert "is private" not in publisher.run(script, argv=[*argv, "--private"]).stdout
