"""Publishing a model on the Hub: `push_to_hub`, and the steps of `hfsr push`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from hfsr.argument_checks import check_text
from hfsr.errors import HubError
from hfsr.hub.cards.results import ReportJson
from hfsr.hub.client import check_repo_id
from hfsr.hub.model_folder import published_files
from hfsr.hub.model_origin import card_of_origin, start_of_origin, task_of_origin
from hfsr.hub.upload import UploadResult, upload_model_folder

from .measure import BenchmarkSets, make_example_for_card, measure_for_card
from .publishable import PublishableModel, open_publishable
from .staging import check_may_publish, license_note, option_file_note, stage_model

__all__ = ["StagedModel", "push_staged", "push_to_hub", "stage_for_push"]


@dataclass(frozen=True)
class StagedModel:
    """A model folder that is ready for upload.

    Attributes:
        folder: the model folder.
        files: names of its files that are published.
        weights: file or folder that the weights were read from.
        notes: what the publisher should know before the upload.
    """

    folder: Path
    files: list[str]
    weights: Path
    notes: tuple[str, ...] = ()


def push_to_hub(
    model_or_folder: nn.Module | str | Path,
    repo_id: str,
    *,
    private: bool = False,
    revision: str | None = None,
    create_pr: bool = False,
    commit_message: str | None = None,
    token: str | None = None,
    card: str | None = None,
    license: str | None = None,
    reports: Sequence[ReportJson] = (),
    may_publish: bool = False,
    replace_card: bool = False,
) -> str:
    """Publishes a model; a second call uploads only what has changed.

    Args:
        model_or_folder: a network, or a source of `hfsr push`: a run's folder, a model folder (its card
            stays, under the new name), a checkpoint or a bundled name.
        repo_id: "owner/name"; the repository is created if there is none.
        private: a repository that is created here is visible to its owners only.
        revision: a branch, created if there is none; the default branch if None.
        create_pr: open a pull request instead of writing to the branch.
        commit_message: a default message if None.
        token: of the Hub; the stored one or HF_TOKEN if None.
        card: the text of a network's card; if None that of the model it was loaded from, if its weights are
            unchanged, else made from what is known.
        license: of the weights, for the card ("apache-2.0").
        reports: measurements for the card, from `hfsr.evaluation.Report.to_json()`.
        may_publish: publishes converted weights even if their license is unknown or does not allow it.
        replace_card: replaces a card on the Hub that has measurements of these weights which this one lacks.

    Returns:
        The address of the model, or of the pull request.

    Raises:
        OptionsError: `repo_id` does not have the form owner/name.
        HubError: the Hub refuses, is out of reach, or finds the card invalid. It is safe to run it again.
        CheckpointError: the model cannot be read.
    """
    check_text("repo_id", repo_id)
    check_repo_id(repo_id)
    with tempfile.TemporaryDirectory() as temporary:
        if isinstance(model_or_folder, nn.Module):
            model = _publishable_network(model_or_folder, Path(temporary), repo_id, card)
            if model.card is not None and card is None and not may_publish:
                check_may_publish(model, license)
        else:
            model = open_publishable(model_or_folder)
            if not may_publish:
                check_may_publish(model, license)
        folder = stage_model(model, name=repo_id, license=license, reports=reports)
        result = upload_model_folder(
            folder,
            repo_id,
            private=private,
            revision=revision,
            create_pr=create_pr,
            commit_message=commit_message,
            token=token,
            replace_card=replace_card or None,
        )
    return result.address


def _publishable_network(network: nn.Module, folder: Path, name: str, card: str | None) -> PublishableModel:
    """A network as a publishable model, with the card of its origin if it has none of its own."""
    known = card_of_origin(network) if card is None else None
    start, license = (None, None) if card or known else start_of_origin(network)
    for file, content in (known.files if known else {}).items():
        (folder / file).write_bytes(content)
    return PublishableModel(
        name=name,
        model=network,
        folder=folder,
        weights=folder,
        card=known.text if known else card,
        task=task_of_origin(network),
        start=start,
        license=license,
    )


def stage_for_push(
    source: str | Path,
    repo_id: str,
    *,
    sets: BenchmarkSets,
    license: str | None = None,
    may_publish: bool = False,
    with_example: bool = True,
    report_done: Callable[[dict[str, Any]], None] = lambda report: None,
) -> StagedModel:
    """Measures a model and writes its model folder with the card.

    Args:
        source: a run's folder, a model folder, a checkpoint or a bundled name.
        repo_id: "owner/name".
        sets: what the model is measured on.
        license: of the weights, for the card.
        may_publish: accepts converted weights even if their license is unknown or does not allow publishing.
        with_example: adds an example image and the speed to the card; with False it has none.
        report_done: called with each measurement when it is there.

    Raises:
        OptionsError: nothing states what the model undoes.
        CheckpointError: the model cannot be read, or the folder cannot be written.
        HubError: the license does not allow publishing, or a data set cannot be downloaded.
        DataError, ImageError: a folder of images is missing or empty, or an image cannot be read.
    """
    model = open_publishable(source)
    if not may_publish:
        check_may_publish(model, license)
    model = model.with_task(sets.degradation.stated_task)
    reports = measure_for_card(model, sets, name=repo_id, report_done=report_done)
    example = make_example_for_card(model, sets) if with_example else None
    folder = stage_model(
        model, name=repo_id, license=license, reports=reports, example=example, keep_example=with_example
    )
    notes = tuple(filter(None, [license_note(folder, license), option_file_note(folder)]))
    return StagedModel(folder, published_files(folder), model.weights, notes)


def push_staged(
    staged: StagedModel,
    repo_id: str,
    *,
    private: bool = False,
    revision: str | None = None,
    create_pr: bool = False,
    commit_message: str | None = None,
    replace_card: bool = False,
) -> UploadResult:
    """Uploads a staged model.

    Args:
        staged: the model folder.
        repo_id: as in `push_to_hub`.
        private: as in `push_to_hub`.
        revision: as in `push_to_hub`.
        create_pr: as in `push_to_hub`.
        commit_message: as in `push_to_hub`.
        replace_card: replaces a card on the Hub that has measurements which this one lacks.

    Raises:
        HubError: the Hub refuses or is out of reach; the message names the folder, which is kept.
    """
    try:
        return upload_model_folder(
            staged.folder,
            repo_id,
            private=private,
            revision=revision,
            create_pr=create_pr,
            commit_message=commit_message,
            replace_card=replace_card,
        )
    except HubError as error:
        raise HubError(f"{error} ('{staged.folder}' is kept)") from error
