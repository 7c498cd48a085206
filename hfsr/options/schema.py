"""The JSON schema of option files, with which editors complete keys. `python -m hfsr.options` writes it."""

from __future__ import annotations

import json
from typing import Any

from pydantic.errors import PydanticInvalidForJsonSchema

from .binding import LOSS_KEYS, OPTIMIZER_KEYS, Kind, kinds
from .sections import DatasetOptions, TrainOptions

__all__ = ["schema_text"]

_PLACES = {
    ("TrainOptions", "network_g"): "network",
    ("TrainOptions", "network_d"): "network",
    ("TrainOptions", "datasets"): "dataset",
    ("TrainOptions", "network_dual"): "network",
    ("TrainingOptions", "scheduler"): "scheduler",
    **{("TrainingOptions", word): "optimizer" for word in OPTIMIZER_KEYS},
    **{("TrainingOptions", word): "loss" for word in LOSS_KEYS},
    ("DistillOptions", "feature_opt"): "loss",
    ("DistillOptions", "output_opt"): "loss",
    ("ValidationOptions", "metrics"): "metric",
}
"""Kind of the section under each key."""


def schema_text() -> str:
    """Returns the text of the schema file. Types of other packages are allowed with any keys."""
    schema = TrainOptions.model_json_schema(mode="validation")
    definitions = schema["$defs"]
    models = {"TrainOptions": schema, **definitions}
    for (model, word), name in _PLACES.items():
        _point(models[model]["properties"][word], name)
    for name, kind in kinds().items():
        own = definitions["DatasetOptions"]["properties"] if name == "dataset" else {}
        definitions[name] = _of_kind(kind, {key: value for key, value in own.items() if key != "type"})
    for unused in ("Typed", DatasetOptions.__name__):
        del definitions[unused]
    schema["title"] = "hfsr option file"
    return json.dumps(schema, indent=1, sort_keys=True) + "\n"


def _point(node: Any, name: str) -> None:
    """Replaces every reference to a typed section under `node` by one to its kind."""
    if isinstance(node, dict):
        if str(node.get("$ref", "")).endswith(("/Typed", f"/{DatasetOptions.__name__}")):
            node["$ref"] = f"#/$defs/{name}"
        for value in node.values():
            _point(value, name)
    elif isinstance(node, list):
        for value in node:
            _point(value, name)


def _of_kind(kind: Kind, own: dict[str, Any]) -> dict[str, Any]:
    names = [name for name in kind.items if _is_ours(kind.items[name])]
    branches = [_of_type(kind, name, own) for name in names]
    foreign = {"properties": {"type": {"not": {"enum": names}, "type": "string"}}, "required": ["type"]}
    return {"anyOf": [*branches, foreign]}


def _is_ours(item: Any) -> bool:
    """Returns True for types of hfsr and torch: the schema must not depend on registered types of BasicSR."""
    return getattr(item, "__module__", type(item).__module__).startswith(("hfsr.", "torch."))


def _of_type(kind: Kind, name: str, own: dict[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = {"type": {"const": name}, **own}
    required = ["type"]
    model = kind.arguments(name)
    if model is None:
        return {"properties": properties, "required": required}
    try:
        arguments = model.model_json_schema(mode="validation")
    except PydanticInvalidForJsonSchema:  # an argument that YAML cannot express
        arguments = {"properties": {word: {} for word in model.model_fields}}
    properties |= arguments["properties"]
    if "degradation" in properties:
        step = {"$ref": "#/$defs/degradation"}
        properties["degradation"] = {"anyOf": [step, {"items": step, "type": "array"}, {"type": "null"}]}
    if kind.title == "degradation" and "choices" in properties:
        step = {"$ref": "#/$defs/degradation"}
        properties["choices"] = {
            "items": {"anyOf": [step, {"items": step, "type": "array"}]},
            "type": "array",
        }
    if "better" not in properties and kind.title == "metric":
        properties["better"] = {"enum": ["higher", "lower"]}
    return {
        "additionalProperties": False,
        "properties": properties,
        "required": [*required, *arguments.get("required", [])],
    }
