"""Models that are saved or pushed again: what was loaded unchanged keeps its card."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import hfsr
from hfsr.hub.cards.card import check_card
from hfsr.hub.cards.results import reports_from_card
from hfsr.hub.download.resolve import task_in
from hfsr.hub.model_folder import published_files
from hfsr.hub.model_origin import bundled_card, option_file_of
from hfsr.model_zoo import create_model

from .client import Client
from .server import HubServer


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return hfsr.save_pretrained(hfsr.from_pretrained("hfsr-x2-small"), tmp_path / "copy")


def test_an_unchanged_model_keeps_its_card(copy: Path) -> None:
    card = (copy / "README.md").read_text()
    original = bundled_card("hfsr-x2-small")
    assert original is not None
    assert reports_from_card(card) == reports_from_card(original.text) != []
    assert check_card(card).data.license == "apache-2.0"
    assert f'from_pretrained("{copy}")' in card
    assert "| iterations |" in card
    assert {name: (copy / name).read_bytes() for name in original.files} == dict(original.files)
    assert set(original.files) <= set(published_files(copy))


def test_a_copy_of_a_copy_keeps_it_too(copy: Path, tmp_path: Path) -> None:
    again = hfsr.save_pretrained(hfsr.from_pretrained(copy), tmp_path / "again")
    assert reports_from_card((again / "README.md").read_text()) == reports_from_card(
        (copy / "README.md").read_text()
    )
    assert (again / "recipe.yml").is_file()


def test_a_model_that_changed_loses_its_results_and_says_what_it_started_from(tmp_path: Path) -> None:
    model = hfsr.from_pretrained("hfsr-x2-small")
    with torch.no_grad():
        next(model.parameters()).add_(1e-3)
    card = (hfsr.save_pretrained(model, tmp_path / "changed") / "README.md").read_text()
    assert reports_from_card(card) == []
    assert "| started from | `hfsr-x2-small` |" in card
    assert check_card(card).data.license == "apache-2.0"
    assert not (tmp_path / "changed" / "example.webp").exists()


def test_weights_of_another_dtype_are_others(tmp_path: Path) -> None:
    model = hfsr.from_pretrained("hfsr-x2-small", dtype=torch.float16)
    assert reports_from_card((hfsr.save_pretrained(model, tmp_path) / "README.md").read_text()) == []


def test_the_task_is_kept(tmp_path: Path) -> None:
    hfsr.save_pretrained(hfsr.from_pretrained("hfsr-denoise"), tmp_path / "copy")
    assert task_in(tmp_path / "copy") == "denoising"


def test_the_option_file_of_other_weights_does_not_count(tmp_path: Path) -> None:
    folder = tmp_path / "over"
    hfsr.save_pretrained(hfsr.from_pretrained("hfsr-x2-small"), folder)
    (folder / "notes.txt").write_text("my own")
    assert option_file_of(str(folder)) is not None
    hfsr.save_pretrained(create_model("edsr_tiny"), folder)
    assert published_files(folder) == ["config.json", "README.md", "model.safetensors"]
    assert option_file_of(str(folder)) is None
    assert (folder / "recipe.yml").is_file()  # nothing of a user's folder is deleted


def test_files_of_a_user_stay(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# Mine\n![it](example.webp), [how](recipe.yml)\n")
    for name in ("example.webp", "recipe.yml"):
        (tmp_path / name).write_text("scale: 2\n")
    hfsr.save_pretrained(create_model("edsr_tiny"), tmp_path)
    assert (tmp_path / "example.webp").is_file()
    assert (tmp_path / "recipe.yml").is_file()
    # Nothing says that they belong to these weights, so they neither are published nor decide anything.
    assert published_files(tmp_path) == ["config.json", "README.md", "model.safetensors"]
    assert option_file_of(str(tmp_path)) is None


def test_a_card_that_is_given_comes_first(tmp_path: Path) -> None:
    card = "---\nlicense: mit\n---\n# mine\n"
    hfsr.save_pretrained(hfsr.from_pretrained("hfsr-x2-small"), tmp_path / "copy", card=card)
    assert (tmp_path / "copy" / "README.md").read_text() == card


def test_a_new_network_has_a_new_card(tmp_path: Path) -> None:
    card = (hfsr.save_pretrained(create_model("edsr_tiny"), tmp_path) / "README.md").read_text()
    assert "How these weights were trained is not recorded." in card


def test_a_model_of_the_hub_keeps_its_card(hub: HubServer, publisher: Client, tmp_path: Path) -> None:
    publisher.ok("import hfsr\nresult = hfsr.push_to_hub('hfsr-x2-small', 'org/original')")
    card = publisher.ok(
        """
