"""Access that trackers need: keys, tokens and servers, looked for before anything is read."""

from __future__ import annotations

import netrc
import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

from hfsr.errors import HfsrError
from hfsr.options.models import VisdomOptions, WandbOptions

__all__ = ["check_visdom_server", "has_wandb_key", "wandb_mode"]

_SECONDS = 3.0
"""To wait for an answer of a server."""


def wandb_mode(section: WandbOptions) -> tuple[str | None, str | None]:
    """The mode that wandb runs in, and a line that says why it is not the default.

    Returns:
        `mode` of the option file, or None for what WANDB_MODE says; "offline" where neither is given and
        there is no key to log in with.

    Raises:
        HfsrError: the option file asks for "online" and there is no key.
    """
    if section.mode == "offline" or os.environ.get("WANDB_MODE") or has_wandb_key():
        return section.mode, None
    if section.mode == "online":
        raise HfsrError(
            "logger.wandb.mode: online needs a key, and there is none; run: wandb login, or set "
            "WANDB_API_KEY, or use mode: offline"
        )
    return "offline", (
        "logger.wandb: there is no key to log in with, so curves are written to 'wandb/' on this machine; "
        "send them later with: wandb sync (after wandb login)"
    )


def has_wandb_key() -> bool:
    """True if wandb finds a key without asking: in the environment, or where `wandb login` writes it."""
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
        except (OSError, netrc.NetrcParseError):  # none there, or none that wandb could read
            continue
    return False


def check_visdom_server(section: VisdomOptions) -> None:
    """
    Raises:
        HfsrError: nobody listens at its address.
    """
    host = urlsplit(section.server if "//" in section.server else f"//{section.server}").hostname
    try:
        socket.create_connection((host or "localhost", section.port), _SECONDS).close()
    except OSError as error:
        raise HfsrError(
            f"logger.visdom: no server answers at {section.server}:{section.port} "
            f"({error.strerror or error}); start one with: python -m visdom.server"
        ) from error
