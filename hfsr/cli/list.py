"""`hfsr list`: the networks, or with --models the models that come with hfsr."""

from __future__ import annotations

import argparse
import json
from typing import Any

from hfsr.cli._table import print_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--models", action="store_true", help="models with weights that come with hfsr, instead of networks")
    add("--json", action="store_true", help="one JSON list on stdout, nothing else")


def run(args: argparse.Namespace) -> int:
    rows = _models() if args.models else _networks()
    if args.json:
        print(json.dumps(rows, indent=2))
    elif not rows:
        print("no models are bundled with this installation; 'hfsr list' names the networks")
    elif args.models:
        _print(("name", "architecture", "scale", "task", "parameters"), rows)
    else:
        _print(("name", "task", "scales", "tiling", "paper", "presets"), rows)
        print("\n'hfsr info NAME' tells more of a network, of one of its presets, or of a model.")
    return 0


def _print(columns: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    table = [{**row, "presets": _shortened(row.get("presets", []))} for row in rows]
    print_table(columns, ([_cell(row[column]) for column in columns] for row in table))


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(str(item) for item in value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def _shortened(presets: list[str]) -> list[str]:
    """`edsr_x2`, `edsr_x3` as `edsr_x{2,3}`, as a shell would write it."""
    endings: dict[str, list[str]] = {}
    for preset in presets:
        stem, mark, scale = preset.rpartition("_x")
        endings.setdefault(stem + mark, []).append(scale)
    return [
        stem + scales[0] if len(scales) == 1 else f"{stem}{{{','.join(scales)}}}"
        for stem, scales in endings.items()
    ]


def _networks() -> list[dict[str, Any]]:
    """Every registered restorer, and its presets but for the tiny one that tests use."""
    from hfsr import zoo
    from hfsr.registry import ARCHS

    specs = [spec for name in zoo.list_archs() if (spec := ARCHS.own().get(name)) and spec.role == "restorer"]
    return [
        {
            "name": spec.name,
            "task": spec.task,
            "scales": list(spec.scales),
            "tiling": spec.tiling,
            "presets": sorted(preset for preset in spec.presets if not preset.endswith("_tiny")),
            "paper": spec.paper,
            "title": spec.title,
        }
        for spec in specs
    ]


def _models() -> list[dict[str, Any]]:
    """Every bundled model, by its config; the parameters are counted on the meta device."""
    import torch

    from hfsr import _resources, zoo

    rows = []
    for name in zoo.list_models():
        folder = _resources.path("weights", name)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        with torch.device("meta"):
            model = zoo.build(config["architecture"], **config["model_args"])
        rows.append(
            {
                "name": name,
                "architecture": config["architecture"],
                "scale": config["scale"],
                "task": config["task"],
                "parameters": sum(p.numel() for p in model.parameters()),
                "folder": str(folder),
            }
        )
    return rows
