"""Publishing a model from Python: `push_to_hub`."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from hfsr.hub.cards.results import ReportJson
from hfsr.hub.client import check_repo_id
from hfsr.hub.upload import upload_model_folder

from .publishable import PublishableModel, open_publishable
from .staging import check_may_publish, stage

__all__ = ["push_to_hub"]


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
) -> str:
    """Publishes a model; running it again uploads only what has changed.

    Args:
        model_or_folder: a network, or what `hfsr push` takes: a run's folder, a model folder (its card stays,
            under the new name), a checkpoint or a bundled name.
        repo_id: "owner/name"; the repository is made where there is none.
        private: only its owners see a repository that is made here.
        revision: a branch, made where there is none; the default branch when None.
        create_pr: open a pull request instead of writing to the branch.
        commit_message: what the history says.
        token: of the Hub; the stored one or HF_TOKEN when None.
        card: the text of a network's card; made from what is known when None.
        license: of the weights, for the card ("apache-2.0").
        reports: measurements for the card, as `hfsr.evaluation.Report.to_json()` gives them.
        may_publish: converted weights go out though their license is unknown or does not let everybody.

    Returns:
        The address of the model, or of the pull request.

    Raises:
        OptionsError: `repo_id` is not of the form owner/name.
        HubError: the Hub refuses, is out of reach, or finds the card invalid. It is safe to run it again.
        CheckpointError: the model cannot be read.
    """
    check_repo_id(repo_id)
    with tempfile.TemporaryDirectory() as temporary:
        if isinstance(model_or_folder, nn.Module):
            folder = Path(temporary)
            source = PublishableModel(model=model_or_folder, folder=folder, weights=folder, card=card)
        else:
            source = open_publishable(model_or_folder)
            if not may_publish:
                check_may_publish(source, license)
        folder = stage(source, name=repo_id, license=license, reports=reports)
        published = upload_model_folder(
            folder,
            repo_id,
            private=private,
            revision=revision,
            create_pr=create_pr,
            commit_message=commit_message,
            token=token,
        )
    return published.address
