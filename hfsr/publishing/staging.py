"""Staging: the model folder that is published, with card, images and option file; and the license check."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hfsr.checkpoints import write_model_folder
from hfsr.errors import HfsrError
from hfsr.hub.cards.card import check_card, license_of, make_card
from hfsr.hub.cards.edit import (
    remove_example,
    rename_card,
    replace_example,
    replace_license,
    replace_results,
)
from hfsr.hub.cards.licenses import check_license
from hfsr.hub.cards.option_file import read_text
from hfsr.hub.cards.results import ReportJson
from hfsr.hub.cards.schema import CURVE, EXAMPLE, OPTION_FILE, Example
from hfsr.hub.download.cache_check import sha256_of
from hfsr.hub.download.repo_formats import README, WEIGHTS
from hfsr.hub.download.resolve import read_card
from hfsr.hub.model_folder import (
    published_files,
    read_card_in,
    write_card,
    write_if_changed,
)

from .publishable import PublishableModel

__all__ = ["check_may_publish", "license_note", "option_file_note", "stage_model"]

PROVENANCE = "\n## Provenance\n"
"""Heading on the card of converted weights."""


def check_may_publish(model: PublishableModel, license: str | None = None) -> None:
    """Raises HubError if the weights are another author's and their license does not allow publishing.

    Args:
        model: counts as converted from another author's weights if it, or its card, states a provenance.
        license: of the weights, as the publisher states it; used if neither the model nor its card states
            one.
    """
    if model.card is not None and PROVENANCE in model.card:
        stated = license_of(model.card)
    elif model.provenance is not None:
        stated = model.provenance.license
    else:
        return
    known = stated if stated and stated.lower() != "unknown" else license
    check_license(known, source=str(model.weights))


def stage_model(
    model: PublishableModel,
    *,
    name: str,
    license: str | None = None,
    reports: Sequence[ReportJson] = (),
    example: Example | None = None,
    keep_example: bool = True,
) -> Path:
    """Writes the model folder that is published: config, weights, card, its images and its option file.

    An existing card is kept, with the new name and the new reports, as long as it belongs to these weights;
    else a new one is made, since the numbers on the old one are those of other weights.

    Args:
        model: the model.
        name: by which it will be loaded, usually "owner/name".
        license: of the weights, for the card; a card of converted weights keeps the one that their author
            stated. If None, a new card gets that of the model, else that of the run's earlier card, else that
            of the weights that the training started from.
        reports: measurements for the card.
        example: for the card; the existing one stays with its card if None.
        keep_example: False publishes no example, also if the card has one.

    Raises:
        CheckpointError: the folder cannot be written.
        HubError: the existing card cannot be read.
    """
    card, earlier_license = model.card, None
    if not model.has_folder:
        earlier, before = read_card_in(model.folder), _weights_hash(model.folder)
        write_model_folder(model.model, model.folder, task=model.task)
        if earlier and before and card is None:
            card = earlier if _weights_hash(model.folder) == before else None
            # A folder in the current directory may hold the weights of another model of the same file name.
            earlier_license = license_of(earlier) if model.has_own_folder else None
    if card is None:
        license = license or model.license or earlier_license or _license_of_start(model)
        card = make_card(
            model.model,
            name=name,
            task=model.task,
            license=license,
            training=model.option_file.training if model.option_file else model.start,
            provenance=model.provenance,
            reports=reports,
            example=example,
            curve=model.curve is not None,
        )
    else:
        check_card(card)
        card = rename_card(card, name)
        card = replace_results(card, reports, name=name) if reports else card
        card = replace_example(card, example) if example else card
        card = replace_license(card, license) if license and not _has_authors_license(card) else card
    if not keep_example:
        card = remove_example(card)
    image = example.image if example else model.example and model.example.read_bytes()
    if image and keep_example:
        write_if_changed(model.folder / EXAMPLE, image)
    if model.curve:
        write_if_changed(model.folder / CURVE, model.curve.read_bytes())
    if model.option_file:
        write_if_changed(model.folder / OPTION_FILE, model.option_file.text.encode())
    write_card(card, model.folder)
    return model.folder


def _has_authors_license(card: str) -> bool:
    """Returns True for a card of converted weights with the license that their author stated."""
    stated = license_of(card) if PROVENANCE in card else None
    return stated is not None and stated.lower() != "unknown"


def _license_of_start(model: PublishableModel) -> str | None:
    """The license of the weights that a training started from; None if there is none or it is not known."""
    start = model.option_file and model.option_file.started_from
    if not start:
        return None
    try:
        return license_of(read_card(start))
    except HfsrError:  # no card, or out of reach: the license stays unknown, which the push reports
        return None


def license_note(folder: Path, requested: str | None = None) -> str | None:
    """Message for the publisher of a staged card without a license, or with another than requested."""
    license = license_of(read_text(folder / README))
    if license is None:
        return "the card states no license, so nobody may use the weights; state it with --license (license=)"
    if requested is not None and requested.lower() != license.lower():
        return (
            f"the card keeps the license '{license}' that the author of the converted weights stated; "
            f"if it is really '{requested}', convert the weights again with --license"
        )
    return None


def option_file_note(folder: Path) -> str | None:
    """Message for the publisher of an option file that the card does not link; None if there is none."""
    if not (folder / OPTION_FILE).is_file() or OPTION_FILE in published_files(folder):
        return None
    return (
        f"{OPTION_FILE} is not published, because the card does not link it: it may belong to other weights; "
        f"if it belongs to these, add [{OPTION_FILE}]({OPTION_FILE}) to the card"
    )


def _weights_hash(folder: Path) -> str | None:
    """Returns the hash of the weights in a folder; None if there are none."""
    return sha256_of(folder / WEIGHTS) if (folder / WEIGHTS).is_file() else None
