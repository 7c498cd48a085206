"""onnxruntime-web, which the static Space runs: fetched by npm, checked, and unpacked beside the page.

The package is pinned in `spaces/browser/runtime.txt`, by its version and the SHA-512 that the npm registry
states. It is never part of hfsr: whoever publishes or serves the page fetches it.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hfsr import _resources
from hfsr.atomic import replacing
from hfsr.errors import HfsrError

from .web_model import cache_folder

__all__ = ["RUNTIME_FILES", "PinnedRuntime", "find_runtime", "pinned_runtime", "unpack_runtime"]

RUNTIME_FILES = (
    "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
    "ort.jspi.min.mjs",
    "ort-wasm-simd-threaded.jspi.mjs",
    "ort-wasm-simd-threaded.jspi.wasm",
)
"""Files of the package's `dist` that the page loads; the last three only for WebGPU."""
_LICENSE = "LICENSE-onnxruntime.txt"
_FETCH_SECONDS = 600


@dataclass(frozen=True)
class PinnedRuntime:
    """The version of the runtime that the page is tested with.

    Attributes:
        package: its name in the npm registry.
        version: its version.
        integrity: digest of the package's file, as npm writes it: "sha512-" and base64.
    """

    package: str
    version: str
    integrity: str

    @property
    def file_name(self) -> str:
        """Name of the file that `npm pack` writes."""
        return f"{self.package}-{self.version}.tgz"

    def check(self, file: Path) -> None:
        """Raises HfsrError unless the file is this version of the package."""
        try:
            digest = hashlib.sha512(file.read_bytes()).digest()
        except OSError as error:
            raise HfsrError(
                f"'{file}' cannot be read ({error.strerror}); name the file that "
                f"'npm pack {self.package}@{self.version}' writes"
            ) from error
        if self.integrity != f"sha512-{base64.b64encode(digest).decode()}":
            raise HfsrError(
                f"'{file}' is not {self.package} {self.version}: its SHA-512 differs from the pinned one; "
                f"make it with 'npm pack {self.package}@{self.version}'"
            )


def pinned_runtime() -> PinnedRuntime:
    """Reads `runtime.txt` of the static Space."""
    text = (_resources.path("spaces", "browser") / "runtime.txt").read_text(encoding="utf-8")
    name, integrity = text.split()
    package, _, version = name.rpartition("@")
    return PinnedRuntime(package, version, integrity)


def find_runtime(file: Path | None = None) -> Path:
    """Returns the package's file, checked: the given one, the cached one, or a new one from npm.

    Args:
        file: a .tgz that is already there.

    Raises:
        HfsrError: it is another version, or npm is missing or cannot fetch it.
    """
    pinned = pinned_runtime()
    if file is not None:
        pinned.check(file)
        return file
    cached = cache_folder() / pinned.file_name
    if cached.is_file():
        pinned.check(cached)
        return cached
    cached.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="hfsr-") as folder:
        packed = _npm_pack(pinned, Path(folder))
        pinned.check(packed)
        with replacing(cached) as partial:
            shutil.copyfile(packed, partial)
    return cached


def unpack_runtime(file: Path, folder: Path) -> None:
    """Unpacks the files that the page loads, and the license, into a folder.

    Args:
        file: from `find_runtime`.
        folder: is made if needed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file) as package:
        for name in RUNTIME_FILES:
            try:
                source = package.extractfile(f"package/dist/{name}")
            except KeyError:
                source = None
            if source is None:
                raise HfsrError(f"'{file}' lacks {name}; runtime.txt pins a version that the page cannot run")
            with source, (folder / name).open("wb") as target:
                shutil.copyfileobj(source, target)
    shutil.copyfile(_resources.path("spaces", "browser") / _LICENSE, folder / _LICENSE)


def _npm_pack(pinned: PinnedRuntime, folder: Path) -> Path:
    name = f"{pinned.package}@{pinned.version}"
    advice = f"fetch {pinned.file_name} from the npm registry elsewhere and name it with --runtime FILE"
    npm = shutil.which("npm")
    if npm is None:
        raise HfsrError(f"the page needs {name}, and npm, which fetches it, is not installed; {advice}")
    try:
        done = subprocess.run(
            [npm, "pack", "--loglevel=error", name],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_FETCH_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise HfsrError(f"'npm pack {name}' took over {_FETCH_SECONDS} s; {advice}") from error
    packed = folder / pinned.file_name
    if done.returncode or not packed.is_file():
        lines = [line for line in done.stderr.splitlines() if "complete log" not in line and line.strip()]
        lines = lines or [f"exit code {done.returncode}"]
        raise HfsrError(f"'npm pack {name}' failed ({lines[-1][:200]}); {advice}")
    return packed
