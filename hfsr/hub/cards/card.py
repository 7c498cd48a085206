"""Model cards: purpose, training, measured results and limits of a model.

Facts about the network come from its `ArchSpec`, numbers from evaluation reports, the rest from the person
who trained or converted the weights. Nothing is guessed: the card states which facts are not recorded.
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
from .schema import CURVE, EXAMPLE, OPTION_FILE, TASKS, Example, Provenance, TrainingInfo
from .template import example_variables, render, results_variables

__all__ = ["check_card", "license_of", "linked_files", "make_card", "outdated_files", "short_name"]


def make_card(
    model: nn.Module,
    *,
    name: str,
    task: str | None = None,
    license: str | None = None,
    training: TrainingInfo | None = None,
    provenance: Provenance | None = None,
    reports: Sequence[ReportJson] = (),
    example: Example | None = None,
    curve: bool = False,
    limits: Sequence[str] = (),
) -> str:
    """Creates the card of a model.

    Args:
        model: the network, with or without its weights.
        name: name by which the model is loaded: "owner/name", a folder or a bundled name.
        task: task of the weights; the network's usual task if None.
        license: license of the weights, by its name on the Hub ("apache-2.0"); left out if None.
        training: facts about the training of the weights.
        provenance: origin of converted weights.
        reports: measurements, from `hfsr.evaluation.Report.to_json()`.
        example: the example; its image is the file `example.webp` in the folder of the card.
        curve: True if the file `training_curve.png` is in the folder of the card.
        limits: sentences in addition to those that follow from the network.

    Returns:
        The text of `README.md`: YAML front matter with the `model-index`, then Markdown.
    """
    info = inspect_model(model, task=task)
    training = training or TrainingInfo()
    results = eval_results(reports)
    fields = license_fields(license or (provenance.license if provenance else None))
    data = ModelCardData(
        library_name="hfsr",
        pipeline_tag="image-to-image",
        license=fields.get("license"),
        license_name=fields.get("license_name"),
        datasets=list(training.datasets) or None,
        base_model=training.base_model,
        tags=_tags(info),
        model_name=short_name(name) if results else None,
        eval_results=results or None,
    )
    body = render(
        name=name,
        info=info,
        restores=info.role == "restorer",
        purpose=_purpose(info),
        degradation=_degradation(training),
        constructor=_constructor(info),
        command="upscale" if info.scale != 1 else "restore",
        output=f"photo_x{info.scale:g}.png" if info.scale != 1 else "photo_restored.png",
        training_rows=training.rows(),
        curve=CURVE if curve else None,
        rounded_to=_rounded_to(model),
        provenance_rows=provenance.rows() if provenance else [],
        limits=[*_limits(info, training), *limits],
        **example_variables(example),
        **results_variables(results),
    )
    return f"---\n{data.to_yaml()}\n---\n\n{body}"


def short_name(name: str) -> str:
    """Returns the name of a model in the `model-index`: without its owner."""
    return name.rstrip("/").rsplit("/", 1)[-1]


def linked_files(card: str) -> list[str]:
    """Returns the names of the images and of the option file in the folder of a card that it shows or links.

    Such a file beside a card without a link to it belongs to other weights, or is the user's own.
    """
    return [name for name in (EXAMPLE, CURVE, OPTION_FILE) if f"]({name})" in card]


def outdated_files(earlier: str, card: str) -> list[str]:
    """Returns the names of the files that an earlier card of hfsr links and the one in its place does not."""
    try:
        is_ours = check_card(earlier).data.get("library_name") == "hfsr"
    except HubError:
        return []
    return [name for name in linked_files(earlier) if is_ours and name not in linked_files(card)]


def license_of(card: str) -> str | None:
    """Returns the license that a card states, by its own name if the Hub has none for it; None without one.

    Raises:
        HubError: the card's front matter cannot be read.
    """
    front = check_card(card).data
    license = front.get("license_name") or front.get("license")
    return str(license) if license else None


def check_card(card: str) -> ModelCard:
    """Parses a card and its front matter, as the Hub does.

    Raises:
        HubError: there is no front matter, or it cannot be parsed.
    """
    if not card.lstrip().startswith("---"):
        raise HubError(
            "the card README.md has no front matter: it must begin with '---' and 'library_name: hfsr'"
        )
    try:
        return ModelCard(card)
    except (ValueError, TypeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise HubError(f"the front matter of the card README.md is not valid: {reason}") from error


def _rounded_to(model: nn.Module) -> str | None:
    """Returns the dtypes other than float32 in which weights are stored; None if there are none."""
    dtypes = {p.dtype for p in model.parameters() if p.is_floating_point()} - {torch.float32}
    return ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in dtypes)) or None


def _tags(info: ModelInfo) -> list[str]:
    scale = [f"x{info.scale:g}"] if info.scale != 1 else []
    kind = scale if info.role == "restorer" else [info.role]
    architecture = info.architecture.lower().replace(" (spandrel)", "")
    needs = [info.extra] if info.extra else []
    return [info.task, architecture, *kind, *needs, "image-restoration"]


def _purpose(info: ModelInfo) -> str:
    if info.role != "restorer":
        return (
            f"This {info.architecture} serves training and priors ({info.role}); alone it restores nothing."
        )
    does = TASKS.get(info.task, f"is for {info.task}").format(scale=f"{info.scale:g}")
    return f"This {info.architecture} {does}."


def _degradation(training: TrainingInfo) -> str:
    if training.degradation:
        return f"It was trained to undo one degradation: {training.degradation}."
    return "Which degradation it was trained to undo is not recorded."


def _constructor(info: ModelInfo) -> str:
    given = {name: value for name, value in info.model_args.items() if name != "architecture"}
    arguments = ", ".join(f"{name}={value!r}" for name, value in given.items())
    return f"{info.architecture.partition(' ')[0]}({arguments})"


def _limits(info: ModelInfo, training: TrainingInfo) -> list[str]:
    """Limits that follow from the network and its training."""
    if info.role != "restorer":
        return []
    limits = []
    if info.tiling == "traced":
        limits.append(
            "Large images run in tiles: exactly if the network consists of convolutions that hfsr can trace, "
            "else in overlapping tiles, which is approximate and reported."
        )
    if training.degradation:
        limits.append(
            f"Images that were degraded in other ways than {training.degradation} keep those defects."
        )
    if not info.multi_scale:
        limits.append(f"It enlarges by {info.scale:g} only." if info.scale != 1 else "It keeps sizes.")
    if info.extra:
        return [*limits, "Other precisions than float32 have not been measured."]
    if not info.fp16:
        limits.append("float16 overflows in this network; use bfloat16 or float32.")
    if not info.bf16:
        limits.append("bfloat16 costs this network accuracy; use float32.")
    return limits
