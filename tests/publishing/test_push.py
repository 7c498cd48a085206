"""Publishing: one commit, only what changed, and a clear line for everything that can go wrong."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from hfsr.hub import save_pretrained
from hfsr.model_zoo import create_model

from ..hub.client import Client
from ..hub.server import HubServer, Repo

PUSH = "import hfsr\nresult = hfsr.push_to_hub(folder, repo, **more)"


SEEDS = itertools.count(100)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder with weights that the Hub has never seen."""
    torch.manual_seed(next(SEEDS))
    return save_pretrained(create_model("edsr_tiny"), tmp_path / "model")


def push(client: Client, folder: Path, repo: str, **more: object) -> str:
    return client.ok(PUSH, folder=str(folder), repo=repo, more=more)


def refusal(client: Client, folder: Path, repo: str, **more: object) -> str:
    return client.error(PUSH, folder=str(folder), repo=repo, more=more)


def test_pushing_again_uploads_only_what_changed(hub: HubServer, publisher: Client, folder: Path) -> None:
    push(publisher, folder, "org/again")
    repo = hub.repos["org/again"]
    assert sorted(repo.files()) == [".gitattributes", "README.md", "config.json", "model.safetensors"]
    with hub.recorded() as calls:
        push(publisher, folder, "org/again")
    assert len(repo.commits) == 2
    assert not [call for call in calls if "/commit/" in call.path or call.method == "PUT"]
    card = folder / "README.md"
    card.write_text(card.read_text() + "\nOne more line.\n")
    with hub.recorded() as calls:
        push(publisher, folder, "org/again", commit_message="Say more")
    assert len(repo.commits) == 3
    assert not [call for call in calls if call.method == "PUT" or call.path.endswith("/objects/batch")]
    assert repo.files()["README.md"].data.decode().endswith("One more line.\n")


def test_a_network_of_the_same_weights_is_the_same_file(hub: HubServer, publisher: Client) -> None:
    network = "import hfsr, torch\ntorch.manual_seed(5)\nmodel = hfsr.create_model('edsr_tiny')\n"
    script = network + "hfsr.push_to_hub(model, 'org/same')"
    publisher.ok(script)
    publisher.ok(script)
    assert len(hub.repos["org/same"].commits) == 2


def test_the_card_carries_its_new_name(hub: HubServer, publisher: Client, folder: Path) -> None:
    assert f'from_pretrained("{folder}")' in (folder / "README.md").read_text()
    push(publisher, folder, "org/named")
    card = hub.repos["org/named"].files()["README.md"].data.decode()
    assert str(folder) not in card
    assert 'from_pretrained("org/named")' in card
    assert "`hfsr upscale photo.png -m org/named`" in card


def test_private_and_pull_requests(hub: HubServer, publisher: Client, stranger: Client, folder: Path) -> None:
    push(publisher, folder, "org/private", private=True)
    assert hub.repos["org/private"].private
    message = stranger.error("import hfsr\nhfsr.from_pretrained('org/private')")
    assert message.startswith(
        "the Hub has no model 'org/private', or it is private and you are not logged in;"
    )
    hub.create("somebody/model")
    address = push(publisher, folder, "somebody/model", create_pr=True)
    assert address == f"{hub.url}/somebody/model/discussions/1"
    assert set(hub.repos["somebody/model"].refs) == {"main", "refs/pr/1"}
    assert sorted(hub.repos["somebody/model"].files()) == [".gitattributes"]


def test_private_is_not_ignored_for_a_public_repository(
    hub: HubServer, publisher: Client, folder: Path
) -> None:
    repo = hub.create("org/public")
    message = refusal(publisher, folder, "org/public", private=True)
    assert message.startswith("'org/public' exists already and is public;")
    assert len(repo.commits) == 1


def test_refusals_are_one_line(hub: HubServer, publisher: Client, stranger: Client, folder: Path) -> None:
    assert "needs a token" in refusal(stranger, folder, "org/x")
    assert "rejects the token" in refusal(stranger, folder, "org/x", token="hf_wrong")
    assert "may not write to 'org/x'" in refusal(stranger, folder, "org/x", token="hf_reader")
    assert "owner/name" in refusal(publisher, folder, "x")
    with hub.fault("POST", "/api/repos/create", "402"):
        assert "requires a paid plan" in refusal(publisher, folder, "org/x")
    with hub.fault("POST", "/commit/", "500"):
        assert "has trouble (status 500)" in refusal(publisher, folder, "org/x")
    with hub.fault("*", "", "cut"):
        assert "is out of reach" in refusal(publisher, folder, "org/x")
    assert len(hub.repos["org/x"].commits) == 1


