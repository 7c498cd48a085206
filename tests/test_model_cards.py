"""Every bundled model has a card, and every card is true of its weights, its option file and its table."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from hfsr import _resources
from hfsr.checkpoints import read_model_folder
from hfsr.hub.cards.card import check_card
from hfsr.hub.cards.results import eval_results, reports_from_card
from hfsr.hub.cards.schema import Example
from hfsr.model_info import inspect_model

CARDS = sorted(_resources.folder("model_cards").glob("*.md"))


def test_models_and_cards_go_together() -> None:
    assert sorted(path.stem for path in CARDS) == sorted(_resources.bundled_models())


def test_what_is_bundled_stays_small() -> None:
    files = [path for path in _resources.folder("weights").rglob("*") if path.is_file()]
    assert 0 < sum(path.stat().st_size for path in files) <= 12e6


@pytest.fixture(params=CARDS, ids=lambda path: path.stem)
def card(request: pytest.FixtureRequest) -> Path:
    return request.param


def front_matter(card: Path) -> dict[str, Any]:
    return yaml.safe_load(card.read_text().split("---\n")[1])


def test_front_matter(card: Path) -> None:
    check_card(card.read_text())
    data = front_matter(card)
    assert data["library_name"] == "hfsr"
    assert data["pipeline_tag"] == "image-to-image"
    assert data["license"]


def test_it_describes_its_weights(card: Path) -> None:
    facts = inspect_model(read_model_folder(_resources.path("weights", card.stem)))
    text = card.read_text()
    assert f"| parameters | {facts.parameters:,} |" in text
    assert f"| multiply-adds for a 1280x720 result | {facts.multiply_adds / 1e9:.1f} G |" in text
    assert f"[{facts.title}]({facts.paper})" in text
    assert f'from_pretrained("{card.stem}")' in text


def test_it_names_its_option_file(card: Path) -> None:
    match = re.search(r"\| option file \| \[options/([\w.-]+)\]\((.+?)\) \|", card.read_text())
    assert match, "a card links its recipe"
    option_file = _resources.path("options", match[1])
    assert (card.parent / match[2]).resolve() == option_file.resolve()
    options = yaml.safe_load(option_file.read_text())
    model = read_model_folder(_resources.path("weights", card.stem))
    assert options["network_g"].pop("type") == type(model).__name__
    assert options["network_g"].items() <= model.model_args.items()
    assert options["scale"] == model.scale


def test_it_shows_before_and_after(card: Path) -> None:
    assert f"]({card.stem}.webp)" in card.read_text()
    with Image.open(card.with_suffix(".webp")) as image:
        assert image.format == "WEBP"
    assert re.search(
        r"^Speed: [\d.]+ s for a result of 1280x720 px in fp32, on .+\.$", card.read_text(), re.M
    )


def test_it_shows_the_course_of_its_training(card: Path) -> None:
    assert f"]({card.stem}.png)" in card.read_text()
    with Image.open(card.with_suffix(".png")) as image:
        assert image.format == "PNG"


def test_its_snippet_runs_as_printed(card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (16, 12), (200, 100, 50)).save("photo.png")
    snippet = re.search(r"```python\n(.*?)```", card.read_text(), re.DOTALL)
    assert snippet
    exec(snippet[1], {})
    [written] = (path for path in tmp_path.iterdir() if path.name != "photo.png")
    assert written.name in snippet[1]


def test_the_table_is_the_index(card: Path) -> None:
    results = check_card(card.read_text()).data["eval_results"]
    assert results, "a published model has been measured"
    for result in results:
        assert result.metric_args["crop"] >= 0
        assert result.metric_args["dtype"]
        if result.metric_name == "PSNR (Y)":
            start = f"| {result.dataset_name} | {result.dataset_config} |"
            [row] = (line for line in card.read_text().splitlines() if line.startswith(start))
            assert f"| {result.metric_value:.2f} |" in row
            is_better = result.metric_value > result.metric_args["baseline_psnr_y"]
            # A card says among its limits where its model does harm.
            assert is_better or re.search(
                r"^## Limits\n(?:.*\n)*?- .*\blose\b", card.read_text(), re.MULTILINE
            )


def test_the_script_makes_the_same_card(card: Path) -> None:
    """The text of every card is what `model_cards/make.py` writes for its measurements."""
    text = card.read_text()
    example = re.search(r"!\[(.+)\]\(.+\.webp\)\n\n.+\n\nSpeed: (.+)\.\n", text)
    machine = re.search(r"\| machine and time \| (.+) \|", text)
    assert example
    assert machine
    make = runpy.run_path(str(card.parent / "make.py"))
    made = make["card_text"](
        card.stem,
        read_model_folder(_resources.path("weights", card.stem)),
        reports=reports_from_card(text),
        example=Example(image=b"", caption=example[1], speed=example[2]),
        machine=machine[1],
    )
    assert made == text


def test_measures_have_the_names_that_cards_use() -> None:
    """What the tests above look for is what the code writes, also while no card is there yet."""
    report = {
        "set": "S",
        "scale": 2,
        "images": 1,
        "psnr_y": 1.0,
        "bicubic_psnr_y": 0.5,
        "protocol": {"crop": 2},
    }
    [result] = eval_results([report])
    assert result.metric_name == "PSNR (Y)"
    assert result.metric_args == {"crop": 2, "baseline_psnr_y": 0.5}


def test_the_readme_says_what_the_cards_say() -> None:
    root = _resources.folder("model_cards").parent
    readme = (root / "README.md").read_text()
    script = runpy.run_path(str(root / "model_cards" / "readme.py"))
    for name in _resources.bundled_models():
        assert f"| [`{name}`](model_cards/{name}.md) |" in readme
    assert script["with_table"](readme) == readme
    assert script["with_table"](readme.replace("37.", "99.")) == readme
