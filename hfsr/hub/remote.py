"""The Hub's client: the only module that talks to the Hub, and the one that puts its errors into words."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from huggingface_hub import HfApi, constants, get_token, try_to_load_from_cache
from huggingface_hub.errors import (
    DisabledRepoError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HTTPError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import (
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
    logging,
)

from hfsr import __version__
from hfsr.errors import HfsrError, HubError, suggest

from .layouts import CONFIG, WEIGHTS, choose_weights, parse

__all__ = [
    "CONFIG",
    "README",
    "WEIGHTS",
    "Fetched",
    "address",
    "check_bytes",
    "client",
    "fetch_card",
    "fetch_model",
    "in_words",
]

README = "README.md"
Kind = Literal["model", "data set", "Space"]
FOLDERS: dict[Kind, str] = {"model": "", "data set": "datasets/", "Space": "spaces/"}
"""Kind of a repository -> where the Hub keeps those, before the owner's name."""
REPO_TYPES: dict[Kind, str] = {"model": "model", "data set": "dataset", "Space": "space"}
LOG_IN = "log in with 'hf auth login' or set HF_TOKEN"


def client(token: str | None = None) -> HfApi:
    """The Hub's client, introducing itself as hfsr/<version>."""
    return HfApi(token=token, library_name="hfsr", library_version=__version__)


def address(repo_id: str, kind: Kind = "model") -> str:
    """Where a person finds a repository."""
    return f"{constants.ENDPOINT}/{FOLDERS[kind]}{repo_id}"


def fetch_card(repo_id: str, *, revision: str | None = None) -> str:
    """The text of a model's card on the Hub.

    Raises:
        HubError: there is no such model, it has no card, or it is out of reach.
    """
    with in_words(repo_id, revision=revision):
        known = try_to_load_from_cache(repo_id, README, revision=revision)
        path = Path(client().hf_hub_download(repo_id, README, revision=revision))
        if not isinstance(known, str):
            check_bytes(path, repo_id)
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
            check_bytes(path, repo_id)
        return path

    with in_words(repo_id, revision=revision):
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


def _cached_names(repo_id: str, revision: str | None, cache_dir: str | Path | None) -> list[str]:
    """The files of a model that are in the cache."""
    home = Path(cache_dir or constants.HF_HUB_CACHE, repo_folder_name(repo_id=repo_id, repo_type="model"))
    ref = home / "refs" / (revision or constants.DEFAULT_REVISION)
    snapshot = home / "snapshots" / (ref.read_text(encoding="utf-8") if ref.is_file() else str(revision))
    return [path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file()]


def check_bytes(path: Path, repo_id: str) -> None:
    """Compares a file just downloaded with its hash, its name in the cache; the client compares sizes only.

    Raises:
        HubError: they differ; the file is removed, so that the next attempt downloads it again.
    """
    if not path.is_symlink():  # a file system without links: the cache keeps no hash
        return
    blob = path.parent / path.readlink()  # one step: a shared store behind it has names of its own
    if re.fullmatch("[0-9a-f]{64}", blob.name):
        digest = hashlib.sha256()
    elif re.fullmatch("[0-9a-f]{40}", blob.name):
        digest = hashlib.sha1(b"blob %d\0" % blob.stat().st_size)
    else:
        return
    with blob.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    if digest.hexdigest() != blob.name:
        path.unlink()
        blob.unlink(missing_ok=True)
        raise HubError(
            f"{path.name} of '{repo_id}' arrived damaged (its hash differs); nothing was kept, try again"
        )


@contextmanager
def in_words(repo_id: str, *, revision: str | None = None, kind: Kind = "model") -> Iterator[None]:
    """Turns what the client raises in the block into one HubError that says what to do."""
    try:
        with _one_voice():
            yield
    except HfsrError:
        raise
    except (HTTPError, EntryNotFoundError, OSError, ValueError, RuntimeError) as error:
        raise HubError(_words(error, repo_id, revision, kind)) from error


@contextmanager
def _one_voice() -> Iterator[None]:
    """While the block runs, the client is silent about retries, and draws progress bars for people only."""
    verbosity = logging.get_verbosity()
    forced = constants.HF_HUB_DISABLE_PROGRESS_BARS is not None
    hide = not (forced or are_progress_bars_disabled() or sys.stderr.isatty() or "ipykernel" in sys.modules)
    logging.set_verbosity_error()
    if hide:
        disable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if hide:
            enable_progress_bars()


