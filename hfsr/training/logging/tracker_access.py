"""Keys, tokens and servers that trackers need; checked before the data is read."""

from __future__ import annotations

import netrc
import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

from hfsr.errors import HfsrError
from hfsr.options.sections import VisdomOptions, WandbOptions

__all__ = ["check_visdom_server", "has_wandb_key", "wandb_mode"]

_SECONDS = 3.0
"""Timeout of a server."""


def wandb_mode(section: WandbOptions) -> tuple[str | None, str | None]:
    """Returns the mode of wandb, and a line that explains a mode other than the default.

    Returns:
        `mode` of the option file, or None, which leaves it to WANDB_MODE; "offline" if neither is given and
        there is no API key.

    Raises:
        HfsrError: if the option file asks for "online" and there is no key.
    """
    if section.mode == "offline" or os.environ.get("WANDB_MODE") or has_wandb_key():
        return section.mode, None
    if section.mode == "online":
        raise HfsrError(
            "logger.wandb.mode: online needs an API key, and there is none; run: wandb login, or set "
            "WANDB_API_KEY, or use mode: offline"
        )
    return "offline", (
        "logger.wandb: there is no API key, so curves are written to 'wandb/' on this machine; "
        "send them later with: wandb sync (after wandb login)"
    )


def has_wandb_key() -> bool:
    """Returns True if wandb finds a key in the environment or in the file of `wandb login`."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    candidates = [Path.home() / ".netrc", Path.home() / "_netrc"]
    if given := os.environ.get("NETRC"):
        candidates = [Path(given).expanduser()]
    for path in candidates:
        try:
            if host in netrc.netrc(path).hosts:
                return True
        except (OSError, netrc.NetrcParseError):  # missing, or unreadable for wandb too
            continue
    return False


def check_visdom_server(section: VisdomOptions) -> None:
    """Checks that a visdom server is running.

    Raises:
        HfsrError: if no server answers at the address.
    """
    host = urlsplit(section.server if "//" in section.server else f"//{section.server}").hostname
    try:
        socket.create_connection((host or "localhost", section.port), _SECONDS).close()
    except OSError as error:
        raise HfsrError(
            f"logger.visdom: no server answers at {section.server}:{section.port} "
            f"({error.strerror or error}); start one with: python -m visdom.server"
        ) from error
