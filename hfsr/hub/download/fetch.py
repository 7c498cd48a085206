"""Downloads of models and cards into the client's cache, each checked against its hash."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import constants, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError, HTTPError, LocalEntryNotFoundError
from huggingface_hub.file_download import repo_folder_name

from hfsr.errors import HubError
from hfsr.hub.client import client, translate_errors

from .cache_check import matches_oid
from .repo_formats import CONFIG, README, WEIGHTS, choose_weights, read_config

__all__ = [
    "DownloadedModel",
    "cached_config",
    "damaged_message",
    "fetch_card",
    "fetch_model",
    "is_intact",
    "remove_blob",
    "verify_download",
]


def fetch_card(repo_id: str, *, revision: str | None = None) -> str:
    """Downloads the card of a model and returns its text.

    Raises:
        HubError: there is no such model, it has no card, or it is out of reach.
    """
    with translate_errors(repo_id, revision=revision):
        known = try_to_load_from_cache(repo_id, README, revision=revision)
        path = Path(client().hf_hub_download(repo_id, README, revision=revision))
        if not isinstance(known, str):
            verify_download(path, repo_id)
    return path.read_text(encoding="utf-8", errors="replace")


@dataclass(frozen=True)
class DownloadedModel:
    """A model in the client's cache.

    Attributes:
        folder: of one commit.
        weights: name of the weights file in it.
        config: content of `config.json`; empty if there is none.
    """

    folder: Path
    weights: str
    config: dict[str, Any]


def fetch_model(
    repo_id: str,
    *,
    revision: str | None = None,
    scale: float | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
) -> DownloadedModel:
    """Downloads a model's config and weights, both of one commit, into the client's cache.

    The config is requested once, since the Hub counts downloads by it.

    Args:
        repo_id: "owner/name".
        revision: branch, tag or commit; the default branch if None.
        scale: selects the weights if the repository holds those of several scales.
        cache_dir: the cache; the client's default if None.
        local_files_only: use the cache only, without any request.

    Raises:
        HubError: there is no such model, it is out of reach, or the download does not match its hash.
        CheckpointError: the repository holds no weights that hfsr reads, or several.
    """
    api = client()
    is_offline = local_files_only or constants.is_offline_mode()
    cached = try_to_load_from_cache(repo_id, CONFIG, cache_dir=cache_dir, revision=revision)

    def listing() -> list[str]:
        """Names of the model's files on the Hub, or in the cache if the Hub is out of reach."""
        in_cache = _cached_names(repo_id, revision, cache_dir)
        try:
            # First, since this fails at once with a reason; a download would retry for half a minute.
            info = None if is_offline else api.model_info(repo_id, revision=revision)
        except HTTPError as error:
            if isinstance(error, HfHubHTTPError) or not in_cache:
                raise
            info = None
        if info is None and not in_cache:
            raise LocalEntryNotFoundError(repo_id)
        return in_cache if info is None else [file.rfilename for file in info.siblings or ()]

    def download(name: str, revision: str | None) -> Path:
        known = try_to_load_from_cache(repo_id, name, cache_dir=cache_dir, revision=revision)
        try:
            path = Path(
                api.hf_hub_download(
                    repo_id, name, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only
                )
            )
        except HTTPError as error:
            if isinstance(error, HfHubHTTPError) or not isinstance(known, str):
                raise
            return Path(known)  # the connection failed; the cached file is used
        if not isinstance(known, str):
            verify_download(path, repo_id)
        return path

    with translate_errors(repo_id, revision=revision):
        names = None if isinstance(cached, str) else listing()
        config, commit = {}, revision
        if names is None or CONFIG in names:
            path = download(CONFIG, revision)
            config, commit = (
                read_config(path, repo_id),
                path.parent.name,
            )  # cache folders are named after commits
        if names is None and "architecture" not in config:
            names = listing()
        weights = choose_weights([WEIGHTS] if names is None else names, config, scale, repo_id=repo_id)
        file = download(weights, commit)
    return DownloadedModel(file.parents[weights.count("/")], weights, config)


def cached_config(repo_id: str) -> dict[str, Any]:
    """The config of a downloaded model; empty if there is none."""
    path = try_to_load_from_cache(repo_id, CONFIG)
    return read_config(Path(path), repo_id) if isinstance(path, str) else {}


def _cached_names(repo_id: str, revision: str | None, cache_dir: str | Path | None) -> list[str]:
    """Names of a model's files in the cache."""
    home = Path(cache_dir or constants.HF_HUB_CACHE, repo_folder_name(repo_id=repo_id, repo_type="model"))
    ref = home / "refs" / (revision or constants.DEFAULT_REVISION)
    snapshot = home / "snapshots" / (ref.read_text(encoding="utf-8") if ref.is_file() else str(revision))
    return [path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file()]


def verify_download(path: Path, repo_id: str) -> None:
    """Compares a downloaded file with its hash, its name in the cache; the client compares only sizes.

    Raises:
        HubError: they differ. The file is removed, so that the next attempt downloads it again.
    """
    if not path.is_symlink():  # without links in the file system, the cache keeps no hash
        return
    blob = path.parent / path.readlink()  # one step only: a shared store behind it uses other names
    if not is_intact(blob):
        path.unlink()
        remove_blob(blob)
        raise HubError(damaged_message(path.name, repo_id))


def is_intact(blob: Path) -> bool:
    """True if a file of the cache matches the hash in its name, or if its name is not a hash."""
    return matches_oid(blob, blob.name) if re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", blob.name) else True


def remove_blob(blob: Path) -> None:
    """Removes a file of the cache.

    A file from Xet is also removed from the store that repositories share; the client would reuse it from
    there.
    """
    for file in (blob, blob.resolve()):
        file.unlink(missing_ok=True)


def damaged_message(name: str, repo_id: str) -> str:
    """The message for a file that does not match its hash."""
    return f"{name} of '{repo_id}' arrived damaged (its hash differs); nothing was kept, try again"