def test_somebody_elses_model_is_refused(hub: HubServer, publisher: Client, folder: Path) -> None:
    hub.create("somebody/else")
    assert "may not write to 'somebody/else'" in refusal(publisher, folder, "somebody/else")
    assert "--create-pr" in refusal(publisher, folder, "somebody/else")


def test_an_upload_that_breaks_off_can_be_repeated(hub: HubServer, publisher: Client, folder: Path) -> None:
    for kind in ("cut", "500"):
        with hub.fault("PUT", "/objects/", kind):
            message = refusal(publisher, folder, "org/broken")
        assert "out of reach" in message or "trouble" in message
    repo = hub.repos["org/broken"]
    assert len(repo.commits) == 1  # it exists, and holds nothing yet
    push(publisher, folder, "org/broken")
    assert repo.files()["model.safetensors"].data == (folder / "model.safetensors").read_bytes()


def test_a_hiccup_of_the_network_is_not_noticed(hub: HubServer, publisher: Client, folder: Path) -> None:
    with hub.fault("PUT", "/objects/", "cut", times=2), hub.fault("POST", "/preupload/", "503", times=1):
        push(publisher, folder, "org/hiccup")
    assert len(hub.repos["org/hiccup"].commits) == 2


def test_somebody_elses_commit_meanwhile_is_not_overwritten(
    hub: HubServer, publisher: Client, folder: Path
) -> None:
    def interfere(repo: Repo) -> None:
        repo.add_commit("main", dict(repo.files()))

    hub.before_commit = interfere
    try:
        assert "changed during the upload" in refusal(publisher, folder, "org/raced")
    finally:
        hub.before_commit = None
    push(publisher, folder, "org/raced")


def test_an_invalid_card_stops_before_anything_is_made(
    hub: HubServer, publisher: Client, folder: Path
) -> None:
    card = folder / "README.md"
    good = card.read_text()
    for front in ("tags: [", "- a list", "license: [1]\nlibrary_name: hfsr"):
        card.write_text(f"---\n{front}\n---\n# text\n")
        refusal(publisher, folder, "org/bad-card")
    card.write_text("# no front matter\n")
    assert "no front matter" in refusal(publisher, folder, "org/bad-card")
    assert "org/bad-card" not in hub.repos
    card.write_text(good)
    push(publisher, folder, "org/bad-card")


def test_push_of_a_run(hub: HubServer, publisher: Client, tmp_path: Path) -> None:
    script = """
import hfsr, torch
from pathlib import Path
from hfsr.cli import main
run = Path(root) / "experiments" / "tiny_x2"
models = run / "models"
models.mkdir(parents=True)
torch.manual_seed(1)
latest, best = hfsr.create_model("edsr_tiny"), hfsr.create_model("edsr_tiny")
torch.save({"params": latest.state_dict()}, models / "net_g_latest.pth")
torch.save({"params": latest.state_dict(), "params_ema": best.state_dict()}, models / "net_g_best.pth")
(run / "tiny.yml").write_text('''
name: tiny_x2
scale: 2
datasets: {train: {name: Photos, type: PairedImageDataset, dataroot_gt: /home/alice/photos}}
network_g: {type: EDSR, num_feat: 8, num_block: 2}
train: {total_iter: 1000, pixel_opt: {type: L1Loss}}
''')
code = main(["push", str(run), "org/run", "--license", "mit"])
model = hfsr.from_pretrained("org/run")
result = [code, all(bool((a == b).all()) for a, b in zip(model.parameters(), best.parameters()))]
"""
    outcome = publisher.run(script, root=str(tmp_path))
    assert (outcome.error, outcome.result) == (None, [0, True]), outcome
    assert outcome.stdout.splitlines()[-1] == f"{hub.url}/org/run"
    assert outcome.stderr == ""
    card = hub.repos["org/run"].files()["README.md"].data.decode()
    assert "license: mit" in card
    assert "| option file | [tiny.yml](recipe.yml) |" in card
    recipe = hub.repos["org/run"].files()["recipe.yml"].data.decode()
    assert "dataroot_gt: photos" in recipe
    assert "| iterations | 1,000 |" in card
    assert "| degradation | MATLAB bicubic reduction by 2 |" in card
    assert "alice" not in card + recipe
    assert hub.repos["org/run"].files().keys() >= {"example.webp", "config.json", "model.safetensors"}
    again = publisher.run("result = main(['push', str(run), 'org/run'])")
    assert again.result == 0
    assert "nothing has changed" in again.stdout


