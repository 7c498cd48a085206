"""Tables of the documentation that are generated from the code, so that they cannot fall behind it.

A page names a table by a line of its own, `<!-- generated: NAME -->`; it is replaced when the page is read.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from hfsr import _resources

__all__ = ["TABLES", "connect", "expand"]

_MARK = re.compile(r"^<!-- generated: ([a-z-]+) -->$", re.MULTILINE)


def connect(app: Any) -> None:
    """Expands the marks of every page that Sphinx reads."""

    def on_source_read(_app: Any, _page: str, source: list[str]) -> None:
        source[0] = expand(source[0])

    app.connect("source-read", on_source_read)


def expand(text: str) -> str:
    """Replaces each mark by its table.

    Raises:
        KeyError: no table has that name.
    """
    return _MARK.sub(lambda mark: TABLES[mark[1]](), text)


def _row(*cells: object) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _table(header: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    return "\n".join([_row(*header), _row(*["---"] * len(header)), *(_row(*row) for row in rows)])


# Option files of other programs


def dialects() -> str:
    """Names of other programs in option files, with what they become."""
    from hfsr.options import dialects as known

    rows = [(f"`model_type: {name}`", f"`model_type: {ours}`") for name, ours in known.MODEL_TYPES.items()]
    rows += [(f"data set `{name}`", f"`{ours}`") for name, ours in known.DATASET_TYPES.items()]
    rows += [(f"`{'.'.join(place)}`", f"`{name}`") for place, name in known.RENAMED.items()]
    rows += [
        (f"`{'.'.join(place)}`", f"no effect: {ignored.reason}")
        for place, ignored in known.WITHOUT_EFFECT.items()
    ]
    return _table(("there", "here"), rows)


# Commands, from their parsers


def commands() -> str:
    """Every command with its options; another name of a command has none of its own."""
    from hfsr.cli import COMMANDS

    parts, first = [], {}
    for name, (module, summary) in COMMANDS.items():
        if module in first:
            parts.append(f"## hfsr {name}\n\n{summary[:1].upper()}{summary[1:]}: see `hfsr {first[module]}`.")
        else:
            parts.append(_command(name))
        first.setdefault(module, name)
    return "\n\n".join(parts)


def _command(name: str) -> str:
    from hfsr.cli import COMMANDS, build_parser

    parser = build_parser("hfsr", name)
    parts = [f"## hfsr {name}", COMMANDS[name][1][:1].upper() + COMMANDS[name][1][1:] + ".", *_usage(parser)]
    for sub, subparser in _subparsers(parser):
        parts += [f"### hfsr {name} {sub}", *_usage(subparser)]
    return "\n\n".join(parts)


def _usage(parser: argparse.ArgumentParser) -> list[str]:
    rows: list[tuple[object, ...]] = []
    for action in parser._actions:
        if isinstance(action, (argparse._HelpAction, argparse._SubParsersAction)):
            continue
        if action.help is argparse.SUPPRESS:
            continue
        names = (
            ", ".join(f"`{option}`" for option in action.option_strings)
            or f"`{action.metavar or action.dest}`"
        )
        values = "" if action.nargs == 0 or not action.option_strings else f" `{_placeholder(action)}`"
        text = (action.help or "") % {"default": action.default, "prog": parser.prog}
        rows.append((names + values, text))
    usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
    return [f"```text\n{usage}\n```", *([_table(("argument", "meaning"), rows)] if rows else [])]


def _placeholder(action: argparse.Action) -> str:
    if action.choices is not None:
        return "{" + ",".join(str(choice) for choice in action.choices) + "}"
    if isinstance(action.metavar, tuple):
        return " ".join(action.metavar)
    return action.metavar or action.dest.upper()


def _subparsers(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


# Option keys, from the schema


def option_keys() -> str:
    """Every key of an option file, section by section."""
    schema = json.loads(_resources.path("options", "schema.json").read_text(encoding="utf-8"))
    sections = [("The top of the file", schema), *_sections(schema)]
    return "\n\n".join(f"## {title}\n\n{_keys(section)}" for title, section in sections)


def _sections(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, definition in sorted(schema["$defs"].items()):
        if "properties" in definition:
            yield f"{name.removesuffix('Options')} section", definition


def _keys(section: dict[str, Any]) -> str:
    required = set(section.get("required", ()))
    rows = [
        (
            f"`{key}`",
            _type(value),
            "required" if key in required else _default(value),
            value.get("description", ""),
        )
        for key, value in sorted(section["properties"].items())
    ]
    return _table(("key", "type", "default", "meaning"), rows)


def _type(value: dict[str, Any]) -> str:
    if "enum" in value:
        return " or ".join(f"`{choice}`" for choice in value["enum"])
    if "$ref" in value:
        return value["$ref"].rpartition("/")[2]
    if "anyOf" in value:
        return " or ".join(dict.fromkeys(_type(choice) for choice in value["anyOf"]))
    return str(value.get("type", "any"))


def _default(value: dict[str, Any]) -> str:
    return f"`{json.dumps(value['default'])}`" if "default" in value else ""


# Networks, losses and the rest, from the registries


def networks() -> str:
    """Every registered restorer with its paper, scales, tiling kind, presets and sizes."""
    import torch

    from hfsr import create_model
    from hfsr.registry import ARCHS

    parts = []
    for name, spec in sorted(ARCHS.own().items()):
        if spec.role != "restorer":
            continue
        rows: list[tuple[object, ...]] = []
        for preset in spec.presets:
            with torch.device("meta"):  # only sizes are needed
                model = create_model(preset)
            count = sum(parameter.numel() for parameter in model.parameters())
            rows.append((f"`{preset}`", f"x{model.scale:g}", f"{count:,}"))
        has_link = spec.reference.startswith("https://")
        reference = f"[Reference]({spec.reference})" if has_link else f"Reference: {spec.reference}"
        facts = (
            f"[{spec.title}]({spec.paper}). {reference} (license: {spec.license}). Tiling: `{spec.tiling}`."
        )
        parts.append(f"## {name}\n\n{facts}\n\n{_table(('preset', 'scale', 'parameters'), rows)}")
    return "\n\n".join(parts)


_TYPES = {
    "network": "Networks",
    "loss": "Losses",
    "metric": "Metrics",
    "dataset": "Data sets",
    "degradation": "Degradations",
    "optimizer": "Optimizers",
    "scheduler": "Schedulers",
}
"""Definition in the schema -> heading."""


def registered() -> str:
    """Every `type` of an option file with its arguments, and the recipes."""
    import hfsr.training.recipes  # noqa: F401  registers the recipes
    from hfsr.registry import RECIPES

    schema = json.loads(_resources.path("options", "schema.json").read_text(encoding="utf-8"))
    parts = [f"`model_type`: {', '.join(f'`{name}`' for name in sorted(RECIPES.own()))}"]
    for name, heading in _TYPES.items():
        rows = [
            (f"`{branch['properties']['type']['const']}`", _arguments(branch))
            for branch in schema["$defs"][name]["anyOf"]
            if "const" in branch["properties"]["type"]
        ]
        parts.append(f"## {heading}\n\n{_table(('type', 'arguments and defaults'), rows)}")
    return "\n\n".join(parts)


def _arguments(branch: dict[str, Any]) -> str:
    """Arguments of one type, those without a default first."""
    others = {key: value for key, value in branch["properties"].items() if key != "type"}
    required = [f"`{key}`" for key, value in others.items() if "default" not in value]
    optional = [
        f"`{key}: {json.dumps(value['default'])}`" for key, value in others.items() if "default" in value
    ]
    return ", ".join([*required, *optional])


def bundled() -> str:
    """The table of bundled models, as README has it."""
    from pathlib import Path

    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- bundled models.*?-->\n(.*?)<!-- /bundled models -->", readme, re.DOTALL)
    if found is None:
        raise ValueError("README.md has no table of bundled models")
    return re.sub(r"\[(`[^`]*`)\]\(model_cards/[^)]*\)", r"\1", found[1])


TABLES: dict[str, Callable[[], str]] = {
    "bundled": bundled,
    "commands": commands,
    "networks": networks,
    "option-keys": option_keys,
    "dialects": dialects,
    "registered": registered,
}
