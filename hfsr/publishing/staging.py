"""The model folder that is published, with its card, pictures and option file; and whether it may go out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hfsr.checkpoints import write_model_folder
from hfsr.hub.cards.card import check_card, make_card
from hfsr.hub.cards.edit import rename_card, replace_example, replace_results
from hfsr.hub.cards.licenses import check_license
from hfsr.hub.cards.option_file import read_text
from hfsr.hub.cards.results import ReportJson
from hfsr.hub.cards.schema import CURVE, EXAMPLE, OPTION_FILE, Example
from hfsr.hub.download.cache_check import sha256_of
from hfsr.hub.download.repo_formats import README, WEIGHTS
from hfsr.hub.model_folder import write_card, write_if_changed

from .publishable import PublishableModel

__all__ = ["check_may_publish", "stage"]


def check_may_publish(source: PublishableModel, license: str | None = None) -> None:
    """Raises HubError where the source holds weights of somebody else that not everybody may pass on.

    Args:
        source: what is to be published. Weights were converted where the source or its card tells provenance.
        license: what the person who publishes says of them, where neither the source nor its card tells.
    """
    if source.card is not None and "\n## Provenance\n" in source.card:
        front = check_card(source.card).data
        told = front.get("license_name") or front.get("license")
    elif source.provenance is not None:
        told = source.provenance.license
    else:
        return
    known = told if told and told.lower() != "unknown" else license
    check_license(known, source=str(source.weights))


def stage(
    source: PublishableModel,
    *,
    name: str,
    license: str | None = None,
    reports: Sequence[ReportJson] = (),
    example: Example | None = None,
) -> Path:
    """Writes the model folder that is published: config, weights, card, its pictures and its option file.

    A card that is there stays, under the new name and with the new reports, as long as the weights are those
    it was written for; else a new one is made, since its numbers would be those of other weights.

    Args:
        source: the model.
        name: how it will be loaded, usually "owner/name".
        license: of the weights, for a new card; that of the card it replaces when None.
        reports: measurements that go on the card.
        example: before and after; the one that is there stays with its card when None.

    Raises:
        CheckpointError: the folder cannot be written.
        HubError: the card that is there cannot be read.
    """
    card = source.card
    if not source.complete:
        earlier = _earlier_card(source.folder)
        before = sha256_of(source.folder / WEIGHTS) if earlier else None
        write_model_folder(source.model, source.folder, task=source.task)
        if earlier and card is None:
            card = earlier if sha256_of(source.folder / WEIGHTS) == before else None
            license = license or check_card(earlier).data.get("license")
    if card is None:
        card = make_card(
            source.model,
            name=name,
            task=source.task,
            license=license,
            training=source.option_file.training if source.option_file else None,
            provenance=source.provenance,
            reports=reports,
            example=example,
            curve=source.curve is not None,
        )
    else:
        check_card(card)
        card = rename_card(card, name)
        card = replace_results(card, reports, name=name) if reports else card
        card = replace_example(card, example) if example else card
    picture = example.picture if example else source.example and source.example.read_bytes()
    if picture:
        write_if_changed(source.folder / EXAMPLE, picture)
    if source.curve:
        write_if_changed(source.folder / CURVE, source.curve.read_bytes())
    if source.option_file:
        write_if_changed(source.folder / OPTION_FILE, source.option_file.text.encode())
    write_card(card, source.folder)
    return source.folder


def _earlier_card(folder: Path) -> str | None:
    """The card of a folder written before; None where it, or the weights it belongs to, are missing."""
    complete = (folder / README).is_file() and (folder / WEIGHTS).is_file()
    return read_text(folder / README) if complete else None
