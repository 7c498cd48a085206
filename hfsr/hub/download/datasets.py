"""Folders of pictures in data sets on the Hub, wherever a folder of this machine can be named."""

from __future__ import annotations

import re
from pathlib import Path

from hfsr.errors import HubError, OptionsError

__all__ = ["ADDRESS", "PREFIX", "local_folder"]

PREFIX = "hf://"
ADDRESS = re.compile(
    r"hf://datasets/(?P<repo>[\w.-]+/[\w.-]+?)(@(?P<revision>[^/]+))?(/(?P<folder>[^*?\[\]]*?))?/?"
)


def local_folder(place: str | Path) -> Path:
    """The folder on this machine that a name stands for; one on the Hub is brought into the client's cache.

    Args:
        place: a folder, or "hf://datasets/owner/name/folder"; "name@revision" for a branch, tag or commit.

    Raises:
        OptionsError: an address on the Hub that is not of that form.
        HubError: there is no such data set or folder, it is out of reach, or it arrived damaged.
    """
    if not str(place).startswith(PREFIX):
        return Path(place)
    match = ADDRESS.fullmatch(str(place))
    if match is None or ".." in (match["folder"] or "").split("/"):
        raise OptionsError(
            f"'{place}' is no folder of a data set on the Hub: write hf://datasets/owner/name/folder"
        )
    return _fetch(match["repo"], match["revision"], match["folder"] or "")


def _fetch(repo_id: str, revision: str | None, folder: str) -> Path:
    from huggingface_hub import constants  # here, as folders of this machine need no client of the Hub
    from huggingface_hub.file_download import repo_folder_name

    from hfsr.hub.client import client, translate_errors

    from .fetch import damaged_message, is_intact, remove_blob

    blobs = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=repo_id, repo_type="dataset"), "blobs")
    known = set(blobs.glob("*"))
    with translate_errors(repo_id, revision=revision, kind="data set"):
        try:
            snapshot = client().snapshot_download(
                repo_id,
                repo_type="dataset",
                revision=revision,
                allow_patterns=[f"{folder}/*"] if folder else None,
            )
        finally:  # also where another file stopped it: next time these would be known
            bad = [blob for blob in set(blobs.glob("*")) - known if not is_intact(blob)]
            for blob in bad:
                remove_blob(blob)
        if bad:
            raise HubError(damaged_message(f"{len(bad)} of the files", repo_id))
    there = Path(snapshot, folder)
    if not there.is_dir():
        raise HubError(
            f"the data set '{repo_id}' on the Hub has no folder '{folder}'; look at its files there"
        )
    return there
