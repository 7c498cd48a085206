"""The card of a model: what it does, how it was made, what it reaches. Nothing on it is guessed or invented.

Facts of the network come from its `ArchSpec`, numbers from evaluation reports, the rest from who trained or
converted it; what nobody told is said to be unknown.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import yaml
from huggingface_hub import ModelCard, ModelCardData
from torch import nn

from hfsr.errors import HubError
from hfsr.model_info import ModelInfo, inspect_model

from .licenses import license_fields
from .results import ReportJson, eval_results
from .schema import CURVE, TASKS, Example, Provenance, Training
from .template import example_variables, render, results_variables

__all__ = ["check_card", "make_card", "short_name"]


def make_card(
    model: nn.Module,
    *,
    name: str,
    task: str | None = None,
    license: str | None = None,
    training: Training | None = None,
    provenance: Provenance | None = None,
    reports: Sequence[ReportJson] = (),
    example: Example | None = None,
    curve: bool = False,
    limits: Sequence[str] = (),
) -> str:
    """Writes the card of a model.

    Args:
        model: the network, with or without its weights.
        name: how the model is loaded: "owner/name", a folder or a bundled name.
        task: what the weights are for; the network's usual task when None.
        license: of the weights, as the Hub spells it ("apache-2.0"); left out when None.
        training: how they were made.
        provenance: where they were taken from.
        reports: measurements, as `hfsr.evaluation.Report.to_json()` gives them.
        example: before and after; its picture lies beside the card as `example.webp`.
        curve: that of the training lies beside the card as `training_curve.png`.
        limits: sentences beside those that follow from the network.

    Returns:
        The text of `README.md`: YAML front matter with the `model-index`, then Markdown.
    """
    facts = inspect_model(model, task=task)
    training = training or Training()
    results = eval_results(reports)
    words = license_fields(license or (provenance.license if provenance else None))
    data = ModelCardData(
        library_name="hfsr",
        pipeline_tag="image-to-image",
        license=words.get("license"),
        license_name=words.get("license_name"),
        datasets=list(training.datasets) or None,
        tags=_tags(facts),
        model_name=short_name(name) if results else None,
        eval_results=results or None,
    )
    body = render(
        name=name,
        facts=facts,
        restores=facts.role == "restorer",
        purpose=_purpose(facts),
        degradation=_degradation(training),
        constructor=_constructor(facts),
        command="upscale" if facts.scale != 1 else "restore",
        output=f"photo_x{facts.scale:g}.png" if facts.scale != 1 else "photo_restored.png",
        training_rows=training.rows(),
        curve=CURVE if curve else None,
        rounded_to=_rounded_to(model),
        provenance_rows=provenance.rows() if provenance else [],
        limits=[*_limits(facts, training), *limits],
        **example_variables(example),
        **results_variables(results),
    )
    return f"---\n{data.to_yaml()}\n---\n\n{body}"


def short_name(name: str) -> str:
    """What the index of a card calls a model: its name without the owner's."""
    return name.rstrip("/").rsplit("/", 1)[-1]


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


def _rounded_to(model: nn.Module) -> str | None:
    """The type that the weights were narrowed to; checkpoints come in float32."""
    dtypes = {p.dtype for p in model.parameters() if p.is_floating_point()} - {torch.float32}
    return ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in dtypes)) or None


def _tags(facts: ModelInfo) -> list[str]:
    scale = [f"x{facts.scale:g}"] if facts.scale != 1 else []
    kind = scale if facts.role == "restorer" else [facts.role]
    return [facts.task, facts.architecture.lower(), *kind, "image-restoration"]


def _purpose(facts: ModelInfo) -> str:
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


def _constructor(facts: ModelInfo) -> str:
    words = ", ".join(f"{name}={value!r}" for name, value in facts.model_args.items())
    return f"{facts.architecture}({words})"


def _limits(facts: ModelInfo, training: Training) -> list[str]:
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
