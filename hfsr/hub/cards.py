"""The card of a model: what it does, how it was made, what it reaches. Nothing on it is guessed or invented.

Facts of the network come from its `ArchSpec`, numbers from evaluation reports, the rest from who trained or
converted it; what nobody told is said to be unknown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
import yaml
from huggingface_hub import ModelCard, ModelCardData
from torch import nn

from hfsr.errors import HubError

from .facts import ModelFacts, facts_of
from .licences import licence_words
from .results import ReportJson, columns_of, eval_results, protocol_sentences, table

__all__ = [
    "EXAMPLE",
    "Example",
    "Provenance",
    "Training",
    "check_card",
    "make_card",
    "with_example",
    "with_name",
    "with_results",
]

TASKS = {
    "super-resolution": "enlarges pictures {scale} times in width and height",
    "denoising": "removes noise from pictures",
    "enhancement": "corrects the light and the colours of pictures",
}
EXAMPLE = "example.webp"
"""The file beside a card that shows before and after."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """How the weights were made, as far as it is known; each word is shown as it stands."""

    degradation: str | None = None
    """What the network learned to undo, as "MATLAB bicubic reduction by 2"."""
    data: str | None = None
    """The pictures, as "DIV2K, 800 pictures"."""
    data_licence: str | None = None
    datasets: tuple[str, ...] = ()
    """Ids of data sets on the Hub, for the card's front matter."""
    recipe: str | None = None
    """The option file, as "options/rcan_x4.yml"."""
    iterations: int | None = None
    loss: str | None = None
    interpolation: str | None = None
    """What the weights were mixed of, as "0.2 × `a` + 0.8 × `b`"."""
    machine: str | None = None
    """What it was trained on and for how long."""

    def rows(self) -> list[tuple[str, str]]:
        """Label and value of everything that is known."""
        told = {
            "degradation": self.degradation,
            "data": self.data,
            "licence of the data": self.data_licence,
            "option file": f"`{self.recipe}`" if self.recipe else None,
            "iterations": f"{self.iterations:,}" if self.iterations else None,
            "loss": self.loss,
            "interpolated": self.interpolation,
            "machine and time": self.machine,
        }
        return [(label, value) for label, value in told.items() if value]


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where converted weights come from."""

    source: str
    """File or address."""
    sha256: str
    licence: str | None = None
    """The licence that their author gave them; None when none is stated."""

    def rows(self) -> list[tuple[str, str]]:
        """Label and value, for the card."""
        return [
            ("source", f"`{self.source}`"),
            ("SHA-256", f"`{self.sha256}`"),
            (
                "licence of the weights",
                self.licence or "none stated: ask their author before you pass them on",
            ),
        ]


@dataclass(frozen=True, kw_only=True)
class Example:
    """Before and after, for people, and how long it takes."""

    picture: bytes
    """A WebP file: crops at full size, side by side."""
    words: str
    """What its parts are, from left to right."""
    speed: str
    """Seconds, for what, on which machine."""


def make_card(
    model: nn.Module,
    *,
    name: str,
    task: str | None = None,
    licence: str | None = None,
    training: Training | None = None,
    provenance: Provenance | None = None,
    reports: Sequence[ReportJson] = (),
    example: Example | None = None,
    limits: Sequence[str] = (),
) -> str:
    """Writes the card of a model.

    Args:
        model: the network, with or without its weights.
        name: how the model is loaded: "owner/name", a folder or a bundled name.
        task: what the weights are for; the network's usual task when None.
        licence: of the weights, as the Hub spells it ("apache-2.0"); left out when None.
        training: how they were made.
        provenance: where they were taken from.
        reports: measurements, as `hfsr.evaluation.Report.to_json()` gives them.
        example: before and after; its picture lies beside the card as `example.webp`.
        limits: sentences beside those that follow from the network.

    Returns:
        The text of `README.md`: YAML front matter with the `model-index`, then Markdown.
    """
    facts = facts_of(model, task=task)
    training = training or Training()
    results = eval_results(reports)
    words = licence_words(licence or (provenance.licence if provenance else None))
    data = ModelCardData(
        library_name="hfsr",
        pipeline_tag="image-to-image",
        license=words.get("license"),
        license_name=words.get("license_name"),
        datasets=list(training.datasets) or None,
        tags=_tags(facts),
        model_name=name.rstrip("/").rsplit("/", 1)[-1] if results else None,
        eval_results=results or None,
    )
    body = _template().render(
        name=name,
        facts=facts,
        restores=facts.role == "restorer",
        purpose=_purpose(facts),
        degradation=_degradation(training),
        constructor=_constructor(facts),
        output=f"photo_x{facts.scale:g}.png" if facts.scale > 1 else "photo_restored.png",
        training_rows=training.rows(),
        provenance_rows=provenance.rows() if provenance else [],
        limits=[*_limits(facts, training), *limits],
        **_example_words(example),
        **_results_words(results),
    )
    return f"---\n{data.to_yaml()}\n---\n\n{body}"


def with_results(card: str, reports: Sequence[ReportJson], *, name: str) -> str:
    """Puts new numbers on a card: its `model-index` and its section "Results"; the rest stays as it is.

    Raises:
        HubError: the card's front matter cannot be read.
    """
    parsed = check_card(card)
    results = eval_results(reports)
    parsed.data["eval_results"] = results
    parsed.data["model_name"] = name.rsplit("/", 1)[-1]
    _put_section(parsed, "results", {"name": name, **_results_words(results)})
    return f"{str(parsed).rstrip()}\n"


def with_example(card: str, example: Example) -> str:
    """Puts another example on a card, in place of the one that is there.

    A speed on the same machine stays as it is told: it never measures the same twice.

    Raises:
        HubError: the card's front matter cannot be read.
    """
    parsed = check_card(card)
    words = _example_words(example)
    earlier = re.search(r"^Speed: (.+)\.$", parsed.text, re.MULTILINE)
    if earlier and earlier[1].partition(", on ")[2] == example.speed.partition(", on ")[2]:
        words["speed"] = earlier[1]
    _put_section(parsed, "example", words)
    return f"{str(parsed).rstrip()}\n"


def _put_section(card: ModelCard, block: str, words: dict[str, Any]) -> None:
    """Writes a section of the template over the card's; where it has none, at the template's place for it."""
    template = _template()
    section = "".join(template.blocks[block](template.new_context(words))).strip() + "\n\n"
    title = section.partition("\n")[0]
    pattern = re.compile(rf"^{title}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    if not pattern.search(card.text):
        card.text = f"{card.text.rstrip()}\n\n"
        pattern = re.compile(r"^(?=## )|\Z" if block == "example" else r"\Z", re.MULTILINE)
    card.text = pattern.sub(lambda _: section, card.text, count=1)


def with_name(card: str, name: str) -> str:
    """The card of the same model under another name: title, snippet and command line."""
    match = re.search(r'from_pretrained\("([^"\n]+)"\)', card)
    if not match or match[1] == name:
        return card
    old = re.escape(match[1])
    card = card.replace(match[0], f'from_pretrained("{name}")')
    card = re.sub(rf"(?<= -m ){old}(?=[`\s])", lambda _: name, card)
    return re.sub(rf"^# {old}$", lambda _: f"# {name}", card, count=1, flags=re.MULTILINE)


def check_card(card: str) -> ModelCard:
    """Reads a card's front matter, as the Hub will.

    Raises:
        HubError: there is none, or it cannot be read.
    """
    if not card.lstrip().startswith("---"):
        raise HubError(
            "the card README.md has no front matter: it must begin with '---' and 'library_name: hfsr'"
        )
    try:
        return ModelCard(card)
    except (ValueError, TypeError, yaml.YAMLError) as error:
        told = " ".join(str(error).split())
        raise HubError(f"the front matter of the card README.md is not valid: {told}") from error


@lru_cache(maxsize=1)
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # the result is Markdown
    )
    return environment.get_template("card.md.jinja")


def _example_words(example: Example | None) -> dict[str, Any]:
    if example is None:
        return {"example": None}
    return {"example": EXAMPLE, "words": example.words, "speed": example.speed}


def _results_words(results: Sequence[Any]) -> dict[str, Any]:
    return {"rows": table(results), "columns": columns_of(results), "protocols": protocol_sentences(results)}


def _tags(facts: ModelFacts) -> list[str]:
    scale = [f"x{facts.scale:g}"] if facts.role == "restorer" else [facts.role]
    return [facts.task, facts.architecture.lower(), *scale, "image-restoration"]


def _purpose(facts: ModelFacts) -> str:
    if facts.role != "restorer":
        return (
            f"This {facts.architecture} serves training and priors ({facts.role}); alone it restores nothing."
        )
    does = TASKS.get(facts.task, f"is for {facts.task}").format(scale=f"{facts.scale:g}")
    return f"This {facts.architecture} {does}."


def _degradation(training: Training) -> str:
    if training.degradation:
        return f"It was trained to undo one degradation: {training.degradation}."
    return "Which degradation it was trained to undo is not recorded."


def _constructor(facts: ModelFacts) -> str:
    words = ", ".join(f"{name}={value!r}" for name, value in facts.model_args.items())
    return f"{facts.architecture}({words})"


def _limits(facts: ModelFacts, training: Training) -> list[str]:
    """What follows from the network and its training; no opinion about quality."""
    if facts.role != "restorer":
        return []
    limits = []
    if training.degradation:
        limits.append(
            f"Pictures that were degraded in other ways than {training.degradation} keep those faults."
        )
    if not facts.multi_scale:
        limits.append(
            f"It enlarges by {facts.scale:g} and by nothing else." if facts.scale != 1 else "It keeps sizes."
        )
    if not facts.fp16:
        limits.append("float16 overflows in this network; use bfloat16 or float32.")
    if not facts.bf16:
        limits.append("bfloat16 costs this network accuracy; use float32.")
    return limits