def _words(error: BaseException, repo_id: str, revision: str | None, kind: Kind) -> str:
    if (
        isinstance(error, RuntimeError) and error.__cause__ is not None
    ):  # how the client wraps a failed upload
        return _words(error.__cause__, repo_id, revision, kind)
    if isinstance(error, LocalTokenNotFoundError):
        return f"the Hub wants to know who you are and there is no token; {LOG_IN}"
    if isinstance(error, GatedRepoError):
        return f"'{repo_id}' is gated: ask for access at {address(repo_id, kind)}, then {LOG_IN}"
    if isinstance(error, DisabledRepoError):
        return f"'{repo_id}' has been disabled on the Hub; choose another {kind}"
    if isinstance(error, RepositoryNotFoundError):
        who = "your token may not see it" if get_token() else "it is private and you are not logged in"
        return f"the Hub has no {kind} '{repo_id}', or {who}; check the name, or {LOG_IN}"
    if isinstance(error, RevisionNotFoundError):
        return f"'{repo_id}' has no revision '{revision}'{suggest(revision or '', _revisions(repo_id, kind))}"
    if isinstance(error, HfHubHTTPError):
        return _status_words(error, repo_id, kind)
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, so the Hub is not asked; unset it to work with the Hub"
    if isinstance(error, LocalEntryNotFoundError):
        return _uncached_words(error, repo_id, revision, kind)
    if isinstance(error, (HTTPError, ConnectionError, TimeoutError)):
        return (
            f"the Hub at {constants.ENDPOINT} is out of reach ({type(error).__name__}); "
            "check the connection and repeat the command"
        )
    if isinstance(error, OSError) and "Consistency check" in str(error):
        return f"a download from '{repo_id}' ended early; nothing was kept, try again"
    return f"'{repo_id}' on the Hub: {' '.join(str(error).split())}"


def _status_words(error: HfHubHTTPError, repo_id: str, kind: Kind) -> str:
    status = error.response.status_code
    said = " ".join((error.server_message or "").split()) or f"status {status}"
    if status == 401:
        return (
            f"the Hub does not accept the token ({said}); make a new one in your settings there and {LOG_IN}"
        )
    if status == 402 and kind == "Space":
        return (
            f"the Hub wants a paid plan for this Gradio Space or its hardware ({said}); subscribe there, "
            "choose --hardware or an owner that has one, or run the same page here with 'hfsr demo'"
        )
    if status == 402:
        return (
            f"the Hub wants a paid plan for this ({said}); see its pricing, or choose another owner "
            f"for '{repo_id}'"
        )
    if status == 403:
        return (
            f"the token may not write to '{repo_id}' ({said}); use a token with write access, "
            "an owner you belong to, or --create-pr"
        )
    if status == 412:
        return f"'{repo_id}' changed while this ran ({said}); look at what is there and run the command again"
    if status == 429:
        return f"the Hub asks for a pause ({said}); wait some minutes and repeat the command"
    if status >= 500:
        return f"the Hub at {constants.ENDPOINT} has trouble (status {status}); try again later"
    return f"the Hub refused '{repo_id}' (status {status}: {said})"


def _uncached_words(error: BaseException, repo_id: str, revision: str | None, kind: Kind) -> str:
    """Nothing in the cache, and the Hub was not to be asked, or could not be, or gave no useful answer."""
    cause = error.__cause__
    if cause is not None and not isinstance(cause, OfflineModeIsEnabled):
        return _words(cause, repo_id, revision, kind)
    at = f" at revision '{revision}'" if revision else ""
    why = "HF_HUB_OFFLINE is set" if constants.is_offline_mode() else "local_files_only is set"
    return f"'{repo_id}'{at} is not in the cache and {why}; go online once to download it"


def _revisions(repo_id: str, kind: Kind) -> Iterable[str]:
    """Branches and tags of a repository, as far as the Hub tells them."""
    try:
        refs = client().list_repo_refs(repo_id, repo_type=REPO_TYPES[kind])
    except (HTTPError, OSError):
        return []  # the list only improves an error message
    return [ref.name for ref in [*refs.branches, *refs.tags]]
