"""Models on their way to the Hub: a model folder with its card, uploaded in one commit."""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi, ModelInfo, RepoFile, get_token
from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError
from torch import nn

from hfsr.checkpoints import write_model_folder
from hfsr.errors import HubError, OptionsError
from hfsr.publishing.publishable import Source, open_source
from hfsr.publishing.staging import check_source, published_names, stage, write_card

from .cards.card import check_card, make_card
from .cards.results import ReportJson
from .client import LOG_IN, address, client, in_words
from .download.cache_check import has_id
from .download.repo_formats import CONFIG, README, parse

__all__ = [
    "Published",
    "changed_files",
    "check_repo_id",
    "publish_folder",
    "push_to_hub",
    "require_token",
    "save_pretrained",
]

REPO_ID = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*")


@dataclass(frozen=True)
class Published:
    """What an upload did.

    Attributes:
        address: where a person finds it: the model, or the pull request.
        changed: the files that were uploaded; empty when all were there already.
    """

    address: str
    changed: tuple[str, ...]


def save_pretrained(
    model: nn.Module, folder: str | Path, *, card: str | None = None, task: str | None = None
) -> Path:
    """Writes a model folder: `config.json`, `model.safetensors` and `README.md`.

    Args:
        model: a registered network.
        folder: made where needed; `from_pretrained(folder)` reads it.
        card: the text of the card; made from the network's facts when None.
        task: what the weights are for; the network's usual task when None.

    Returns:
        The folder.

    Raises:
        CheckpointError: the folder cannot be written, or the network is not registered.
    """
    folder = Path(folder)
    write_model_folder(model, folder, task=task)
    write_card(make_card(model, name=str(folder), task=task) if card is None else card, folder)
    return folder


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
    licence: str | None = None,
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
        licence: of the weights, for the card ("apache-2.0").
        reports: measurements for the card, as `hfsr.evaluation.Report.to_json()` gives them.
        may_publish: converted weights go out though their licence is unknown or does not let everybody.

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
            source = Source(model=model_or_folder, folder=folder, weights=folder, card=card)
        else:
            source = open_source(model_or_folder)
            if not may_publish:
                check_source(source, licence)
        folder = stage(source, name=repo_id, licence=licence, reports=reports)
        published = publish_folder(
            folder,
            repo_id,
            private=private,
            revision=revision,
            create_pr=create_pr,
            commit_message=commit_message,
            token=token,
        )
    return published.address


def check_repo_id(repo_id: str) -> None:
    """Raises OptionsError unless it has the form owner/name."""
    if not REPO_ID.fullmatch(repo_id):
        raise OptionsError(f"'{repo_id}' is no id on the Hub: write owner/name, as in your-name/rcan-x4")


def require_token(token: str | None = None) -> None:
    """Raises HubError when there is no token to publish with; whether it is a good one, the Hub says."""
    if not (token or get_token()):
        raise HubError(f"publishing needs a token of the Hub with write access and there is none; {LOG_IN}")


def publish_folder(
    folder: Path,
    repo_id: str,
    *,
    private: bool = False,
    revision: str | None = None,
    create_pr: bool = False,
    commit_message: str | None = None,
    token: str | None = None,
) -> Published:
    """Uploads a model folder - config, weights, card and its picture - in one commit.

    The arguments are those of `push_to_hub`.

    Raises:
        HubError: as `push_to_hub`.
    """
    require_token(token)
    api = client(token)
    card = check_card((folder / README).read_text(encoding="utf-8"))
    with in_words(repo_id, revision=revision), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # what the Hub remarks on a card is no reason to stop
        card.validate()
        api.create_repo(repo_id, private=private or None, exist_ok=True)
        if revision is not None and not create_pr:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        info = _info(api, repo_id, revision)
        if private and not info.private:
            raise HubError(
                f"'{repo_id}' is there already and everybody sees it; make it private in its settings at "
                f"{address(repo_id)}/settings, or leave --private out"
            )
        changed = changed_files(api, folder, repo_id, str(info.sha), names=published_names(folder))
        if not changed:
            return Published(address(repo_id), ())
        overwritten = revision is None and not create_pr and CONFIG in changed
        if overwritten and CONFIG in {file.rfilename for file in info.siblings or ()}:
            _check_ours(api, repo_id, str(info.sha))
        commit = api.create_commit(
            repo_id,
            operations=[CommitOperationAdd(name, folder / name) for name in changed],
            commit_message=commit_message or f"Upload {repo_id.split('/')[-1]} with hfsr",
            revision=revision,
            create_pr=create_pr,
            parent_commit=info.sha,
        )
    return Published(commit.pr_url or address(repo_id), tuple(changed))


def _info(api: HfApi, repo_id: str, revision: str | None) -> ModelInfo:
    """What the Hub says of a repository that has just been made, or was there."""
    try:
        return api.model_info(repo_id, revision=revision)
    except RevisionNotFoundError:
        raise
    except RepositoryNotFoundError as error:
        raise HubError(
            f"the name '{repo_id}' is taken on the Hub, by something that your token may not see; choose "
            "another name"
        ) from error


def _check_ours(api: HfApi, repo_id: str, commit: str) -> None:
    """Raises HubError where the repository holds another library's model, which would be overwritten."""
    config = parse(Path(api.hf_hub_download(repo_id, CONFIG, revision=commit)), repo_id)
    if "architecture" not in config:
        raise HubError(
            f"the name '{repo_id}' is taken by another library's model (its {CONFIG} says so), which yours "
            "would overwrite; choose another name, --revision or --create-pr"
        )


def changed_files(
    api: HfApi,
    folder: Path,
    repo_id: str,
    commit: str,
    *,
    names: Sequence[str],
    repo_type: str = "model",
) -> list[str]:
    """Those of a folder's files that differ from a commit's on the Hub."""
    remote = {
        file.path: file.lfs.sha256 if file.lfs else file.blob_id
        for file in api.get_paths_info(repo_id, list(names), revision=commit, repo_type=repo_type)
        if isinstance(file, RepoFile)
    }
    return [name for name in names if name not in remote or not has_id(folder / name, remote[name])]
