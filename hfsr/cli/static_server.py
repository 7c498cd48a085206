"""Server of the static Space on this machine, with the headers that its `custom_headers` set on the Hub."""

from __future__ import annotations

import functools
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from hfsr.errors import HfsrError

__all__ = ["FIRST_PORT", "HEADERS", "static_server"]

HEADERS = {
    # Cross-origin isolation: without it a page gets no shared memory, and the runtime one thread.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
FIRST_PORT = 7860
_PORTS = 100


class _Handler(SimpleHTTPRequestHandler):
    """Serves the files of one folder, without listings and without a log."""

    extensions_map = {  # noqa: RUF012  # an attribute of the base class
        ".html": "text/html; charset=utf-8",
        ".css": "text/css; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".mjs": "text/javascript; charset=utf-8",
        ".json": "application/json",
        ".wasm": "application/wasm",
        ".png": "image/png",
        ".webp": "image/webp",
        ".svg": "image/svg+xml",
        "": "application/octet-stream",
    }
    protocol_version = "HTTP/1.1"
    isolated = True

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            if self.isolated or not name.startswith("Cross-Origin-"):
                self.send_header(name, value)
        super().end_headers()

    def list_directory(self, path: object) -> None:
        self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:
        """Logs nothing: the page's address is printed once, and requests say nothing to its user."""


class _PlainHandler(_Handler):
    isolated = False


def static_server(
    folder: Path, *, host: str = "127.0.0.1", port: int | None = None, isolated: bool = True
) -> ThreadingHTTPServer:
    """Returns a server of a folder that listens; `serve_forever` runs it.

    Args:
        folder: from `stage_static_space`.
        host: address to listen on.
        port: to listen on; the first free one from 7860 if None, any free one if 0.
        isolated: False leaves out the headers of cross-origin isolation, as hosts without such headers do.

    Raises:
        HfsrError: it cannot listen there.
    """
    handler = functools.partial(_Handler if isolated else _PlainHandler, directory=str(folder))
    ports = range(FIRST_PORT, FIRST_PORT + _PORTS) if port is None else (port,)
    for candidate in ports:
        try:
            return ThreadingHTTPServer((host, candidate), handler)
        except (OSError, OverflowError) as error:
            caught = error
    where = host if port is None else f"{host}, port {port}"
    raise HfsrError(f"the page cannot be served on {where}: {caught}; choose another place")
