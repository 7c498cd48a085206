"""`hfsr info`: prints the properties of a network, of a preset, or of a model with weights."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfsr.cli.tables import print_pairs, print_table
from hfsr.errors import UnknownNameError, suggest

if TYPE_CHECKING:
    from torch import nn

    from hfsr.archs import ArchSpec
    from hfsr.model_info import ModelInfo


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", metavar="MODEL", help="network, preset, bundled name, Hub id, model folder or checkpoint")
    add("--json", action="store_true", help="one JSON object on stdout, nothing else")


def run(args: argparse.Namespace) -> int:
    from hfsr import model_zoo
    from hfsr.registry import ARCHS

    if args.model in ARCHS.own():
        return _network(ARCHS[args.model], args)
    if args.model in model_zoo.presets():
        return _tell({"preset": args.model}, _preset_facts(args.model), args)
    return _tell({"model": args.model}, _model_facts(args.model), args)


def _network(spec: ArchSpec, args: argparse.Namespace) -> int:
    """Prints the properties of a network and the table of its presets."""
    told: dict[str, Any] = {
        "network": spec.name,
        "title": spec.title,
        "paper": spec.paper,
        "reference": spec.reference,
        "reference_license": spec.license,
        "task": spec.task,
        "scales": list(spec.scales),
        "tiling": spec.tiling,
        "bf16": spec.bf16,
        "fp16": spec.fp16,
        "notes": list(spec.notes),
    }
    presets = {name: _preset_facts(name) for name in sorted(spec.presets)}
    if args.json:
        print(
            json.dumps(
                {**told, "presets": {name: facts.to_json() for name, facts in presets.items()}}, indent=2
            )
        )
        return 0
    print_pairs((label.replace("_", " "), _value(value)) for label, value in told.items())
    print()
    rows = (
        (name, f"x{facts.scale:g}", f"{facts.parameters:,}", _giga(facts.multiply_adds), facts.radius)
        for name, facts in presets.items()
    )
    print_table(("preset", "scale", "parameters", "mult-adds at 720p", "radius in px"), rows)
    return 0


def _tell(told: dict[str, Any], facts: ModelInfo, args: argparse.Namespace) -> int:
    """Prints the properties of one preset or model."""
    if args.json:
        print(json.dumps({**told, **facts.to_json()}, indent=2))
        return 0
    print_pairs(
        [
            *told.items(),
            ("network", facts.architecture),
            ("title", facts.title),
            ("paper", facts.paper),
            ("reference", f"{facts.reference} (license: {facts.reference_license})"),
            ("task", facts.task),
            ("scale", f"{facts.scale:g}"),
            ("parameters", f"{facts.parameters:,}"),
            *_cost(facts),
            ("tiling", f"{facts.tiling}, radius {facts.radius} px, sizes padded to {facts.size_multiple}"),
            ("precision", _precision(facts)),
            ("constructor", ", ".join(f"{name}={value!r}" for name, value in facts.model_args.items())),
        ]
    )
    return 0


def _cost(facts: ModelInfo) -> list[tuple[str, str]]:
    if facts.multiply_adds is None:
        return []
    return [("multiply-adds", f"{_giga(facts.multiply_adds)} for a 1280x720 result")]


def _preset_facts(name: str) -> ModelInfo:
    import torch

    from hfsr import model_zoo
    from hfsr.model_info import inspect_model

    with torch.device("meta"):
        return inspect_model(model_zoo.create_model(name))


def _model_facts(name: str) -> ModelInfo:
    from hfsr import _resources, hub, model_zoo
    from hfsr.model_info import inspect_model

    known = [
        *model_zoo.list_archs(),
        *model_zoo.presets(),
        *_resources.bundled_models(),
        *_resources.int8_models(),
    ]
    if name not in known and "/" not in name and not Path(name).expanduser().exists():
        raise UnknownNameError(
            f"no network, preset, bundled model, file or folder '{name}'{suggest(name, known)}"
        )
    model = hub.from_pretrained(name)
    facts = inspect_model(model)
    return _read_graph(model, facts) if facts.tiling == "traced" else facts


def _read_graph(model: nn.Module, facts: ModelInfo) -> ModelInfo:
    """Adds the tiling and the radius, which the network's graph determines."""
    from hfsr.inference.program.tracing import is_exact, trace

    if not is_exact(model):
        return dataclasses.replace(facts, tiling="windowed")
    program = trace(model)
    return dataclasses.replace(facts, tiling=program.kind, radius=program.radius())


def _precision(facts: ModelInfo) -> str:
    return ", ".join(["fp32", *(["bf16"] if facts.bf16 else []), *(["fp16"] if facts.fp16 else [])])


def _giga(count: int | None) -> str:
    return "none" if count is None else f"{count / 1e9:,.1f} G"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(str(item) for item in value) if isinstance(value, list) else str(value)
