"""The Hub's client as hfsr uses it, and what the Hub and the client complain of, put into words."""

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
)

from hfsr import __version__
from hfsr.errors import HfsrError, HubError, OptionsError, suggest

__all__ = ["LOG_IN", "address", "check_repo_id", "client", "require_token", "translate_errors"]

Kind = Literal["model", "data set", "Space"]
FOLDERS: dict[Kind, str] = {"model": "", "data set": "datasets/", "Space": "spaces/"}
"""Kind of a repository -> where the Hub keeps those, before the owner's name."""
REPO_TYPES: dict[Kind, str] = {"model": "model", "data set": "dataset", "Space": "space"}
XET_REFUSAL = re.compile(r"HTTP status \w+ error \((\d{3}) ([^)]*)\)")
"""How hf_xet, which asks the Hub on its own, tells that it was refused."""
LOG_IN = "log in with 'hf auth login' or set HF_TOKEN"

REPO_ID = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*")


def client(token: str | None = None) -> HfApi:
    """The Hub's client, introducing itself as hfsr/<version>."""
    return HfApi(token=token, library_name="hfsr", library_version=__version__)


def address(repo_id: str, kind: Kind = "model") -> str:
    """Where a person finds a repository."""
    return f"{constants.ENDPOINT}/{FOLDERS[kind]}{repo_id}"


def check_repo_id(repo_id: str) -> None:
    """Raises OptionsError unless it has the form owner/name."""
    if not REPO_ID.fullmatch(repo_id):
        raise OptionsError(f"'{repo_id}' is no id on the Hub: write owner/name, as in your-name/rcan-x4")


def require_token(token: str | None = None) -> None:
    """Raises HubError when there is no token to publish with; whether it is a good one, the Hub says."""
    if not (token or get_token()):
        raise HubError(f"publishing needs a token of the Hub with write access and there is none; {LOG_IN}")


@contextmanager
def translate_errors(repo_id: str, *, revision: str | None = None, kind: Kind = "model") -> Iterator[None]:
    """Turns what the client raises in the block into one HubError that says what to do."""
    try:
        with _one_voice():
            yield
    except HfsrError:
        raise
    except (HTTPError, EntryNotFoundError, OSError, ValueError, KeyError, RuntimeError) as error:
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
        said = " ".join((error.server_message or "").split())
        reading = error.response.request.method in ("GET", "HEAD")
        return _status_words(error.response.status_code, said, repo_id, kind, reading=reading)
    if isinstance(error, ConnectionError) and (refusal := XET_REFUSAL.search(str(error))):
        reading = "xet-write-token" not in str(error)
        return _status_words(int(refusal[1]), refusal[2], repo_id, kind, reading=reading)
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, so the Hub is not asked; unset it to work with the Hub"
    if isinstance(error, LocalEntryNotFoundError):
        return _uncached_words(error, repo_id, revision, kind)
    if isinstance(error, (HTTPError, ConnectionError, TimeoutError)):
        return (
            f"the Hub at {constants.ENDPOINT} is out of reach ({type(error).__name__}); "
            "check the connection and repeat the command"
        )
    said = " ".join(str(error).split())
    if isinstance(error, RuntimeError) and said.startswith("Task error"):
        return (
            f"Xet, which keeps the Hub's large files, failed at '{repo_id}' ({said}); repeat the command, "
            "with HF_HUB_DISABLE_XET=1 to go without Xet"
        )
    foreign = isinstance(error, (KeyError, JSONDecodeError, FileMetadataError))
    if foreign or said.startswith("Xet headers"):
        return (
            f"{constants.ENDPOINT} gave an answer that is none of the Hub's; where your network shows a page "
            "of its own, log in there first, then repeat the command"
        )
    if isinstance(error, OSError) and "Consistency check" in said:
        return f"a download from '{repo_id}' ended early; nothing was kept, try again"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"there is no room on this disk for '{repo_id}'; free some, or set HF_HOME to a larger one"
    return f"'{repo_id}' on the Hub: {said}; repeat the command when that is mended"


def _status_words(status: int, said: str, repo_id: str, kind: Kind, *, reading: bool) -> str:
    said = said or f"status {status}"
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
    if status == 403 and reading:
        return f"the Hub does not let you read '{repo_id}' ({said}); ask its owner, or use a token that may"
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
