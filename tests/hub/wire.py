"""HTTP as the Hub server of the tests speaks it: requests, answers, and answers that go wrong on purpose."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from .server import HubServer

__all__ = ["Answer", "Call", "Handler", "Request"]


PAGE = b"<!doctype html><title>Welcome to the train's network</title><a href='/login'>Log in</a>"


@dataclass(frozen=True)
class Call:
    """One request as the server saw it."""

    method: str
    path: str
    status: int
    agent: str
    token: str | None

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.status}"


class Answer(Exception):  # noqa: N818 - not an error: the way a route gives its answer early
    """An HTTP answer."""

    def __init__(
        self,
        status: int = 200,
        body: Any = b"",
        headers: dict[str, str] | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(status)
        self.status = status
        self.headers = dict(headers or {})
        if code:
            self.headers["X-Error-Code"] = code
        if status >= 400 and isinstance(body, str):
            self.headers["X-Error-Message"] = body
            body = {"error": body}
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.headers.setdefault("Content-Type", "application/json")


class Request:
    """What a route sees of one request."""

    def __init__(self, handler: Handler) -> None:
        parts = urlsplit(handler.path)
        self.server = handler.server
        self.method = handler.command
        self.path = parts.path
        self.query = parse_qs(parts.query)
        self.headers = handler.headers
        authorization = handler.headers.get("authorization")
        self.token = authorization.removeprefix("Bearer ") if authorization else None
        self.body = handler.read_body()

    def json(self) -> Any:
        return json.loads(self.body) if self.body else {}

    def ranged(self, data: bytes, headers: dict[str, str]) -> Answer:
        """The whole file, or what the Range header asks of it."""
        headers = {"Content-Type": "application/octet-stream", **headers}
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("range", ""))
        if not match:
            return Answer(200, data, headers)
        start = int(match[1])
        headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        return Answer(206, data[start:], headers)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer

    def read_body(self) -> bytes:
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def answer(self) -> None:
        kind = self.hub.take_fault(self.command, self.path)
        try:
            request = Request(self)
        except (ConnectionError, ValueError):  # the client went away while sending
            self.close_connection = True
            return
        if kind in ("cut", "stall"):
            if kind == "stall":
                self.hub.stalled.set()
                self.hub.go_on.wait(240)
            self._record(request, 0)
            self.close_connection = True
            return
        if kind == "lost":
            self._record(request, self.hub.answer(request).status)
            self.close_connection = True
            return
        answer = (
            Answer(int(kind), f"injected {kind}") if kind and kind.isdigit() else self.hub.answer(request)
        )
        self._record(request, answer.status)
        body = answer.body
        if kind == "page":
            answer, body = Answer(200, headers={"Content-Type": "text/html"}), PAGE
        elif kind == "wrong":
            body = bytes(255 - byte for byte in body)
        elif kind == "short":
            body = body[: len(body) // 2]
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if kind == "half" else body)
        if kind == "half":
            self.close_connection = True

    def _record(self, request: Request, status: int) -> None:
        call = Call(request.method, request.path, status, self.headers.get("user-agent", ""), request.token)
        self.hub.calls.append(call)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer  # noqa: N815

    def log_message(self, format: str, *_: object) -> None:
        """Keeps quiet: the calls are recorded."""
