"""Downloads of models and cards into the client's cache, each checked against its hash."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import constants, try_to_load_from_cache
from huggingface_hub.errors import (
    HfHubHTTPError,
    HTTPError,
    LocalEntryNotFoundError,
    RemoteEntryNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name

from hfsr.checkpoints import choose_weights
from hfsr.checkpoints.files import INDEX, read_weight_map
from hfsr.errors import HubError, OptionsError
from hfsr.hub.cards.card import linked_files
from hfsr.hub.client import client, translate_errors

from .cache_check import verify_download
from .repo_formats import CONFIG, README, WEIGHTS, read_config

__all__ = [
    "DownloadedModel",
    "cached_config",
    "fetch_card",
    "fetch_files",
    "fetch_known_card",
    "fetch_model",
    "find_card",
]


def fetch_card(
    repo_id: str,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    token: str | bool | None = None,
) -> str:
    """Downloads the card of a model and returns its text.

    Args:
        repo_id: "owner/name".
        revision: branch, tag or commit; the default branch if None.
        cache_dir: the cache; the client's default if None.
        token: as for `fetch_model`.

    Raises:
        HubError: the model does not exist, it has no card, or the Hub cannot be reached.
    """
    found = fetch_files(repo_id, [README], revision=revision, cache_dir=cache_dir, token=token)
    return found[README].decode("utf-8", errors="replace")


def fetch_files(
    repo_id: str,
    names: Sequence[str],
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    token: str | bool | None = None,
) -> dict[str, bytes]:
    """Downloads small files of a model and returns their content; the arguments are those of `fetch_card`.

    Raises:
        HubError: a file does not exist, or the Hub cannot be reached.
    """
    found = {}
    with translate_errors(repo_id, revision=revision):
        for name in names:
            known = try_to_load_from_cache(repo_id, name, cache_dir=cache_dir, revision=revision)
            path = Path(client(token).hf_hub_download(repo_id, name, revision=revision, cache_dir=cache_dir))
            if not isinstance(known, str):
                verify_download(path, repo_id)
            found[name] = path.read_bytes()
    return found


def find_card(
    repo_id: str,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    token: str | bool | None = None,
) -> str | None:
    """Returns the text of a model's card, or None if it has none; otherwise as `fetch_card`."""
    try:
        return fetch_card(repo_id, revision=revision, cache_dir=cache_dir, token=token)
    except HubError as error:
        if isinstance(error.__cause__, RemoteEntryNotFoundError):
            return None
        raise


def fetch_known_card(
    repo_id: str,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    token: str | bool | None = None,
) -> tuple[str, dict[str, bytes]] | None:
    """Downloads the card of a model and the files that it links; the arguments are those of `fetch_card`.

    Returns:
        The text of the card and the content of the files that exist; None if the model has no card.

    Raises:
        HubError: the model does not exist, or the Hub cannot be reached.
    """
    text = find_card(repo_id, revision=revision, cache_dir=cache_dir, token=token)
    if text is None:
        return None
    files: dict[str, bytes] = {}
    for name in linked_files(text):
        try:
            files |= fetch_files(repo_id, [name], revision=revision, cache_dir=cache_dir, token=token)
        except HubError as error:
            if not isinstance(error.__cause__, RemoteEntryNotFoundError):
                raise
    return text, files


