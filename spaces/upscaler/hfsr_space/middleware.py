"""ASGI middleware that filters requests before they reach Gradio.

Gradio downloads an image that is given by its URL, for any input of any event, and serves the download at
`/file=URL`. This Space must download nothing but models, so such requests are rejected, except for URLs of
uploads to this Space, which are replaced by their paths: MCP clients name files by URLs. Requests that are
too large are rejected too, because Gradio has no limit for them, and calls of endpoints that do not exist,
which make Gradio drop the connection.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import unquote

from . import limits
from .sessions import COOKIE

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

URLS_NOT_ALLOWED = "this page downloads nothing from the web; save the image and send the file itself"
_MCP = re.compile(r"/gradio_api/mcp(/http)?/?$")
_OWN_FILE = "/gradio_api/file="
_CALL = re.compile(r"/call/(?:v2/)?([^/]+)/?$")
UPLOAD_OVERHEAD = 100_000
"""Bytes of an upload request besides the file."""


class RequestTooLargeError(Exception):
    """Raised inside the middleware if a request exceeds its size limit; never leaves the middleware."""


class UrlError(Exception):
    """Raised inside the middleware if a request names a file on another server; never leaves it."""


class RequestFilter:
    """ASGI middleware that rejects invalid requests and sets the session cookie.

    Args:
        app: the wrapped ASGI application.
        endpoints: names of the API endpoints; None does not check them.
    """

    def __init__(
        self, app: Callable[..., Awaitable[None]], *, endpoints: Collection[str] | None = None
    ) -> None:
        self.app = app
        self.endpoints = endpoints

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path, method = scope["path"], scope["method"]
        if "/file=http:" in path or "/file=https:" in path:
            await _respond(send, 403, URLS_NOT_ALLOWED)
            return
        call = _CALL.search(path)
        if call and method == "POST" and self.endpoints is not None and call[1] not in self.endpoints:
            names = ", ".join(f"/{name}" for name in sorted(self.endpoints))
            await _respond(send, 404, f"there is no endpoint '/{call[1]}'; use one of {names}")
            return
        if method == "GET" and path == scope.get("root_path", "") + "/":
            send = _add_cookie(scope, send)
        is_upload = path.rstrip("/").endswith("/upload")
        max_bytes = limits.MAX_UPLOAD + UPLOAD_OVERHEAD if is_upload else limits.MAX_REQUEST
        if _MCP.search(path):  # with a file in base64
            max_bytes = limits.MAX_UPLOAD * 4 // 3 + UPLOAD_OVERHEAD
        limited = _limit_body(receive, max_bytes)
        try:
            if method == "POST" and not is_upload:
                try:
                    body = _without_urls(await _read_body(limited))
                except UrlError:
                    await _respond(send, 422, _validation_error(URLS_NOT_ALLOWED))
                    return
                scope["headers"] = [
                    (name, str(len(body)).encode() if name == b"content-length" else value)
                    for name, value in scope["headers"]
                ]
                limited = _replay_body(body, receive)
            await self.app(scope, limited, send)
        except RequestTooLargeError:
            max_mb = f"{limits.MAX_UPLOAD / 2**20:.0f} MB"
            await _respond(send, 413, f"the request is too large; files may have up to {max_mb}")


def _limit_body(receive: Receive, max_bytes: int) -> Receive:
    """Wraps `receive` so that it raises RequestTooLargeError after `max_bytes` bytes of the body."""
    total = 0

    async def limited() -> Message:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        if total > max_bytes:
            raise RequestTooLargeError
        return message

    return limited


async def _read_body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _replay_body(body: bytes, receive: Receive) -> Receive:
    """Returns a `receive` that first delivers a body that was already read, then further messages."""
    is_unread = True

    async def replay() -> Message:
        nonlocal is_unread
        if is_unread:
            is_unread = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return replay


def _without_urls(body: bytes) -> bytes:
    """Returns a JSON body with paths instead of URLs of own uploads; finds files by the rule of Gradio.

    Raises:
        UrlError: the body gives a file by another URL anywhere.
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return body  # Gradio rejects invalid JSON
    pending, is_changed = [content], False
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            path = value.get("path")
            if isinstance(path, str) and path.startswith(("http://", "https://")):
                _, is_own, file = path.partition(_OWN_FILE)
                if not is_own or file.startswith(("http:", "https:")):
                    raise UrlError
                # Gradio and the job check that the path is that of an upload.
                value |= {"path": unquote(file), "url": None}
                is_changed = True
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)
    return json.dumps(content).encode() if is_changed else body


def _add_cookie(scope: Message, send: Send) -> Send:
    """Wraps `send` so that it sets the session cookie, unless the browser already has it."""
    headers = dict(scope["headers"])
    if COOKIE in SimpleCookie(headers.get(b"cookie", b"").decode("latin-1")):
        return send
    is_secure = scope.get("scheme") == "https" or headers.get(b"x-forwarded-proto", b"").startswith(b"https")
    # The Hub shows the page in an iframe, where browsers keep only such cookies.
    attributes = "SameSite=None; Secure; Partitioned" if is_secure else "SameSite=Lax"
    cookie = f"{COOKIE}={secrets.token_urlsafe(16)}; Path=/; HttpOnly; {attributes}"

    async def send_with_cookie(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), (b"set-cookie", cookie.encode())]
        await send(message)

    return send_with_cookie


def _validation_error(message: str) -> list[dict[str, Any]]:
    """Returns an error in the format that gradio_client understands."""
    return [{"__type__": "validate", "is_valid": False, "message": message, "parameter_name": "image"}]


async def _respond(send: Send, status: int, detail: Any) -> None:
    body = json.dumps({"detail": detail}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
