"""Reads an option file: YAML, overrides, then all errors in one message."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from hfsr import _resources
from hfsr.errors import HfsrError, OptionsError, suggest

from .binding import Problem, recipe_problem, typed_sections
from .dialects import translate
from .sections import TrainOptions, as_list

__all__ = ["find_option_file", "parse_value", "read_options", "written_options"]


_DRAWN_SEEDS = 10_000
"""Number of seeds of which one is drawn for `manual_seed: ~`, as in BasicSR."""


class _Loader(yaml.SafeLoader):
    """Safe YAML that also reads 1e-4 as a number, as YAML 1.2 does, and rejects a key with two values."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Constructs a mapping.

        Raises:
            yaml.YAMLError: if a key has two different values, of which YAML would drop the first.
        """
        seen: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable):  # other keys raise an error below
                value = self.construct_object(value_node, deep=True)
                if seen.setdefault(key, value) != value:
                    line = key_node.start_mark.line + 1
                    raise yaml.YAMLError(f"'{key}' is given again in line {line}; keep one of the two")
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: list(rules) for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def find_option_file(name: str | Path) -> Path:
    """Returns the file itself if it exists, else the packaged option file of that name.

    Raises:
        OptionsError: if neither exists.
    """
    path = Path(name)
    if path.is_file():
        return path
    try:
        return _resources.path("options", path.name)
    except HfsrError as error:
        raise OptionsError(f"there is no option file '{name}' in {Path.cwd()}, and {error}") from error


def parse_value(text: str) -> Any:
    """Parses the value of an override as YAML ("1e-4", "[a, b]", "~"); nothing is evaluated.

    As in BasicSR, `none` and `None` are null, which they are not in a file.

    Raises:
        OptionsError: if it is not YAML.
    """
    if text.strip().lower() == "none":
        return None
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError) as error:
        raise OptionsError(f"--force_yml: '{text}' is not a YAML value: {_one_line(error)}") from error


def read_options(
    path: str | Path,
    overrides: Sequence[str] = (),
    *,
    modules: Sequence[str] = (),
    import_modules: Callable[[Sequence[str]], object] | None = None,
    more_types: Callable[[], object] | None = None,
) -> TrainOptions:
    """Reads and checks an option file.

    Args:
        path: the file, or the name of a packaged one.
        overrides: changes of the form `a:b=c`, applied before the checks.
        modules: modules to import besides those that the file names.
        import_modules: imports the modules, before types are checked.
        more_types: called before an unknown type becomes an error; may register types of other packages.

    Raises:
        OptionsError: if the file is missing or not YAML; or with all errors and their places: unknown keys
            with the nearest known one, missing keys, values of a wrong type.
    """
    file = find_option_file(path)
    raw = _read_mapping(file)
    for override in overrides:
        _apply(raw, override)
    _drop_empty_sections(raw)
    if modules and isinstance(named := as_list(raw.get("import")), list):  # otherwise an error below
        raw["import"] = [*named, *modules]
    translation = translate(raw)
    is_translated = translation.options != raw
    raw = translation.options
    is_seed_drawn = "manual_seed" in raw and raw["manual_seed"] is None
    if is_seed_drawn:
        raw["manual_seed"] = 1 + secrets.randbelow(_DRAWN_SEEDS)
    options, problems = _validate(raw)
    problems = [*translation.problems, *problems]
    if options is not None and import_modules is not None:
        import_modules(options.modules)
    content = raw if options is None else options.model_dump(exclude_unset=True, by_alias=True)
    sections = list(typed_sections(content))
    if more_types is not None and not all(section.is_known() for section in sections):
        more_types()
    for section in sections:
        arguments, wrong = section.validated()
        problems += [(place, _message(item, section.keys())) for place, item in wrong]
        if options is not None:
            _section_at(content, section.place).update(arguments)
    problems += [(place, _message(item, ())) for place, item in recipe_problem(raw)]
    if problems or options is None:
        listed = "; ".join(f"{'.'.join(place)}: {text}" if place else text for place, text in problems)
        count = f"{len(problems)} errors: " if len(problems) > 1 else ""
        raise OptionsError(f"{file}: {count}{listed}")
    checked = TrainOptions.model_validate(content)
    checked.note_reading(translation.without_effect, is_translated=is_translated, is_seed_drawn=is_seed_drawn)
    return checked


def _section_at(content: dict[str, Any], place: Sequence[str]) -> dict[str, Any]:
    """Returns the section at a place; steps of a degradation are in lists."""
    found: Any = content
    for key in place:
        found = found[int(key)] if isinstance(found, list) else found[key]
    section: dict[str, Any] = found
    return section


def written_options(options: TrainOptions, overrides: Sequence[str]) -> str:
    """Returns the text of an option file with these options, and their overrides as a comment."""
    header = "# In hfsr's keys; the file was written for another program.\n" if options.is_translated else ""
    if overrides:
        header += "# With --force_yml:\n" + "".join(f"#   {override}\n" for override in overrides)
    content = options.model_dump(mode="json", exclude_unset=True, by_alias=True)
    if options.is_seed_drawn:  # as in the file: the seed of a resumed run is that of its state
        content["manual_seed"] = None
    return f"{header}{yaml.safe_dump(content, sort_keys=False)}"


def _read_mapping(file: Path) -> dict[str, Any]:
    try:
        raw = yaml.load(file.read_text(encoding="utf-8"), Loader=_Loader)
    except (yaml.YAMLError, ValueError) as error:
        raise OptionsError(f"{file} is not YAML: {_one_line(error)}") from error
    except OSError as error:
        raise OptionsError(f"{file} cannot be read: {error.strerror}") from error
    if not isinstance(raw, dict):
        raise OptionsError(f"{file} is not an option file: it must be a mapping that starts with 'name:'")
    return raw


def _apply(raw: dict[str, Any], override: str) -> None:
    place, equals, text = override.partition("=")
    keys = [key.strip() for key in place.split(":")]
    if not equals or not all(keys):
        raise OptionsError(f"--force_yml takes section:key=value, not '{override}'")
    section = raw
    for key in keys[:-1]:
        if section.get(key) is None:
            section[key] = {}
        section = section[key]
        if not isinstance(section, dict):
            raise OptionsError(f"--force_yml {place}: '{key}' is not a section of the option file")
    section[keys[-1]] = parse_value(text)


def _drop_empty_sections(raw: dict[str, Any]) -> None:
    """Removes empty sections, so that their defaults apply: `val:`, or `val:` in `datasets`."""
    for key in [key for key, value in raw.items() if value is None]:
        field = TrainOptions.model_fields.get(key)
        if field is not None and _is_model(field.annotation):
            del raw[key]
    datasets = raw.get("datasets")
    if isinstance(datasets, dict):
        raw["datasets"] = {key: value for key, value in datasets.items() if value is not None}


def _validate(raw: dict[str, Any]) -> tuple[TrainOptions | None, list[tuple[tuple[str, ...], str]]]:
    try:
        return TrainOptions.model_validate(raw), []
    except ValidationError as error:
        problems = []
        for item in error.errors():
            place = tuple(str(part) for part in item["loc"])
            problems.append((place, _message(item, _keys_at(place[:-1]))))
        return None, problems


def _message(item: Problem, known: Sequence[str]) -> str:
    if item["type"] == "extra_forbidden":
        return f"unknown key{suggest(str(item['loc'][-1]), known)}"
    if item["type"] == "missing":
        return "is missing"
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "value_error":
        return message
    got = "a section" if isinstance(item["input"], Mapping) else repr(item["input"])
    return f"{message[0].lower()}{message[1:]}, not {got}"


def _keys_at(place: Sequence[str]) -> list[str]:
    """Returns the keys that the models know at a place of the file."""
    current: Any = TrainOptions
    for part in place:
        field = current.model_fields.get(part) if _is_model(current) else None
        inner = field.annotation if field is not None else current
        current = next((candidate for candidate in _flatten(inner) if _is_model(candidate)), None)
    return [field.alias or name for name, field in current.model_fields.items()] if _is_model(current) else []


def _flatten(annotation: Any) -> list[Any]:
    return [annotation, *(inner for argument in get_args(annotation) for inner in _flatten(argument))]


def _is_model(candidate: Any) -> bool:
    return isinstance(candidate, type) and issubclass(candidate, BaseModel)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
