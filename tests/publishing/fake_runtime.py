"""A stand-in for the file of onnxruntime-web: the same names, and its own digest as the pinned one."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
from pathlib import Path

from hfsr.publishing import static_space, web_runtime
from hfsr.publishing.web_runtime import RUNTIME_FILES, PinnedRuntime

__all__ = ["pin", "write_package"]


def write_package(path: Path, names: tuple[str, ...] = RUNTIME_FILES) -> PinnedRuntime:
    """Writes a package with these files; returns what pins it."""
    with tarfile.open(path, "w:gz") as package:
        for name in names:
            data = f"// {name}".encode()
            entry = tarfile.TarInfo(f"package/dist/{name}")
            entry.size = len(data)
            package.addfile(entry, io.BytesIO(data))
    digest = base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
    return PinnedRuntime("onnxruntime-web", "1.2.3", f"sha512-{digest}")


def pin(pinned: PinnedRuntime) -> None:
    """Pins another package than `runtime.txt` does, in this process."""
    web_runtime.pinned_runtime = lambda: pinned
    static_space.pinned_runtime = lambda: pinned
