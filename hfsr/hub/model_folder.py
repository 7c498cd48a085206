"""Model folders with their cards, and the list of their published files."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from hfsr.argument_checks import check_path
from hfsr.atomic import replacing
from hfsr.checkpoints import write_model_folder
from hfsr.errors import CheckpointError

from .cards.card import linked_files, make_card
from .cards.edit import rename_card
from .download.repo_formats import CONFIG, README, WEIGHTS
from .model_origin import card_of_origin, start_of_origin, task_of_origin

__all__ = [
    "published_files",
    "read_card_in",
    "save_pretrained",
    "write_card",
    "write_if_changed",
]


def save_pretrained(
    model: nn.Module, folder: str | Path, *, card: str | None = None, task: str | None = None
) -> Path:
    """Writes a model folder: `config.json`, `model.safetensors` and `README.md`.

    A model from `from_pretrained` whose weights are unchanged keeps its card, with all statements and images.
    Images and option files that only the folder's earlier card links stay, but are not published any more.

    Args:
        model: a registered network, or one of spandrel's.
        folder: created if needed; `from_pretrained(folder)` reads it.
        card: text of the card; if None, the card of the model's origin, else one created from its network.
        task: task of the weights; if None, that of the model's origin, else the network's usual task.

    Returns:
        The folder.

    Raises:
        CheckpointError: the folder cannot be written, or the network is not registered.
    """
    check_path("folder", folder)
    folder = Path(folder)
    task = task or task_of_origin(model)
    known = card_of_origin(model) if card is None else None  # first: `folder` may be the origin
    start, license = (None, None) if card or known else start_of_origin(model)
    write_model_folder(model, folder, task=task)
    if known is not None:
        for name, content in known.files.items():
            write_if_changed(folder / name, content)
        card = rename_card(known.text, str(folder))
    card = card or make_card(model, name=str(folder), task=task, license=license, training=start)
    write_card(card, folder)
    return folder


def published_files(folder: Path) -> list[str]:
    """Returns the names of a model folder's published files; the card decides on images and option file."""
    card = (folder / README).read_text(encoding="utf-8") if (folder / README).is_file() else ""
    return [CONFIG, README, WEIGHTS, *(name for name in linked_files(card) if (folder / name).is_file())]


def read_card_in(folder: Path) -> str | None:
    """Returns the text of the card in a folder; None if there is none."""
    path = folder / README
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None


def write_card(card: str, folder: Path) -> None:
    """Writes a card into a model folder, unless the folder holds the same card.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    # Names of files may contain bytes that are not UTF-8; Python reads their escapes in the snippet.
    write_if_changed(folder / README, card.encode(errors="backslashreplace"))


def write_if_changed(path: Path, content: bytes) -> None:
    """Writes a small file, unless its content is the same.

    Raises:
        CheckpointError: the file cannot be written.
    """
    if path.is_file() and path.read_bytes() == content:
        return
    with replacing(path, error=CheckpointError) as partial:
        partial.write_bytes(content)
