"""Image folders of data sets on the Hub: `hf://datasets/owner/name/folder` in place of a local folder."""

from __future__ import annotations

import re
from pathlib import Path

from hfsr.errors import HubError, OptionsError

__all__ = ["ADDRESS", "PREFIX", "local_folder"]

PREFIX = "hf://"
ADDRESS = re.compile(
    r"hf://datasets/(?P<repo>[\w.-]+/[\w.-]+?)(@(?P<revision>[^/]+))?(/(?P<folder>[^*?\[\]]*?))?/?"
)


def local_folder(path: str | Path) -> Path:
    """Returns the local folder of a path; a folder on the Hub is downloaded into the client's cache.

    Args:
        path: a folder, or "hf://datasets/owner/name/folder"; "name@revision" for a branch, tag or commit.

    Raises:
        OptionsError: an address on the Hub that does not have this form.
        HubError: there is no such data set or folder, the Hub cannot be reached, or a download is damaged.
    """
    if not str(path).startswith(PREFIX):
        return Path(path)
    match = ADDRESS.fullmatch(str(path))
    if match is None or ".." in (match["folder"] or "").split("/"):
        raise OptionsError(
            f"'{path}' is not a data set folder on the Hub: write hf://datasets/owner/name/folder"
        )
    return _fetch(match["repo"], match["revision"], match["folder"] or "")


def _fetch(repo_id: str, revision: str | None, folder: str) -> Path:
    from huggingface_hub import constants  # not at the top: local folders need no client
    from huggingface_hub.file_download import repo_folder_name

    from hfsr.hub.client import client, translate_errors

    from .cache_check import damaged_message, is_intact, remove_blob

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
        finally:  # also if another file failed, because the next run would not check these files
            bad = [blob for blob in set(blobs.glob("*")) - known if not is_intact(blob)]
            for blob in bad:
                remove_blob(blob)
        if bad:
            raise HubError(damaged_message(f"{len(bad)} of the files", repo_id))
    local = Path(snapshot, folder)
    if not local.is_dir():
        raise HubError(
            f"the data set '{repo_id}' on the Hub has no folder '{folder}'; look at its files there"
        )
    return local
