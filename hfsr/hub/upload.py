"""Upload of a model folder or a Space in one commit, with only the files that differ."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, ModelCard, ModelInfo, RepoFile
from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

from hfsr.errors import HubError, some_of

from .cards.card import check_card, outdated_files
from .cards.results import damage_of, reports_from_card, setting_name
from .cards.schema import CURVE, EXAMPLE, OPTION_FILE
from .client import address, check_repo_id, client, require_token, translate_errors
from .download.cache_check import matches_oid
from .download.repo_formats import CONFIG, README, WEIGHTS, read_config
from .model_folder import published_files

__all__ = [
    "UploadResult",
    "changed_files",
    "upload_model_folder",
    "upload_space",
]


@dataclass(frozen=True)
class UploadResult:
    """Result of an upload.

    Attributes:
        address: URL of the model, the Space or the pull request.
        changed: names of the uploaded files; empty if the Hub had all of them.
        removed: names of the files that belonged to the earlier card on the Hub, and were removed.
    """

    address: str
    changed: tuple[str, ...]
    removed: tuple[str, ...] = ()


def upload_model_folder(
    folder: Path,
    repo_id: str,
    *,
    private: bool = False,
    revision: str | None = None,
    create_pr: bool = False,
    commit_message: str | None = None,
    token: str | None = None,
    replace_card: bool | None = None,
) -> UploadResult:
    """Uploads a model folder in one commit: config, weights, card, its images and its option file.

    The arguments are those of `push_to_hub`, except `replace_card`: True replaces the card on the Hub, False
    raises HubError if that card has measurements that the new one lacks, None does so only if they are of the
    same weights.

    Raises:
        HubError: see `push_to_hub`.
    """
    require_token(token)
    api = client(token)
    card = check_card((folder / README).read_text(encoding="utf-8"))
    with translate_errors(repo_id, revision=revision), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the Hub's hints about a card
        card.validate()
        api.create_repo(repo_id, private=private or None, exist_ok=True)
        if revision is not None and not create_pr:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        info = _info(api, repo_id, revision)
        if private and not info.private:
            raise HubError(
                f"'{repo_id}' exists already and is public; make it private in its settings at "
                f"{address(repo_id)}/settings, or leave --private out"
            )
        changed = changed_files(api, folder, repo_id, str(info.sha), names=published_files(folder))
        if not changed:
            return UploadResult(address(repo_id), ())
        weighs = replace_card is False or (replace_card is None and WEIGHTS not in changed)
        if README in changed and weighs and not create_pr:
            _check_card(api, repo_id, info, card)
        overwritten = revision is None and not create_pr and CONFIG in changed
        if overwritten and CONFIG in {file.rfilename for file in info.siblings or ()}:
            _check_ours(api, repo_id, str(info.sha))
        removed = _outdated_files(api, repo_id, info, card) if README in changed else []
        commit = api.create_commit(
            repo_id,
            operations=[
                *(CommitOperationAdd(name, folder / name) for name in changed),
                *(CommitOperationDelete(name) for name in removed),
            ],
            commit_message=commit_message or f"Upload {repo_id.split('/')[-1]} with hfsr",
            revision=revision,
            create_pr=create_pr,
            parent_commit=info.sha,
        )
    return UploadResult(commit.pr_url or address(repo_id), tuple(changed), tuple(removed))


def _outdated_files(api: HfApi, repo_id: str, info: ModelInfo, card: ModelCard) -> list[str]:
    """Returns the files on the Hub that the card of hfsr there links and the new card does not."""
    present = {file.rfilename for file in info.siblings or ()}
    if README not in present or present.isdisjoint((EXAMPLE, CURVE, OPTION_FILE)):
        return []
    path = Path(api.hf_hub_download(repo_id, README, revision=str(info.sha)))
    earlier = path.read_text(encoding="utf-8", errors="replace")
    return [name for name in outdated_files(earlier, str(card)) if name in present]


def _info(api: HfApi, repo_id: str, revision: str | None) -> ModelInfo:
    """Returns the repository information after `create_repo`."""
    try:
        return api.model_info(repo_id, revision=revision)
    except RevisionNotFoundError:
        raise
    except RepositoryNotFoundError as error:
        raise HubError(
            f"the name '{repo_id}' is taken on the Hub by a repository that your token may not see; choose "
            "another name"
        ) from error


def _check_ours(api: HfApi, repo_id: str, commit: str) -> None:
    """Raises HubError if the repository holds another library's model, which would be overwritten."""
    config = read_config(Path(api.hf_hub_download(repo_id, CONFIG, revision=commit)), repo_id)
    if "architecture" not in config:
        raise HubError(
            f"the name '{repo_id}' is taken by another library's model (according to its {CONFIG}), which "
            "yours would overwrite; choose another name, --revision or --create-pr"
        )