def test_new_weights_of_a_run_get_a_new_card(hub: HubServer, publisher: Client, tmp_path: Path) -> None:
    """Numbers on a card belong to the weights they were measured with."""
    script = """
import hfsr, torch
from pathlib import Path
from hfsr.publishing import push_to_hub
run = Path(root)
(run / "models").mkdir(exist_ok=True)
torch.manual_seed(seed)
torch.save({"params": hfsr.create_model("edsr_tiny").state_dict()}, run / "models" / "net_g_latest.pth")
push_to_hub(run, "org/goes-on", license=license, reports=reports)
"""
    report = {"set": "Set5", "scale": 2, "images": 5, "psnr_y": 37.5, "protocol": {"crop": 2}}

    def card(seed: int, **more: object) -> str:
        publisher.ok(script, root=str(tmp_path), seed=seed, **{"license": None, "reports": [], **more})
        return hub.repos["org/goes-on"].files()["README.md"].data.decode()

    assert "37.50" in card(11, reports=[report], license="mit")
    assert "37.50" in card(11)
    changed = card(12)
    assert "37.5" not in changed
    assert "license: mit" in changed


def test_a_measured_card_is_not_replaced_by_a_poorer_one(
    hub: HubServer, publisher: Client, folder: Path
) -> None:
    report = {"set": "Set5", "scale": 2, "images": 5, "psnr_y": 37.5, "protocol": {"crop": 2}}
    script = (
        "import hfsr, torch\ntorch.manual_seed(31)\nmodel = hfsr.create_model('edsr_tiny')\n"
        "result = hfsr.push_to_hub(model, 'org/measured', reports=reports, **more)"
    )
    publisher.ok(script, reports=[report], more={})
    message = publisher.error(script, reports=[], more={})
    assert message.startswith(
        "the card of 'org/measured' on the Hub has measurements that the new one lacks (Set5 x2); measure"
    )
    assert "replace_card=True" in message
    publisher.ok(script, reports=[report, {**report, "set": "Set14"}], more={})
    publisher.ok(script, reports=[], more={"replace_card": True})
    assert "37.5" not in hub.repos["org/measured"].files()["README.md"].data.decode()


def test_the_command_asks_for_new_weights_too(hub: HubServer, publisher: Client, folder: Path) -> None:
    report = {"set": "Set5", "scale": 2, "images": 5, "psnr_y": 37.5, "protocol": {"crop": 2}}
    publisher.ok(
        "import hfsr\nmodel = hfsr.create_model('edsr_tiny')\n"
        "hfsr.push_to_hub(model, 'org/asks', reports=reports)",
        reports=[report],
    )
    argv = ["push", str(folder), "org/asks", "--no-example"]
    script = "from hfsr.cli import main\nresult = main(argv)"
    refused = publisher.run(script, argv=argv)
    assert refused.result == 1
    assert "--replace-card" in refused.stderr
    assert publisher.run(script, argv=[*argv, "--replace-card"]).result == 0


def test_files_of_other_weights_leave_the_hub(hub: HubServer, publisher: Client, folder: Path) -> None:
    publisher.ok("import hfsr\nhfsr.push_to_hub('hfsr-x2-small', 'org/stale')")
    repo = hub.repos["org/stale"]
    repo.add_commit("main", {**repo.files(), "notes.txt": repo.files()["README.md"]})
    before = set(repo.files())
    assert {"example.webp", "recipe.yml", "training_curve.png"} <= before
    commits = len(repo.commits)
    push(publisher, folder, "org/stale")
    assert len(repo.commits) == commits + 1
    assert before - set(repo.files()) == {"example.webp", "recipe.yml", "training_curve.png"}


def test_files_of_a_user_stay_on_the_hub(hub: HubServer, publisher: Client, folder: Path) -> None:
    files = {"README.md": b"# Mine\n![it](example.webp)\n", "example.webp": b"mine"}
    repo = hub.create("org/by-hand", contents=files)
    push(publisher, folder, "org/by-hand")
    assert repo.files()["example.webp"].data == b"mine"


def test_no_example_means_none(hub: HubServer, publisher: Client, tmp_path: Path) -> None:
    script = "import os\nos.chdir(root)\nfrom hfsr.cli import main\nresult = main(argv)"
    argv = ["push", "hfsr-x2-small", "org/plain", "--no-example"]
    assert publisher.run(script, argv=argv, root=str(tmp_path)).result == 0
    files = hub.repos["org/plain"].files()
    assert "example.webp" not in files
    assert "## Example" not in files["README.md"].data.decode()
    assert "Set5" in files["README.md"].data.decode()
