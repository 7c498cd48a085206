"""`hfsr list`: lists the networks, or with --models the bundled models."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from hfsr.cli.tables import print_table

if TYPE_CHECKING:
    from torch import nn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--models", action="store_true", help="list the bundled models with weights instead of the networks")
    add("--json", action="store_true", help="one JSON list on stdout, nothing else")


def run(args: argparse.Namespace) -> int:
    rows = _models() if args.models else _networks()
    if args.json:
        print(json.dumps(rows, indent=2))
    elif not rows:
        print("no models are bundled with this installation; 'hfsr list' lists the networks")
    elif args.models:
        _print_models(rows)
    else:
        _print(("name", "task", "scales", "tiling", "paper", "presets"), rows)
        print("\n'hfsr info NAME' shows more about a network, one of its presets, or a model.")
    return 0


def _print(columns: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    table = [{**row, "presets": _shortened(row.get("presets", []))} for row in rows]
    print_table(columns, ([_cell(row[column]) for column in columns] for row in table))


def _print_models(rows: list[dict[str, Any]]) -> None:
    header = ("name", "task", "architecture", "scale", "parameters", "MB", "s per Mpx here", "PSNR-Y, dB")
    print_table(
        header,
        (
            (
                row["name"],
                row["task"],
                row["architecture"],
                row["scale"],
                f"{row['parameters']:,}",
                f"{row['bytes'] / 1e6:.1f}",
                f"{row['seconds_per_megapixel']:.2f}",
                ", ".join(f"{name} {psnr:.2f}" for name, psnr in row["psnr_y"].items()) or "not measured",
            )
            for row in rows
        ),
    )


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(str(item) for item in value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def _shortened(presets: list[str]) -> list[str]:
    """Abbreviates `edsr_x2`, `edsr_x3` as `edsr_x{2,3}`, like brace expansion in a shell."""
    endings: dict[str, list[str]] = {}
    for preset in presets:
        stem, mark, scale = preset.rpartition("_x")
        endings.setdefault(stem + mark, []).append(scale)
    return [
        stem + scales[0] if len(scales) == 1 else f"{stem}{{{','.join(scales)}}}"
        for stem, scales in endings.items()
    ]


def _networks() -> list[dict[str, Any]]:
    """Lists every registered restorer with its presets, except the tiny presets for tests."""
    from hfsr import model_zoo
    from hfsr.registry import ARCHS

    specs = [
        spec for name in model_zoo.list_archs() if (spec := ARCHS.own().get(name)) and spec.role == "restorer"
    ]
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
    """Lists every bundled model: its config, the results on its card, and its speed on this machine."""
    from hfsr import model_zoo

    return [_model(name) for name in model_zoo.list_models()]


def _model(name: str) -> dict[str, Any]:
    from hfsr import _resources
    from hfsr.checkpoints import read_model_folder

    folder = _resources.path("weights", name)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    model = read_model_folder(folder)
    return {
        "name": name,
        "architecture": config["architecture"],
        "scale": config["scale"],
        "task": config["task"],
        "parameters": sum(p.numel() for p in model.parameters()),
        "bytes": sum(file.stat().st_size for file in folder.iterdir() if file.is_file()),
        "psnr_y": _measured(name),
        "seconds_per_megapixel": _speed(model),
        "folder": str(folder),
    }


def _measured(name: str) -> dict[str, float]:
    """Returns PSNR-Y in dB from the card, by set (and setting, if the scale is 1)."""
    from hfsr import _resources
    from hfsr.hub.cards.results import reports_from_card, setting_name

    card = _resources.folder("model_cards") / f"{name}.md"
    if not card.is_file():
        return {}  # a folder without a card
    reports = reports_from_card(card.read_text(encoding="utf-8"))
    return {
        report["set"] if report["scale"] > 1 else f"{report['set']} {setting_name(report)}": report["psnr_y"]
        for report in reports
    }


def _speed(model: nn.Module) -> float:
    """Returns seconds per megapixel of the result on this machine, with the default settings of `upscale`."""
    from hfsr.evaluation import measure_seconds
    from hfsr.inference import Upscaler

    up = Upscaler(model)
    side = round(max(64, round(512 / up.scale)) * up.scale)
    seconds = measure_seconds(up.tensor, scale=up.scale, width=side, height=side)
    return round(seconds * 1e6 / side**2, 3)
