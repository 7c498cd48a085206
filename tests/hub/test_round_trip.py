"""Push with the real client, load in a fresh process: the same network, bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest

from hfsr import __version__

from .client import Client
from .server import HubServer

MODEL = """
import hfsr, torch
def network(seed):
    torch.manual_seed(seed)
    return hfsr.create_model("edsr_tiny").eval()
"""
OUTPUT = """
import hashlib, torch
torch.manual_seed(7)
x = torch.rand(1, 3, 9, 11)
with torch.no_grad():
    result = hashlib.sha256(model(x).numpy().tobytes()).hexdigest()
"""


@pytest.fixture(scope="module", autouse=True)
def pushed(hub: HubServer, publisher: Client) -> str:
    """org/tiny on the Hub; the hash of what the network makes of a fixed input."""
    publisher.ok(MODEL)
    with hub.recorded() as calls:
        address = publisher.ok("result = hfsr.push_to_hub(network(0), 'org/tiny', license='apache-2.0')")
    assert address == f"{hub.url}/org/tiny"
    assert [str(call) for call in calls if "/commit/" in call.path] == [
        "POST /api/models/org/tiny/commit/main 200"
    ]
    assert all(call.agent.startswith(f"hfsr/{__version__};") for call in calls if _is_ours(call.path))
    return publisher.ok("model = network(0)" + OUTPUT)


def _is_ours(path: str) -> bool:
    """The storage is not told who asks, and the card is validated by the client's own card class."""
    return "/objects/" not in path and not path.endswith("validate-yaml")


def test_a_fresh_process_gets_the_same_output(hub: HubServer, stranger: Client, pushed: str) -> None:
    with hub.recorded() as calls:
        outcome = stranger.ok(
            """
import sys, hfsr
model = hfsr.from_pretrained("org/tiny")
heavy = {"basicsr", "accelerate", "gradio", "timm", "torchvision", "cv2", "pydantic"} & set(sys.modules)
facts = dict(training=model.training, name=type(model).__name__, modules=sorted(heavy))
"""
            + OUTPUT
            + "\nresult = dict(facts, hash=result)"
        )
    assert outcome == {"training": False, "name": "EDSR", "modules": [], "hash": pushed}
    config = [f"{call.method} {call.status}" for call in calls if call.path.endswith("config.json")]
    assert config == ["HEAD 200", "GET 200"]  # one download, as the Hub counts them
    assert all(call.agent.startswith(f"hfsr/{__version__};") for call in calls)
    assert all(call.token is None for call in calls)


def test_the_second_load_downloads_nothing(hub: HubServer, stranger: Client, pushed: str) -> None:
    with hub.recorded() as calls:
        assert stranger.ok("model = hfsr.from_pretrained('org/tiny')" + OUTPUT) == pushed
    assert [str(call) for call in calls] == ["HEAD /org/tiny/resolve/main/config.json 200"]


def test_offline_takes_what_is_cached(
    hub: HubServer, stranger: Client, stranger_home: Path, tmp_path: Path, pushed: str
) -> None:
    assert stranger.ok("model = hfsr.from_pretrained('org/tiny')" + OUTPUT) == pushed  # cached from here on
    client = Client(hub.url, home=stranger_home / "hf", cwd=tmp_path, offline=True)
    try:
        with hub.recorded() as calls:
            assert client.ok("import hfsr\nmodel = hfsr.from_pretrained('org/tiny')" + OUTPUT) == pushed
            message = client.error("hfsr.from_pretrained('org/tiny', cache_dir='elsewhere')")
            assert (
                message
                == "'org/tiny' is not in the cache and HF_HUB_OFFLINE is set; go online once to download it"
            )
            push = "hfsr.push_to_hub(hfsr.create_model('edsr_tiny'), 'org/tiny', token='hf_publisher')"
            assert "offline" in client.error(push).lower()
        assert calls == []
    finally:
        client.close()
    message = stranger.error("hfsr.from_pretrained('org/tiny', cache_dir='empty', local_files_only=True)")
    assert "local_files_only is set" in message


def test_the_storage_is_never_told_the_token(hub: HubServer, publisher: Client) -> None:
    with hub.recorded() as calls:
        publisher.ok(MODEL + "hfsr.push_to_hub(network(3), 'org/secret', private=True)")
        publisher.ok("hfsr.from_pretrained('org/secret')")
    stored = [call for call in calls if call.path.startswith("/objects/")]
    assert {call.method for call in stored} == {"PUT", "GET"}
    assert {call.token for call in stored} == {None}
    assert hub.repos["org/secret"].private


def test_revisions(hub: HubServer, publisher: Client, stranger: Client) -> None:
    publisher.ok(MODEL + "hfsr.push_to_hub(network(1), 'org/tiny', revision='v2')")
    ours = publisher.ok("model = network(1)" + OUTPUT)
    assert (
        stranger.ok("import hfsr\nmodel = hfsr.from_pretrained('org/tiny', revision='v2')" + OUTPUT) == ours
    )
    commit = hub.repos["org/tiny"].refs["v2"]
    assert (
        stranger.ok("model = hfsr.from_pretrained('org/tiny', revision=commit)" + OUTPUT, commit=commit)
        == ours
    )
    message = stranger.error("hfsr.from_pretrained('org/tiny', revision='v3')")
    assert message == "'org/tiny' has no revision 'v3'; allowed: main, v2"


def test_device_dtype_and_scale(stranger: Client) -> None:
    script = """
model = hfsr.from_pretrained("org/tiny", dtype=torch.bfloat16, device="cpu", scale=2)
result = sorted({str(p.dtype) for p in model.parameters()})
"""
    assert stranger.ok("import hfsr, torch" + script) == ["torch.bfloat16"]
    assert stranger.error("hfsr.from_pretrained('org/tiny', scale=3)") == "'org/tiny' enlarges by 2, not by 3"


def test_the_snippet_on_the_card_runs_as_printed(hub: HubServer, stranger: Client) -> None:
    card = hub.repos["org/tiny"].files()["README.md"].data.decode()
    snippet = card.split("```python\n")[1].split("```")[0]
    assert len(snippet.splitlines()) == 3
    size = stranger.ok(
        """
from PIL import Image
Image.new("RGB", (12, 10), "teal").save("photo.png")
exec(snippet)
result = Image.open("photo_x2.png").size
""",
        snippet=snippet,
    )
    assert size == [24, 20]


def test_commands_name_models_on_the_hub(hub: HubServer, stranger: Client) -> None:
    outcome = stranger.run("from hfsr.cli import main\nresult = main(['info', 'org/tiny'])")
    assert (outcome.result, outcome.stderr) == (0, "")
    assert "5,699" in outcome.stdout
    outcome = stranger.run("result = main(['info', 'org/tiny-but-not-there'])")
    assert outcome.result == 1
    assert outcome.stderr.count("\n") == 1
