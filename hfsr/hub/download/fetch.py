"""From the Hub into the client's cache: a model, a card, and the proof that they arrived whole."""

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
from .repo_formats import CONFIG, README, WEIGHTS, choose_weights, parse

__all__ = [
    "Fetched",
    "cached_config",
    "damaged_message",
    "fetch_card",
    "fetch_model",
    "is_intact",
    "remove_blob",
    "verify_download",
]


def fetch_card(repo_id: str, *, revision: str | None = None) -> str:
    """The text of a model's card on the Hub.

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
class Fetched:
    """A model in the client's cache."""

    folder: Path
    weights: str
    """The file in it."""
    config: dict[str, Any]
    """Of `config.json`; empty where there is none."""


def fetch_model(
    repo_id: str,
    *,
    revision: str | None = None,
    scale: float | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
) -> Fetched:
    """Brings a model's config and weights, both of one commit, into the client's cache.

    The config, which the Hub counts downloads by, is fetched once.

    Args:
        repo_id: "owner/name".
        revision: branch, tag or commit; the default branch when None.
        scale: decides where the repository holds weights of several.
        cache_dir: the cache; the client's own when None.
        local_files_only: take what is cached and ask nobody.

    Raises:
        HubError: there is no such model, it is out of reach, or what came is not what the Hub announced.
        CheckpointError: the repository holds no weights that hfsr reads, or several.
    """
    api = client()
    alone = local_files_only or constants.is_offline_mode()
    cached = try_to_load_from_cache(repo_id, CONFIG, cache_dir=cache_dir, revision=revision)

    def listing() -> list[str]:
        """The model's files, as the Hub has them; as the cache has them where the Hub is out of reach."""
        here = _cached_names(repo_id, revision, cache_dir)
        try:
            # Asked first: this fails at once and says why, where a download would retry for half a minute.
            info = None if alone else api.model_info(repo_id, revision=revision)
        except HTTPError as error:
            if isinstance(error, HfHubHTTPError) or not here:
                raise
            info = None
        if info is None and not here:
            raise LocalEntryNotFoundError(repo_id)
        return here if info is None else [file.rfilename for file in info.siblings or ()]

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
            return Path(known)  # the connection broke off, and what is here will do
        if not isinstance(known, str):
            verify_download(path, repo_id)
        return path

    with translate_errors(repo_id, revision=revision):
        names = None if isinstance(cached, str) else listing()
        config, commit = {}, revision
        if names is None or CONFIG in names:
            path = download(CONFIG, revision)
            config, commit = parse(path, repo_id), path.parent.name  # the cache names folders after commits
        if names is None and "architecture" not in config:
            names = listing()
        weights = choose_weights([WEIGHTS] if names is None else names, config, scale, repo_id=repo_id)
        file = download(weights, commit)
    return Fetched(file.parents[weights.count("/")], weights, config)


def cached_config(repo_id: str) -> dict[str, Any]:
    """The config of a model that was fetched; empty where it has none or was not."""
    path = try_to_load_from_cache(repo_id, CONFIG)
    return parse(Path(path), repo_id) if isinstance(path, str) else {}


def _cached_names(repo_id: str, revision: str | None, cache_dir: str | Path | None) -> list[str]:
    """The files of a model that are in the cache."""
    home = Path(cache_dir or constants.HF_HUB_CACHE, repo_folder_name(repo_id=repo_id, repo_type="model"))
    ref = home / "refs" / (revision or constants.DEFAULT_REVISION)
    snapshot = home / "snapshots" / (ref.read_text(encoding="utf-8") if ref.is_file() else str(revision))
    return [path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file()]


def verify_download(path: Path, repo_id: str) -> None:
    """Compares a file just downloaded with its hash, its name in the cache; the client compares sizes only.

    Raises:
        HubError: they differ; the file is removed, so that the next attempt downloads it again.
    """
    if not path.is_symlink():  # a file system without links: the cache keeps no hash
        return
    blob = path.parent / path.readlink()  # one step: a shared store behind it has names of its own
    if not is_intact(blob):
        path.unlink()
        remove_blob(blob)
        raise HubError(damaged_message(path.name, repo_id))


def is_intact(blob: Path) -> bool:
    """Whether a file of the cache is what its name says; True where that says nothing."""
    return matches_oid(blob, blob.name) if re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", blob.name) else True


def remove_blob(blob: Path) -> None:
    """Removes a file of the cache; what came by Xet from the store that repositories share too, where the
    client would take it from again.
    """
    for file in (blob, blob.resolve()):
        file.unlink(missing_ok=True)


def damaged_message(name: str, repo_id: str) -> str:
    """What is said of a file that is not what the Hub announced."""
    return f"{name} of '{repo_id}' arrived damaged (its hash differs); nothing was kept, try again"
