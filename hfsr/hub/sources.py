"""What can be published - a run, a model folder, a checkpoint, a bundled model - and its model folder."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from hfsr import _resources, zoo
from hfsr.checkpoints import (
    load_checkpoint,
    load_weights,
    read_model_folder,
    read_state_dict,
    write_model_folder,
)
from hfsr.checkpoints.files import parse_config, replacing
from hfsr.degradations import build_chain
from hfsr.errors import CheckpointError, suggest

from .cards import (
    EXAMPLE,
    Example,
    Provenance,
    Training,
    check_card,
    make_card,
    with_example,
    with_name,
    with_results,
)
from .licences import check_may_publish
from .loading import find_local
from .remote import CONFIG, README, WEIGHTS, fetch_card
from .results import ReportJson

__all__ = [
    "Source",
    "card_of",
    "check_source",
    "open_source",
    "provenance_of",
    "stage",
    "training_of",
    "write_card",
]

LABELS = ("best", "latest")
"""What a run calls the weights worth publishing, in order of preference; numbered ones come after."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A model on this machine, and what is known about it."""

    model: nn.Module
    folder: Path
    """Where its model folder is or will be; checkpoints and bundled models get one under the current one."""
    weights: Path
    """The file or folder that the weights were read from."""
    complete: bool = False
    """True when `folder` already holds config and weights."""
    card: str | None = None
    example: Path | None = None
    """The picture that the card shows."""
    task: str | None = None
    training: Training | None = None
    provenance: Provenance | None = None


def open_source(src: str | Path) -> Source:
    """Reads something that can be published.

    Args:
        src: a run's folder (`experiments/NAME`: its best weights, else the latest), a model folder, a
            checkpoint file or a bundled model's name.

    Raises:
        CheckpointError: it is none of these, or its weights cannot be read.
    """
    path = Path(src).expanduser()
    if str(src) in _resources.bundled_models():
        return _open_bundled(str(src))
    if (path / CONFIG).is_file():
        return _open_model_folder(path)
    if (path / "models").is_dir():
        return _open_experiment(path)
    if path.is_file():
        return Source(
            model=load_checkpoint(path),
            folder=Path(f"{path.stem}_hub"),
            weights=path,
            provenance=provenance_of(path),
        )
    if path.is_dir():
        raise CheckpointError(
            f"'{src}' holds neither {CONFIG} nor models/; name a run (experiments/NAME), a model folder or a "
            "checkpoint"
        )
    siblings = [str(path.parent / other.name) for other in path.parent.glob("*")]
    raise CheckpointError(f"there is nothing at '{src}' to publish{suggest(str(src), siblings)}")


def card_of(name: str) -> str:
    """The text of a model's card.

    Args:
        name: a bundled name, a model folder or an id on the Hub.

    Raises:
        CheckpointError: there is no such model here, or it has no card.
        HubError: the Hub has no such model, it has no card, or the Hub is out of reach.
    """
    if name in _resources.bundled_models():
        return _resources.path("model_cards", f"{name}.md").read_text(encoding="utf-8")
    folder = find_local(name)
    if folder is None:
        return fetch_card(name)
    if not (folder / README).is_file():
        raise CheckpointError(f"'{name}' has no card: there is no {README} in it; name a model folder")
    return _read_text(folder / README)


def check_source(source: Source, licence: str | None = None) -> None:
    """Raises HubError where the source holds weights of somebody else that not everybody may pass on.

    Args:
        source: what is to be published. Weights were converted where the source or its card tells provenance.
        licence: what the person who publishes says of them; that of the source or its card when None.
    """
    if source.card is not None and "\n## Provenance\n" in source.card:
        front = check_card(source.card).data
        told = front.get("license_name") or front.get("license")
    elif source.provenance is not None:
        told = source.provenance.licence
    else:
        return
    check_may_publish(licence or told, source=str(source.weights))


def stage(
    source: Source,
    *,
    name: str,
    licence: str | None = None,
    reports: Sequence[ReportJson] = (),
    example: Example | None = None,
) -> Path:
    """Writes the model folder that is published: config, weights, card and the picture on it.

    A card that is there stays, under the new name and with the new reports, as long as the weights are those
    it was written for; else a new one is made, since its numbers would be those of other weights.

    Args:
        source: the model.
        name: how it will be loaded, usually "owner/name".
        licence: of the weights, for a new card; that of the card it replaces when None.
        reports: measurements that go on the card.
        example: before and after; the one that is there stays with its card when None.

    Raises:
        CheckpointError: the folder cannot be written.
        HubError: the card that is there cannot be read.
    """
    card = source.card
    if not source.complete:
        earlier = _earlier_card(source.folder)
        before = _sha256(source.folder / WEIGHTS) if earlier else None
        write_model_folder(source.model, source.folder, task=source.task)
        if earlier and card is None:
            card = earlier if _sha256(source.folder / WEIGHTS) == before else None
            licence = licence or check_card(earlier).data.get("license")
    if card is None:
        card = make_card(
            source.model,
            name=name,
            task=source.task,
            licence=licence,
            training=source.training,
            provenance=source.provenance,
            reports=reports,
            example=example,
        )
    else:
        check_card(card)
        card = with_name(card, name)
        card = with_results(card, reports, name=name) if reports else card
        card = with_example(card, example) if example else card
    picture = example.picture if example else source.example and source.example.read_bytes()
    if picture:
        _write(source.folder / EXAMPLE, picture)
    write_card(card, source.folder)
    return source.folder


