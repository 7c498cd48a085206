"""Edits of an existing card: results, example, license and name; everything else is kept."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from typing import Any

from huggingface_hub import ModelCard

from .card import check_card, short_name
from .licenses import license_fields
from .redaction import quoted
from .results import ReportJson, eval_results
from .schema import Example
from .template import example_variables, one_line, python_string, render_section, results_variables

__all__ = ["remove_example", "rename_card", "replace_example", "replace_license", "replace_results"]


def replace_results(card: str, reports: Sequence[ReportJson], *, name: str) -> str:
    """Replaces the measurements of a card: its `model-index` and its section "Results".

    Raises:
        HubError: the card's front matter cannot be read.
    """
    parsed = check_card(card)
    results = eval_results(reports)
    parsed.data["eval_results"] = results
    parsed.data["model_name"] = short_name(name)
    _replace_section(parsed, "results", {"name": name, **results_variables(results)})
    return f"{str(parsed).rstrip()}\n"


def replace_example(card: str, example: Example) -> str:
    """Replaces the example of a card.

    A speed that was measured on the same machine is kept, because every measurement varies slightly.

    Raises:
        HubError: the card's front matter cannot be read.
    """
    parsed = check_card(card)
    variables = example_variables(example)
    earlier = re.search(r"^Speed: (.+)\.$", parsed.text, re.MULTILINE)
    if earlier and earlier[1].partition(", on ")[2] == example.speed.partition(", on ")[2]:
        variables["speed"] = earlier[1]
    _replace_section(parsed, "example", variables)
    return f"{str(parsed).rstrip()}\n"


def remove_example(card: str) -> str:
    """Removes the example of a card with its speed.

    Raises:
        HubError: the card's front matter cannot be read.
    """
    parsed = check_card(card)
    parsed.text = re.sub(r"^## Example\n.*?(?=^## |\Z)", "", parsed.text, count=1, flags=re.M | re.S)
    return f"{str(parsed).rstrip()}\n"


def replace_license(card: str, license: str) -> str:
    """Replaces the license of a card.

    Raises:
        HubError: the card's front matter cannot be read.
    """
    parsed = check_card(card)
    fields = license_fields(license)
    parsed.data["license"] = fields["license"]
    if "license_name" in fields:
        parsed.data["license_name"] = fields["license_name"]
    elif parsed.data.get("license_name") is not None:
        parsed.data["license_name"] = None
    return f"{str(parsed).rstrip()}\n"


def _replace_section(card: ModelCard, block: str, variables: dict[str, Any]) -> None:
    """Replaces a section of a card, or inserts it at its position in the template if the card has none."""
    text = render_section(block, variables)
    title = text.partition("\n")[0]
    pattern = re.compile(rf"^{title}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    if not pattern.search(card.text):
        card.text = f"{card.text.rstrip()}\n\n"
        pattern = re.compile(r"^(?=## )|\Z" if block == "example" else r"\Z", re.MULTILINE)
    card.text = pattern.sub(lambda _: text, card.text, count=1)


def rename_card(card: str, name: str) -> str:
    """Replaces the name of the model in title, snippet, command line and `model-index`."""
    match = re.search(r'from_pretrained\("((?:[^"\\\n]|\\.)+)"\)', card)
    if not match:
        return card
    try:
        old = str(json.loads(f'"{match[1]}"'))
    except ValueError:  # written by hand, with a backslash
        old = match[1]
    if old == name:
        return card
    card = card.replace(match[0], f"from_pretrained({python_string(name)})")
    in_shell = "|".join(re.escape(text) for text in _written(shlex.quote(old), old))
    card = re.sub(rf"(?<= -m )(?:{in_shell})(?=[`\s])", lambda _: shlex.quote(name), card)
    front_name = quoted(short_name(name))
    card = re.sub(r"^(model-index:\n- name: ).+$", lambda m: m[1] + front_name, card, count=1, flags=re.M)
    title = "|".join(re.escape(text) for text in _written(one_line(old)))
    return re.sub(rf"^# (?:{title})$", lambda _: f"# {one_line(name)}", card, count=1, flags=re.MULTILINE)


def _written(*texts: str) -> list[str]:
    """Returns the forms of texts on a card: themselves, and with escapes for bytes that are not UTF-8."""
    return [form for text in texts for form in (text, text.encode(errors="backslashreplace").decode())]
