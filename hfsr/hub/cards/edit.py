"""Changes to a card that is there: new numbers, another example, another name; the rest stays as it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from huggingface_hub import ModelCard

from .card import check_card, short_name
from .results import ReportJson, eval_results
from .schema import Example
from .template import example_variables, results_variables, section

__all__ = ["rename_card", "replace_example", "replace_results"]


def replace_results(card: str, reports: Sequence[ReportJson], *, name: str) -> str:
    """Puts new numbers on a card: its `model-index` and its section "Results"; the rest stays as it is.

    Raises:
        HubError: the card's front matter cannot be read.
    """
    parsed = check_card(card)
    results = eval_results(reports)
    parsed.data["eval_results"] = results
    parsed.data["model_name"] = short_name(name)
    _put_section(parsed, "results", {"name": name, **results_variables(results)})
    return f"{str(parsed).rstrip()}\n"


def replace_example(card: str, example: Example) -> str:
    """Puts another example on a card, in place of the one that is there.

    A speed on the same machine stays as it is told: it never measures the same twice.

    Raises:
        HubError: the card's front matter cannot be read.
    """
    parsed = check_card(card)
    words = example_variables(example)
    earlier = re.search(r"^Speed: (.+)\.$", parsed.text, re.MULTILINE)
    if earlier and earlier[1].partition(", on ")[2] == example.speed.partition(", on ")[2]:
        words["speed"] = earlier[1]
    _put_section(parsed, "example", words)
    return f"{str(parsed).rstrip()}\n"


def _put_section(card: ModelCard, block: str, words: dict[str, Any]) -> None:
    """Writes a section of the template over the card's; where it has none, at the template's place for it."""
    written = section(block, words)
    title = written.partition("\n")[0]
    pattern = re.compile(rf"^{title}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    if not pattern.search(card.text):
        card.text = f"{card.text.rstrip()}\n\n"
        pattern = re.compile(r"^(?=## )|\Z" if block == "example" else r"\Z", re.MULTILINE)
    card.text = pattern.sub(lambda _: written, card.text, count=1)


def rename_card(card: str, name: str) -> str:
    """The card of the same model under another name: title, snippet, command line and index."""
    match = re.search(r'from_pretrained\("([^"\n]+)"\)', card)
    if not match or match[1] == name:
        return card
    old = re.escape(match[1])
    card = card.replace(match[0], f'from_pretrained("{name}")')
    card = re.sub(rf"(?<= -m ){old}(?=[`\s])", lambda _: name, card)
    card = re.sub(
        r"^(model-index:\n- name: ).+$", lambda m: m[1] + short_name(name), card, count=1, flags=re.M
    )
    return re.sub(rf"^# {old}$", lambda _: f"# {name}", card, count=1, flags=re.MULTILINE)
