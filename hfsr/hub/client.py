"""Client of the Hub, and the translation of its exceptions into messages."""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from json import JSONDecodeError
from typing import Literal

from huggingface_hub import HfApi, constants, get_token
from huggingface_hub.errors import (
    DisabledRepoError,
    EntryNotFoundError,
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import (
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
    logging,
    validate_repo_id,
)

from hfsr import __version__
from hfsr.errors import HfsrError, HubError, OptionsError, suggest

__all__ = ["LOG_IN", "address", "check_repo_id", "client", "require_token", "translate_errors", "visibility"]

Kind = Literal["model", "data set", "Space"]
FOLDERS: dict[Kind, str] = {"model": "", "data set": "datasets/", "Space": "spaces/"}
"""Kind of a repository -> part of its URL before the owner's name."""
REPO_TYPES: dict[Kind, str] = {"model": "model", "data set": "dataset", "Space": "space"}
XET_REFUSAL = re.compile(r"HTTP status \w+ error \((\d{3}) ([^)]*)\)")
"""Error text for a refused request of hf_xet, which sends its own requests."""
LOG_IN = "log in with 'hf auth login' or set HF_TOKEN"
REPO_ID = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*")


def client(token: str | bool | None = None) -> HfApi:
    """Creates a client that identifies itself as hfsr/<version>."""
    return HfApi(token=token, library_name="hfsr", library_version=__version__)


def address(repo_id: str, kind: Kind = "model") -> str:
    """Returns the URL of a repository."""
    return f"{constants.ENDPOINT}/{FOLDERS[kind]}{repo_id}"


def check_repo_id(repo_id: str) -> None:
    """Raises OptionsError unless the id has the form owner/name and the Hub allows it."""
    if not REPO_ID.fullmatch(repo_id):
        raise OptionsError(f"'{repo_id}' is not an id on the Hub: write owner/name, as in your-name/rcan-x4")
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        rule = " ".join(str(error).split()).removesuffix(".").removesuffix(f": '{repo_id}'")
        raise OptionsError(
            f"'{repo_id}' is not allowed as an id on the Hub ({rule}); choose another name"
        ) from error
    if any(part[-1] in "-." for part in repo_id.split("/")):
        raise OptionsError(
            f"'{repo_id}' is not allowed as an id on the Hub: owner and name must not end with '-' or '.'; "
            "choose another name"
        )


def visibility(repo_id: str) -> Literal["public", "private", "gated"]:
    """Returns the visibility of a model on the Hub.

    Raises:
        HubError: the model does not exist, or the Hub cannot be reached.
    """
    with translate_errors(repo_id):
        info = client().model_info(repo_id)
    if info.private:
        return "private"
    return "gated" if info.gated else "public"


def require_token(token: str | None = None) -> None:
    """Raises HubError if there is no token; the Hub checks later whether it is valid."""
    if not (token or get_token()):
        raise HubError(f"publishing needs a token of the Hub with write access and there is none; {LOG_IN}")


@contextmanager
def translate_errors(repo_id: str, *, revision: str | None = None, kind: Kind = "model") -> Iterator[None]:
    """Translates exceptions of the client into a HubError that states the problem and its solution."""
    try:
        with _quiet_client():
            yield
    except HfsrError:
        raise
    except (HTTPError, EntryNotFoundError, OSError, ValueError, KeyError, RuntimeError) as error:
        raise HubError(_message(error, repo_id, revision, kind)) from error


@contextmanager
def _quiet_client() -> Iterator[None]:
    """Silences the client's messages about retries, and its progress bars unless stderr is a terminal."""
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


def _message(error: BaseException, repo_id: str, revision: str | None, kind: Kind) -> str:
    if isinstance(error, RuntimeError) and error.__cause__ is not None:  # the client wraps a failed upload
        return _message(error.__cause__, repo_id, revision, kind)
    if isinstance(error, LocalTokenNotFoundError):
        return f"the Hub requires a login, and there is no token; {LOG_IN}"
    if isinstance(error, GatedRepoError):
        return f"'{repo_id}' is gated: request access at {address(repo_id, kind)}, then {LOG_IN}"
    if isinstance(error, DisabledRepoError):
        return f"'{repo_id}' has been disabled on the Hub; choose another {kind}"
    if isinstance(error, RepositoryNotFoundError):
        who = "your token may not see it" if get_token() else "it is private and you are not logged in"
        return f"the Hub has no {kind} '{repo_id}', or {who}; check the name, or {LOG_IN}"
    if isinstance(error, RevisionNotFoundError):
        return f"'{repo_id}' has no revision '{revision}'{suggest(revision or '', _revisions(repo_id, kind))}"
    if isinstance(error, HfHubHTTPError):
        reason = " ".join((error.server_message or "").split())
        reading = error.response.request.method in ("GET", "HEAD")
        return _status_message(error.response.status_code, reason, repo_id, kind, reading=reading)
    if isinstance(error, ConnectionError) and (refusal := XET_REFUSAL.search(str(error))):
        reading = "xet-write-token" not in str(error)
        return _status_message(int(refusal[1]), refusal[2], repo_id, kind, reading=reading)
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, so no request is sent; unset it to use the Hub"
    if isinstance(error, LocalEntryNotFoundError):
        return _not_cached_message(error, repo_id, revision, kind)
    return _local_message(error, repo_id)


def _local_message(error: BaseException, repo_id: str) -> str:
    """Returns the message for an error of the connection, the transfer or the disk."""
    if isinstance(error, (HTTPError, ConnectionError, TimeoutError)):
        return (
            f"the Hub at {constants.ENDPOINT} is out of reach ({type(error).__name__}); "
            "check the connection and repeat the command"
        )
    reason = " ".join(str(error).split())
    if isinstance(error, RuntimeError) and reason.startswith("Task error"):
        return (
            f"Xet, the storage of the Hub's large files, failed at '{repo_id}' ({reason}); "
            "repeat the command, with HF_HUB_DISABLE_XET=1 to disable Xet"
        )
    is_foreign = isinstance(error, (KeyError, JSONDecodeError, FileMetadataError))
    if is_foreign or reason.startswith("Xet headers"):
        return (
            f"{constants.ENDPOINT} sent a response that is not from the Hub; if your network shows a login "
            "page, log in there first, then repeat the command"
        )
    if isinstance(error, OSError) and "Consistency check" in reason:
        return f"a download from '{repo_id}' ended early; nothing was kept, try again"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk has no space for '{repo_id}'; free some, or set HF_HOME to a larger one"
    return f"'{repo_id}' on the Hub: {reason}; fix this and repeat the command"


def _status_message(status: int, reason: str, repo_id: str, kind: Kind, *, reading: bool) -> str:
    reason = reason or f"status {status}"
    if status == 401:
        return f"the Hub rejects the token ({reason}); create a new one in your settings and {LOG_IN}"
    if status == 402 and kind == "Space":
        return (
            f"the Hub requires a paid plan for this Gradio Space or hardware ({reason}); subscribe there, "
            "choose --hardware or an owner that has one, or run the same page here with 'hfsr demo'"
        )
    if status == 402:
        return (
            f"the Hub requires a paid plan for this ({reason}); see its pricing, or choose another owner "
            f"for '{repo_id}'"
        )
    if status == 403 and reading:
        return f"the Hub does not let you read '{repo_id}' ({reason}); ask its owner, or use a token that may"
    if status == 403:
        return (
            f"the token may not write to '{repo_id}' ({reason}); use a token with write access, "
            "an owner you belong to, or --create-pr"
        )
    if status == 412:
        return (
            f"'{repo_id}' changed during the upload ({reason}); check its content and run the command again"
        )
    if status == 429:
        return f"the Hub limits the rate of requests ({reason}); wait some minutes and repeat the command"
    if status >= 500:
        return f"the Hub at {constants.ENDPOINT} has trouble (status {status}); try again later"
    return f"the Hub refused '{repo_id}' (status {status}: {reason})"


def _not_cached_message(error: BaseException, repo_id: str, revision: str | None, kind: Kind) -> str:
    """Returns the message for an uncached file while the client is offline or got no valid response."""
    cause = error.__cause__
    if cause is not None and not isinstance(cause, OfflineModeIsEnabled):
        return _message(cause, repo_id, revision, kind)
    at = f" at revision '{revision}'" if revision else ""
    why = "HF_HUB_OFFLINE is set" if constants.is_offline_mode() else "local_files_only is set"
    return f"'{repo_id}'{at} is not in the cache and {why}; go online once to download it"


def _revisions(repo_id: str, kind: Kind) -> Iterable[str]:
    """Returns the branches and tags of a repository; empty if the Hub does not list them."""
    try:
        refs = client().list_repo_refs(repo_id, repo_type=REPO_TYPES[kind])
    except (HTTPError, OSError):
        return []  # the list only improves an error message
    return [ref.name for ref in [*refs.branches, *refs.tags]]
