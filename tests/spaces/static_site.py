"""The static Space, staged and served for tests, and the file of onnxruntime-web that it needs."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hfsr.cli.static_server import static_server
from hfsr.publishing.web_model import cache_folder
from hfsr.publishing.web_runtime import pinned_runtime

RUNTIME = "HFSR_TEST_RUNTIME"
"""Environment variable: the .tgz of onnxruntime-web, which tests never fetch."""


def runtime_file() -> Path:
    """The runtime's file; skips the test if it is not on this machine."""
    pinned = pinned_runtime()
    given = os.environ.get(RUNTIME)
    file = Path(given) if given else cache_folder() / pinned.file_name
    if not file.is_file():
        pack = f"npm pack {pinned.package}@{pinned.version}"
        pytest.skip(f"no onnxruntime-web here: run '{pack}' and set {RUNTIME} to its file")
    return file


@contextmanager
def served_folder(folder: Path, *, isolated: bool = True) -> Iterator[str]:
    """Serves a staged Space from a thread; yields its address."""
    with static_server(folder, port=0, isolated=isolated) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join(timeout=20)