def write_card(card: str, folder: Path) -> None:
    """Writes a card into a model folder, unless the same one is there.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    _write(folder / README, card.encode())


def _write(path: Path, content: bytes) -> None:
    """Writes a small file, unless it is there already."""
    if path.is_file() and path.read_bytes() == content:
        return
    with replacing(path) as partial:
        partial.write_bytes(content)


def provenance_of(path: Path, *, licence: str | None = None) -> Provenance:
    """Where weights were taken from: the file's name and hash."""
    return Provenance(source=path.name, sha256=_sha256(path), licence=licence)


def _earlier_card(folder: Path) -> str | None:
    """The card of a folder written before; None where it, or the weights it belongs to, are missing."""
    complete = (folder / README).is_file() and (folder / WEIGHTS).is_file()
    return _read_text(folder / README) if complete else None


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _open_bundled(name: str) -> Source:
    folder = _resources.path("weights", name)
    cards = _resources.folder("model_cards")
    card, picture = cards / f"{name}.md", cards / f"{name}.webp"
    return Source(
        model=read_model_folder(folder),
        folder=Path(f"{name}_hub"),
        weights=folder,
        card=_read_text(card).replace(f"]({picture.name})", f"]({EXAMPLE})") if card.is_file() else None,
        example=picture if picture.is_file() else None,
    )


def _open_model_folder(folder: Path) -> Source:
    model = read_model_folder(folder)
    config = parse_config((folder / CONFIG).read_text(encoding="utf-8"), f"'{folder / CONFIG}'")
    card = folder / README
    return Source(
        model=model,
        folder=folder,
        weights=folder / WEIGHTS,
        complete=True,
        card=_read_text(card) if card.is_file() else None,
        task=config.get("task"),
    )


def _open_experiment(folder: Path) -> Source:
    weights = _best_weights(folder)
    option_file = _option_file(folder)
    options = _read_yaml(option_file) if option_file else {}
    if weights.is_dir():
        model = read_model_folder(weights)
    elif network := _section(options, "network_g"):
        model = _build(network, scale=options.get("scale"))
        state_dict, _ = read_state_dict(weights)
        load_weights(model, state_dict, source=f"'{weights}'")
    else:
        model = load_checkpoint(weights)
    return Source(
        model=model.eval(),
        folder=folder / "hub",
        weights=weights,
        training=training_of(option_file) if option_file else None,
    )


def _best_weights(folder: Path) -> Path:
    """A run's weights that are worth publishing: a model folder, or a checkpoint as BasicSR writes it."""
    models = folder / "models"
    numbered = sorted(
        (
            int(match[1])
            for path in models.glob("net_g_*.pth")
            if (match := re.fullmatch(r"net_g_(\d+)", path.stem))
        ),
        reverse=True,
    )
    for label in [*LABELS, *(str(number) for number in numbered)]:
        if (models / f"net_g_{label}" / CONFIG).is_file():
            return models / f"net_g_{label}"
        if (models / f"net_g_{label}.pth").is_file():
            return models / f"net_g_{label}.pth"
    raise CheckpointError(f"'{models}' holds no net_g_best, net_g_latest or net_g_<iteration>: train first")


def _option_file(folder: Path) -> Path | None:
    """The copy of the option file that a run keeps; the newest where there are several."""
    return max(
        [*folder.glob("*.yml"), *folder.glob("*.yaml")], key=lambda path: path.stat().st_mtime, default=None
    )


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"'{path}' is not UTF-8 text: {error}") from error


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(_read_text(path))
    except yaml.YAMLError as error:
        raise CheckpointError(f"'{path}' is not YAML: {' '.join(str(error).split())}") from error
    return content if isinstance(content, dict) else {}


def _section(content: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """A mapping inside a mapping, empty where it is missing."""
    for name in names:
        inner = content.get(name)
        content = inner if isinstance(inner, dict) else {}
    return dict(content)


def _build(network: dict[str, Any], *, scale: int | None) -> nn.Module:
    """The network of an option file; the file's scale is the network's unless that says its own."""
    arguments = {key: value for key, value in network.items() if key != "type"}
    if "upscale" not in arguments and scale is not None:
        arguments["scale"] = scale
    return zoo.build(str(network.get("type")), **arguments)


def training_of(option_file: Path) -> Training:
    """What an option file tells of the training; folders by their names only, as paths are nobody's business.

    Raises:
        CheckpointError: it cannot be read.
    """
    options = _read_yaml(option_file)
    data = _section(options, "datasets", "train")
    train = _section(options, "train")
    roots = data.get("dataroot_gt") or []
    folders = [Path(str(root)).name for root in (roots if isinstance(roots, list) else [roots])]
    told = ", ".join(str(part) for part in (data.get("name"), *folders) if part)
    total = train.get("total_iter")
    return Training(
        degradation=_degradation(options, data),
        data=told or None,
        recipe=option_file.name,
        iterations=total if isinstance(total, int) else None,
        loss=_section(train, "pixel_opt").get("type"),
    )


def _degradation(options: dict[str, Any], data: dict[str, Any]) -> str | None:
    """What made the LQ pictures, where hfsr made them."""
    ours = data.get("type") in {"PairedImageDataset", "SampleImageDataset"}
    scale = options.get("scale", 1)
    if not ours or data.get("dataroot_lq"):
        return None
    if not data.get("degradation"):
        return f"MATLAB bicubic reduction by {scale}" if scale > 1 else None
    words = build_chain(data["degradation"], scale).protocol()
    return "; ".join(f"{word} {value}" for word, value in words.items())
