"""Origin of a loaded model: its card and the files that the card shows, while its weights are unchanged."""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from hfsr import _resources
from hfsr.errors import CheckpointError, HfsrError, HfsrWarning, HubError

from .cards.card import license_of, linked_files
from .cards.option_file import OptionFile, read_option_file, read_text
from .cards.schema import CURVE, EXAMPLE, OPTION_FILE, TrainingInfo
from .download.repo_formats import README
from .download.resolve import (
    Origin,
    find_local,
    float_model_of,
    from_pretrained,
    is_run_folder,
    read_card,
    task_of,
)
from .run_folder import option_file_of_run

__all__ = [
    "KnownCard",
    "bundled_card",
    "bundled_option_file",
    "card_of_origin",
    "option_file_in",
    "option_file_of",
    "start_of_origin",
    "task_of_origin",
]

OPTION_LINK = re.compile(r"\]\(\.\./options/([\w.-]+)\)")
"""Link from a bundled model's card to a packaged option file."""


@dataclass(frozen=True)
class KnownCard:
    """Card and the files in its folder.

    Attributes:
        text: text of the card.
        files: content by name of the files that the card refers to.
    """

    text: str
    files: Mapping[str, bytes] = field(default_factory=dict)


def card_of_origin(model: nn.Module) -> KnownCard | None:
    """Returns the card of the model that a network was loaded from.

    Returns:
        None if the network was not loaded by `from_pretrained`, its weights or arguments have changed since,
        or there is no card.
    """
    origin = vars(model).get("origin")
    if not isinstance(origin, Origin) or not _is_unchanged(model, origin):
        return None
    try:
        if origin.name in _resources.bundled_models():
            return bundled_card(origin.name)
        local = find_local(origin.name)
        return _card_in_folder(local) if local is not None else _card_on_the_hub(origin)
    except HfsrError as error:
        warn_of_lost_card(origin, error)
        return None


def start_of_origin(model: nn.Module) -> tuple[TrainingInfo | None, str | None]:
    """Returns the start and the license for the new card of a network that changed after loading."""
    origin = vars(model).get("origin")
    if not isinstance(origin, Origin):
        return None, None
    on_the_hub = origin.commit is not None
    full_name = float_model_of(origin.name) or origin.name
    name = full_name if on_the_hub else Path(full_name).name  # without private folders
    training = TrainingInfo(started_from=name, base_model=name if on_the_hub else None)
    try:
        if on_the_hub:
            from .download.fetch import find_card  # not at the top: local models need no client

            text = find_card(origin.name, revision=origin.commit, cache_dir=origin.cache_dir)
            return training, license_of(text) if text else None
        return training, license_of(read_card(full_name))
    except HubError as error:
        warn_of_lost_card(origin, error)
    except CheckpointError:
        pass  # a local folder without a card, which states no license
    return training, None


def task_of_origin(model: nn.Module) -> str | None:
    """Returns the task in the config of the model that a network was loaded from; None if there is none."""
    origin = vars(model).get("origin")
    if not isinstance(origin, Origin):
        return None
    try:
        return task_of(origin.name, model)
    except HfsrError:
        return None


def bundled_card(name: str) -> KnownCard | None:
    """Returns the card of a bundled model, with the files it shows under their names in a model folder."""
    cards = _resources.folder("model_cards")
    card_file, example, curve = (cards / f"{name}{suffix}" for suffix in (".md", ".webp", ".png"))
    if not card_file.is_file():
        return None
    card = read_text(card_file)
    card = card.replace(f"]({example.name})", f"]({EXAMPLE})").replace(f"]({curve.name})", f"]({CURVE})")
    files = {
        target: file.read_bytes() for target, file in ((EXAMPLE, example), (CURVE, curve)) if file.is_file()
    }
    if (option_file := bundled_option_file(name)) is not None:
        card = OPTION_LINK.sub(f"]({OPTION_FILE})", card)
        files[OPTION_FILE] = option_file.text.encode()
    return KnownCard(card, files)


def bundled_option_file(name: str) -> OptionFile | None:
    """Returns the option file that the card of a bundled model links; None if it links none."""
    card_file = _resources.folder("model_cards") / f"{name}.md"
    link = OPTION_LINK.search(read_text(card_file)) if card_file.is_file() else None
    return read_option_file(_resources.path("options", link[1])) if link else None


def option_file_of(name: str) -> OptionFile | None:
    """Returns the option file that a model was trained by.

    Args:
        name: a bundled name, a training run, a model folder or an id on the Hub.

    Returns:
        None if the model has none, or the Hub cannot be reached.
    """
    if name in _resources.bundled_models():
        return bundled_option_file(name)
    local = find_local(name)
    if local is None:
        from .download.fetch import fetch_card, fetch_files  # not at the top: local models need no client

        try:
            if OPTION_FILE not in linked_files(fetch_card(name)):
                return None
            content = fetch_files(name, [OPTION_FILE])[OPTION_FILE]
        except HfsrError:  # it has none
            return None
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / OPTION_FILE).write_bytes(content)
            return read_option_file(Path(folder) / OPTION_FILE)
    if is_run_folder(local):
        return option_file_of_run(local)
    return option_file_in(local) if local.is_dir() else None


def option_file_in(folder: Path) -> OptionFile | None:
    """Returns the option file of a model folder; None if there is none, or the card does not link it."""
    card, path = folder / README, folder / OPTION_FILE
    is_linked = not card.is_file() or OPTION_FILE in linked_files(read_text(card))
    return read_option_file(path) if path.is_file() and is_linked else None


def _card_in_folder(folder: Path) -> KnownCard | None:
    if not (folder / README).is_file():
        return None
    text = read_text(folder / README)
    names = [name for name in linked_files(text) if (folder / name).is_file()]
    return KnownCard(text, {name: (folder / name).read_bytes() for name in names})


def _card_on_the_hub(origin: Origin) -> KnownCard | None:
    from .download.fetch import fetch_known_card  # not at the top: local models need no client

    known = fetch_known_card(origin.name, revision=origin.commit, cache_dir=origin.cache_dir)
    return KnownCard(*known) if known else None


def warn_of_lost_card(origin: Origin, error: HfsrError) -> None:
    """Warns that the card of a model could not be read, so its license and its results are not passed on."""
    warnings.warn(
        f"the card of '{origin.name}' could not be read, so the new card has neither its license nor its "
        f"results: {error}",
        HfsrWarning,
        stacklevel=4,
    )


@torch.no_grad()
def _is_unchanged(model: nn.Module, origin: Origin) -> bool:
    """Returns True if a network still has the weights and arguments of the model it was loaded from."""
    try:
        local = find_local(origin.name)
        revision = None if local is not None else origin.commit
        other = from_pretrained(
            origin.name, revision=revision, cache_dir=origin.cache_dir, local_files_only=local is None
        )
    except HfsrError:
        return False
    ours, theirs = model.state_dict(), other.state_dict()
    return (
        vars(model).get("model_args") == vars(other).get("model_args")
        and ours.keys() == theirs.keys()
        and all(
            ours[key].dtype == theirs[key].dtype and torch.equal(ours[key].cpu(), theirs[key]) for key in ours
        )
    )