@dataclass(frozen=True)
class DownloadedModel:
    """Model in the client's cache.

    Attributes:
        folder: folder of one commit.
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
    force_download: bool = False,
    token: str | bool | None = None,
) -> DownloadedModel:
    """Downloads a model's config and weights, both of one commit, into the client's cache.

    The config is requested once, because the Hub counts downloads by it.

    Args:
        repo_id: "owner/name".
        revision: branch, tag or commit; the default branch if None.
        scale: selects the weights if the repository holds those of several scales.
        cache_dir: the cache; the client's default if None.
        local_files_only: use the cache only, without any request.
        force_download: download again what is in the cache.
        token: token of the Hub; the stored one or HF_TOKEN if None, none if False.

    Raises:
        HubError: the model does not exist, the Hub cannot be reached, or a download does not match its hash.
        CheckpointError: the repository holds no weights that hfsr reads, or several.
    """
    if force_download and local_files_only:
        raise OptionsError("force_download and local_files_only exclude each other; leave one out")
    repo = _Repository(repo_id, revision, cache_dir, local_files_only, force_download, token)
    cached = try_to_load_from_cache(repo_id, CONFIG, cache_dir=cache_dir, revision=revision)
    cached = None if force_download else cached
    with translate_errors(repo_id, revision=revision):
        names = None if isinstance(cached, str) else repo.list_files()
        config, commit = {}, revision
        if names is None or CONFIG in names:
            path = repo.download(CONFIG, revision)
            config = read_config(path, repo_id)
            commit = path.parent.name  # the cache names folders after commits
        if names is None and "architecture" not in config:
            names = repo.list_files()
        weights = choose_weights(
            [WEIGHTS] if names is None else names, config, scale, source=f"'{repo_id}' on the Hub"
        )
        file = repo.download(weights, commit)
        if weights.endswith(INDEX):
            folder = weights.rpartition("/")[0]
            for name in sorted(set(read_weight_map(file).values())):
                repo.download(f"{folder}/{name}" if folder else name, commit)
    return DownloadedModel(file.parents[weights.count("/")], weights, config)


@dataclass(frozen=True)
class _Repository:
    """Model repository and its cache."""

    repo_id: str
    revision: str | None
    cache_dir: str | Path | None
    local_files_only: bool
    force_download: bool
    token: str | bool | None

    def list_files(self) -> list[str]:
        """Returns the names of the model's files on the Hub, or in the cache if the Hub cannot be reached."""
        is_offline = self.local_files_only or constants.is_offline_mode()
        in_cache = self._cached_files()
        try:
            # First, because this fails at once with a reason; a download would retry for half a minute.
            info = None if is_offline else client(self.token).model_info(self.repo_id, revision=self.revision)
        except HTTPError as error:
            if isinstance(error, HfHubHTTPError) or not in_cache:
                raise
            info = None
        if info is None and not in_cache:
            raise LocalEntryNotFoundError(self.repo_id)
        return in_cache if info is None else [file.rfilename for file in info.siblings or ()]

    def download(self, name: str, revision: str | None) -> Path:
        """Downloads a file into the cache, unless it is cached, and checks its hash."""
        known = try_to_load_from_cache(self.repo_id, name, cache_dir=self.cache_dir, revision=revision)
        try:
            path = client(self.token).hf_hub_download(
                self.repo_id,
                name,
                revision=revision,
                cache_dir=self.cache_dir,
                local_files_only=self.local_files_only,
                force_download=self.force_download,
            )
        except HTTPError as error:
            if isinstance(error, HfHubHTTPError) or not isinstance(known, str):
                raise
            return Path(known)  # the connection failed; the cached file is used
        if self.force_download or not isinstance(known, str):
            verify_download(Path(path), self.repo_id)
        return Path(path)

    def _cached_files(self) -> list[str]:
        """Returns the names of the model's files in the cache."""
        folder = repo_folder_name(repo_id=self.repo_id, repo_type="model")
        home = Path(self.cache_dir or constants.HF_HUB_CACHE, folder)
        ref = home / "refs" / (self.revision or constants.DEFAULT_REVISION)
        commit = ref.read_text(encoding="utf-8") if ref.is_file() else str(self.revision)
        snapshot = home / "snapshots" / commit
        return [path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file()]


def cached_config(
    repo_id: str, *, revision: str | None = None, cache_dir: str | Path | None = None
) -> dict[str, Any]:
    """Returns the config of a downloaded model; empty if there is none."""
    path = try_to_load_from_cache(repo_id, CONFIG, cache_dir=cache_dir, revision=revision)
    return read_config(Path(path), repo_id) if isinstance(path, str) else {}