import json
from pathlib import Path
model = hfsr.from_pretrained("org/original")
hfsr.push_to_hub(model, "org/copied")
hfsr.save_pretrained(model, root + "/copy")
result = Path(root, "copy", "README.md").read_text()
""",
        root=str(tmp_path),
    )
    assert reports_from_card(card) != []
    files = hub.repos["org/copied"].files()
    assert reports_from_card(files["README.md"].data.decode()) == reports_from_card(card)
    assert {"example.webp", "recipe.yml", "training_curve.png"} <= files.keys()
    changed = publisher.ok(
        """
import torch
with torch.no_grad():
    next(model.parameters()).add_(1e-3)
hfsr.save_pretrained(model, root + "/changed")
result = Path(root, "changed", "README.md").read_text()
""",
        root=str(tmp_path),
    )
    assert check_card(changed).data.base_model == "org/original"
    assert "| started from | [org/original](https://huggingface.co/org/original) |" in changed


SAVE = """
import hfsr
import json
from pathlib import Path
hfsr.save_pretrained(hfsr.from_pretrained(repo, **more), root)
result = [Path(root, "README.md").read_text(), Path(root, "config.json").read_text()]
"""


@pytest.mark.parametrize("with_cache_dir", [False, True])
def test_a_private_model_that_was_loaded_with_a_token_keeps_its_card(
    hub: HubServer, publisher: Client, stranger: Client, tmp_path: Path, with_cache_dir: bool
) -> None:
    repo = f"org/priv-{with_cache_dir}"
    publisher.ok("import hfsr\nhfsr.push_to_hub('hfsr-x2-small', repo, private=True)", repo=repo)
    more = {"token": "hf_publisher"} | ({"cache_dir": str(tmp_path / "cache")} if with_cache_dir else {})
    card, _ = stranger.ok(SAVE, repo=repo, more=more, root=str(tmp_path / "saved"))
    assert reports_from_card(card) != []
    assert check_card(card).data.license == "apache-2.0"
    assert (tmp_path / "saved" / "recipe.yml").is_file()
    for path in (tmp_path / "saved").iterdir():
        assert b"hf_publisher" not in path.read_bytes()


def test_a_card_that_cannot_be_read_is_a_warning(
    hub: HubServer, publisher: Client, stranger: Client, tmp_path: Path
) -> None:
    publisher.ok("import hfsr\nhfsr.push_to_hub('hfsr-x2-small', 'org/no-card-now')")
    recorded = "with warnings.catch_warnings(record=True) as told:"
    recorded += '\n    warnings.simplefilter("default")' + SAVE.replace("\n", "\n    ")
    script = f"import warnings\n{recorded}\nresult = [str(one.message) for one in told]"
    with hub.fault("*", "README.md", "500"):
        told = stranger.ok(script, repo="org/no-card-now", more={}, root=str(tmp_path / "saved"))
    assert len(told) == 1
    assert told[0].startswith("the card of 'org/no-card-now' could not be read, so the new card has neither")


def test_the_task_of_a_revision_and_of_another_cache_is_kept(
    hub: HubServer, publisher: Client, stranger: Client, tmp_path: Path
) -> None:
    publisher.ok("import hfsr\nhfsr.push_to_hub('hfsr-denoise', 'org/dn', revision='v1')")
    for name, more in (("a", {}), ("b", {"cache_dir": str(tmp_path / "cache")})):
        _, config = stranger.ok(
            SAVE, repo="org/dn", more={"revision": "v1", **more}, root=str(tmp_path / name)
        )
        assert json.loads(config)["task"] == "denoising"


def test_a_token_and_a_forced_download(hub: HubServer, publisher: Client, stranger: Client) -> None:
    publisher.ok(
        "import hfsr\nresult = hfsr.push_to_hub(hfsr.create_model('edsr_tiny'), 'org/secret', private=True)"
    )
    load = "import hfsr\nresult = type(hfsr.from_pretrained('org/secret', **more)).__name__"
    assert "private" in stranger.error(load, more={})
    token = next(name for name, user in hub.users.items() if "org" in str(vars(user)))
    assert stranger.ok(load, more={"token": token}) == "EDSR"
    with hub.recorded() as calls:
        assert stranger.ok(load, more={"token": token, "force_download": True}) == "EDSR"
    assert any(call.method == "GET" and "/objects/" in call.path for call in calls)
    assert "leave one out" in stranger.error(load, more={"force_download": True, "local_files_only": True})
