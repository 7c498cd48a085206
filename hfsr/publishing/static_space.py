"""The static Space: `spaces/browser` with models and onnxruntime-web, staged for serving or upload."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from hfsr import _resources
from hfsr.errors import HfsrError, OptionsError
from hfsr.hub.download.repo_formats import README

from .web_model import MANIFEST, MODEL_FILE, cached_web_model, web_name
from .web_runtime import RUNTIME_FILES, find_runtime, pinned_runtime, unpack_runtime

__all__ = ["FIRST_LOAD", "MODELS", "SITE", "bundled_page_models", "stage_static_space"]

SITE = "site.json"
"""File that the page reads first: version, models, folder of the runtime, files to keep for offline use."""
MODELS = (
    *("hfsr-x2-photo", "hfsr-x2", "hfsr-denoise", "hfsr-dejpeg"),
    *("hfsr-x2-small", "hfsr-x4-photo", "hfsr-x4", "hfsr-x3"),
)
"""Bundled models in the order of the page: those that the first visit loads come first."""
FIRST_LOAD = 20_000_000
"""Bytes that a first visit loads at most; models beyond that are loaded when they are used."""
_LEFT_OUT = shutil.ignore_patterns("runtime.txt", "LICENSE-onnxruntime.txt", "__pycache__", ".*")
_GPU_FILES = tuple(name for name in RUNTIME_FILES if "jspi" in name)


def bundled_page_models() -> list[str]:
    """Names of the bundled models, in the order of the page."""
    bundled = _resources.bundled_models()
    ordered = [name for name in MODELS if name in bundled]
    return ordered + [name for name in bundled if name not in MODELS]


def stage_static_space(
    folder: Path,
    models: Sequence[str] | None = None,
    *,
    repo_id: str | None = None,
    runtime: Path | None = None,
    report: Callable[[str], None] | None = None,
) -> Path:
    """Writes the files of the static Space: the page, the runtime, models and what it must know of them.

    Args:
        folder: is written; an earlier static Space in it is replaced.
        models: bundled names, local models and ids on the Hub, in the order of the page; the bundled ones if
            None.
        repo_id: of the Space; names it in its front matter.
        runtime: the .tgz of onnxruntime-web; from the cache or npm if None.
        report: is called with the name of each model before it is exported.

    Raises:
        OptionsError: no model, two of one name, or a folder that is not a static Space.
        HfsrError: the runtime cannot be had.
        CheckpointError, HubError, PlanError: a model cannot be loaded, or cannot run in a browser.
    """
    models = bundled_page_models() if models is None else list(models)
    _check_names(models)
    if folder.exists() and any(folder.iterdir()) and not (folder / SITE).is_file():
        raise OptionsError(
            f"'{folder}' is there and is no static Space; move it away, or work in another folder"
        )
    package = find_runtime(runtime)
    if folder.exists():
        shutil.rmtree(folder)
    try:
        shutil.copytree(_resources.path("spaces", "browser"), folder, ignore=_LEFT_OUT)
        shell = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        shell.remove(README)
        place = f"runtime/{pinned_runtime().version}"
        unpack_runtime(package, folder / place)
        manifests = {}
        for name in models:
            if report is not None:
                report(name)
            at = f"models/{web_name(name)}"
            manifests[at] = cached_web_model(name, folder / at)
        site = _site(folder, shell, f"{place}/", manifests)
        (folder / SITE).write_text(json.dumps(site, indent=2) + "\n", encoding="utf-8")
        _edit_readme(folder / README, repo_id, [name for name in models if _is_on_hub(name)])
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


def _check_names(models: Sequence[str]) -> None:
    if not models:
        raise OptionsError("the page needs a model to offer; name one with --model owner/name")
    names = [web_name(name) for name in models]
    if twice := [name for name in names if names.count(name) > 1]:
        raise OptionsError(f"two models are named '{twice[0]}' on the page; leave one out")


def _site(folder: Path, shell: list[str], runtime: str, manifests: dict[str, Any]) -> dict[str, Any]:
    """The content of `site.json`."""
    small = [*shell, *(f"{at}/{MANIFEST}" for at in manifests)]
    kept = [f"{runtime}{name}" for name in RUNTIME_FILES if name not in _GPU_FILES]
    total = sum((folder / name).stat().st_size for name in [*small, *kept])
    for at, manifest in manifests.items():
        if total + manifest["bytes"] > FIRST_LOAD:
            break
        total += manifest["bytes"]
        kept.append(_model_url(at, manifest))
    digest = hashlib.sha256()
    for name in small:
        digest.update(name.encode() + (folder / name).read_bytes())
    return {
        "version": digest.hexdigest()[:16],
        "runtime": runtime,
        "models": [
            {"manifest": f"{at}/{MANIFEST}", "url": _model_url(at, manifest)}
            for at, manifest in manifests.items()
        ],
        "small": small,
        "large": kept,
        "first_load": total,
    }


def _model_url(at: str, manifest: dict[str, Any]) -> str:
    """Address of a model's file, which changes with its content so that it can be kept for good."""
    return f"{at}/{MODEL_FILE}?sha256={manifest['sha256'][:16]}"


def _is_on_hub(name: str) -> bool:
    return "/" in name and name not in _resources.bundled_models() and not Path(name).exists()


def _edit_readme(path: Path, repo_id: str | None, models: list[str]) -> None:
    """Writes title and models into the front matter."""
    _, front, body = path.read_text(encoding="utf-8").split("---\n", 2)
    fields = yaml.safe_load(front)
    if not isinstance(fields, dict):
        raise HfsrError("the front matter of the static Space is no mapping; install hfsr again")
    if repo_id is not None:
        fields["title"] = repo_id.rsplit("/", 1)[-1]
    fields["models"] = models
    dumped = yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)
    path.write_text(f"---\n{dumped}---\n{body}", encoding="utf-8")