def _check_card(api: HfApi, repo_id: str, info: ModelInfo, card: ModelCard) -> None:
    """Raises HubError if the card on the Hub has measurements that the new one lacks."""
    if not (info.model_index or (info.card_data and info.card_data.get("eval_results"))):
        return  # nothing was measured there
    path = Path(api.hf_hub_download(repo_id, README, revision=str(info.sha)))
    there, here = (
        {
            (str(report["set"]), "" if damage_of(report) else setting_name(report))
            for report in reports_from_card(text)
        }
        for text in (path.read_text(encoding="utf-8", errors="replace"), str(card))
    )
    if lost := sorted(there - here):
        raise HubError(
            f"the card of '{repo_id}' on the Hub has measurements that the new one lacks "
            f"({some_of(' '.join(pair) for pair in lost)}); measure with --gt, or replace it with "
            "--replace-card (in Python: replace_card=True)"
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
    """Returns the names of the files that differ from those of a commit on the Hub."""
    remote = {
        file.path: file.lfs.sha256 if file.lfs else file.blob_id
        for file in api.get_paths_info(repo_id, list(names), revision=commit, repo_type=repo_type)
        if isinstance(file, RepoFile)
    }
    return [name for name in names if name not in remote or not matches_oid(folder / name, remote[name])]


def upload_space(
    folder: Path,
    repo_id: str,
    *,
    private: bool = False,
    hardware: str | None = None,
    sdk: str = "gradio",
    token: str | None = None,
) -> UploadResult:
    """Creates a Space if there is none, and uploads the files that differ in one commit.

    Args:
        folder: folder created by `hfsr.publishing`.
        repo_id: "owner/name".
        private: True if a new Space is visible to its owners only.
        hardware: hardware of a new Space ("cpu-basic", "zero-a10g", ...); the Hub's default if None.
        sdk: kind of a new Space: "gradio" or "static".
        token: token of the Hub; the stored one or HF_TOKEN if None.

    Raises:
        OptionsError: `repo_id` does not have the form owner/name.
        HubError: the Hub refuses, requires a paid plan, or cannot be reached. It is safe to run it again.
    """
    check_repo_id(repo_id)
    require_token(token)
    api = client(token)
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    with translate_errors(repo_id, kind="Space"):
        api.create_repo(
            repo_id,
            repo_type="space",
            space_sdk=sdk,
            space_hardware=hardware,  # type: ignore[arg-type]  # any string is valid; newer hardware has no enum member
            private=private or None,
            exist_ok=True,
        )
        info = api.space_info(repo_id)
        changed = changed_files(api, folder, repo_id, str(info.sha), names=names, repo_type="space")
        if changed:
            api.create_commit(
                repo_id,
                repo_type="space",
                operations=[CommitOperationAdd(name, folder / name) for name in changed],
                commit_message="Upload the upscaler of hfsr",
                parent_commit=info.sha,
            )
    return UploadResult(address(repo_id, "Space"), tuple(changed))
