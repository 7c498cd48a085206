"""Model folders with their cards, and the list of their published files."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from hfsr.argument_checks import check_path
from hfsr.atomic import replacing
from hfsr.checkpoints import write_model_folder
from hfsr.errors import CheckpointError

from .cards.card import make_card
from .cards.schema import CURVE, EXAMPLE, OPTION_FILE
from .download.repo_formats import CONFIG, README, WEIGHTS

__all__ = ["published_files", "save_pretrained", "write_card", "write_if_changed"]


def save_pretrained(
    model: nn.Module, folder: str | Path, *, card: str | None = None, task: str | None = None
) -> Path:
    """Writes a model folder: `config.json`, `model.safetensors` and `README.md`.

    Args:
        model: a registered network.
        folder: created if needed; `from_pretrained(folder)` reads it.
        card: text of the card; made from the facts of the network if None.
        task: of the weights; the network's usual task if None.

    Returns:
        The folder.

    Raises:
        CheckpointError: the folder cannot be written, or the network is not registered.
    """
    check_path("folder", folder)
    folder = Path(folder)
    write_model_folder(model, folder, task=task)
    write_card(make_card(model, name=str(folder), task=task) if card is None else card, folder)
    return folder


def published_files(folder: Path) -> list[str]:
    """Names of the files of a model folder that are published."""
    optional = [name for name in (EXAMPLE, CURVE, OPTION_FILE) if (folder / name).is_file()]
    return [CONFIG, README, WEIGHTS, *optional]


def write_card(card: str, folder: Path) -> None:
    """Writes a card into a model folder, unless it holds the same one.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    write_if_changed(folder / README, card.encode())


def write_if_changed(path: Path, content: bytes) -> None:
    """Writes a small file, unless its content is the same.

    Raises:
        CheckpointError: the file cannot be written.
    """
    if path.is_file() and path.read_bytes() == content:
        return
    with replacing(path, error=CheckpointError) as partial:
        partial.write_bytes(content)
