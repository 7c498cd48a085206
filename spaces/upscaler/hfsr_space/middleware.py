"""What every request passes before gradio sees it.

Gradio fetches pictures that are given by a web address, for any input of any event, and hands out what it
finds at `/file=ADDRESS`. Here nothing is fetched but the chosen model. It also takes requests of any size.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import SimpleCookie
from typing import Any

from . import limits
from .sessions import COOKIE

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

NO_ADDRESSES = "this page fetches nothing from the web; save the picture and send the file itself"
ROOM = 100_000
"""Bytes that an upload takes beside its file."""


class TooLarge(Exception):  # noqa: N818 - it is the door's own, and never gets out
    """A request goes on past its limit."""


class Door:
    """Refuses web addresses in place of files, and requests that are too large; gives browsers their cookie.

    Args:
        app: what stands behind it, an ASGI application.
    """

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path, method = scope["path"], scope["method"]
        if "/file=http:" in path or "/file=https:" in path:
            await _answer(send, 403, NO_ADDRESSES)
            return
        if method == "GET" and path == scope.get("root_path", "") + "/":
            send = _with_cookie(scope, send)
        upload = path.rstrip("/").endswith("/upload")
        counted = _counted(receive, limits.MAX_UPLOAD + ROOM if upload else limits.MAX_REQUEST)
        try:
            if method == "POST" and not upload:
                body = await _body(counted)
                if _names_an_address(body):
                    await _answer(send, 422, _invalid(NO_ADDRESSES))
                    return
                counted = _again(body, receive)
            await self.app(scope, counted, send)
        except TooLarge:
            await _answer(
                send, 413, f"the request is too large; files up to {limits.MAX_UPLOAD / 1e6:.0f} MB are taken"
            )


def _counted(receive: Receive, most: int) -> Receive:
    """Receives up to `most` bytes of a body. Raises TooLarge past that."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > most:
            raise TooLarge
        return message

    return counted


async def _body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """Hands over a body that was read already, and then what comes after it: the visitor's leaving."""
    unread = True

    async def again() -> Message:
        nonlocal unread
        if unread:
            unread = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return again


def _names_an_address(body: bytes) -> bool:
    """Whether a file is given by a web address anywhere in a JSON body, as gradio would look for it."""
    try:
        waiting = [json.loads(body)]
    except (ValueError, RecursionError):
        return False  # gradio refuses what it cannot read
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            path = value.get("path")
            if isinstance(path, str) and path.startswith(("http://", "https://")):
                return True
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return False


def _with_cookie(scope: Message, send: Send) -> Send:
    """Adds the visitor's cookie to the answer, where the browser has none; it ends with the browser."""
    headers = dict(scope["headers"])
    if COOKIE in SimpleCookie(headers.get(b"cookie", b"").decode("latin-1")):
        return send
    secure = scope.get("scheme") == "https" or headers.get(b"x-forwarded-proto", b"").startswith(b"https")
    # On the Hub the page is shown inside another one, where only such cookies are kept.
    place = "SameSite=None; Secure; Partitioned" if secure else "SameSite=Lax"
    cookie = f"{COOKIE}={secrets.token_urlsafe(16)}; Path=/; HttpOnly; {place}"

    async def send_with_cookie(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), (b"set-cookie", cookie.encode())]
        await send(message)

    return send_with_cookie


def _invalid(message: str) -> list[dict[str, Any]]:
    """A refusal as gradio's own client understands it."""
    return [{"__type__": "validate", "is_valid": False, "message": message, "parameter_name": "image"}]


async def _answer(send: Send, status: int, detail: Any) -> None:
    body = json.dumps({"detail": detail}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
