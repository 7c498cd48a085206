"""Models for the browser: an ONNX file and a manifest that says what the page must know to run it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from torch import nn

from hfsr import __version__, _resources
from hfsr.atomic import replacing
from hfsr.errors import CheckpointError, HubError, OptionsError
from hfsr.hub.cards.card import check_card
from hfsr.hub.cards.results import damage_of, reports_from_card, setting_name
from hfsr.hub.cards.schema import TASKS
from hfsr.hub.download.cache_check import sha256_of
from hfsr.hub.download.resolve import find_local, from_pretrained, read_card, task_of
from hfsr.inference.conversion.web_export import export_web

__all__ = ["MANIFEST", "MODEL_FILE", "cache_folder", "cached_web_model", "web_name", "write_web_model"]

MANIFEST = "manifest.json"
MODEL_FILE = "model.onnx"
_FORMAT = 1
"""Version of the manifest's keys, which the page checks."""


def write_web_model(name: str, folder: Path) -> dict[str, Any]:
    """Writes `model.onnx` and `manifest.json` of a model; other files in the folder stay.

    Args:
        name: a bundled name, a model folder, a checkpoint or an id on the Hub.
        folder: is made if needed.

    Returns:
        The manifest.

    Raises:
        CheckpointError, HubError: the model cannot be loaded.
        PlanError: the network cannot run in a browser.
        OptionsError: `folder` is a file.
    """
    return _write(name, from_pretrained(name), folder)


def cached_web_model(name: str, folder: Path) -> dict[str, Any]:
    """`write_web_model`, from the cache if the same weights were exported by this version before."""
    model = from_pretrained(name)
    cached = cache_folder() / "web" / f"{web_name(name)}-{_digest(name, model)}"
    if not (cached / MANIFEST).is_file():
        _write(name, model, cached)
    folder.mkdir(parents=True, exist_ok=True)
    for file in (MODEL_FILE, MANIFEST):
        shutil.copyfile(cached / file, folder / file)
    manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return manifest


def web_name(name: str) -> str:
    """The name of a model on the page: the last part of its id or path, as an address can hold it."""
    last = name.rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1]
    last = Path(last).stem if Path(name).is_file() else last
    if last in ("", ".", ".."):
        last = Path(name).resolve().name
    return re.sub(r"[^A-Za-z0-9_.-]", "-", last)


def cache_folder() -> Path:
    """Folder for what can be made again: HFSR_CACHE, or `hfsr` in the user's cache folder."""
    if given := os.environ.get("HFSR_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hfsr"


def _write(name: str, model: nn.Module, folder: Path) -> dict[str, Any]:
    if folder.exists() and not folder.is_dir():
        raise OptionsError(f"'{folder}' is a file; name a folder for {MODEL_FILE} and {MANIFEST}")
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        facts = export_web(model, folder / MODEL_FILE)
    except BaseException:
        for path in made:
            path.rmdir()  # nothing half-written is left behind
        raise
    task = task_of(name, model)
    manifest = {
        "format": _FORMAT,
        "name": web_name(name),
        "source": name if find_local(name) is None else None,
        "task": task,
        "does": TASKS.get(task, f"is for {task}").format(scale=f"{facts.scale:g}"),
        **facts.to_json(),
        "file": MODEL_FILE,
        "bytes": (folder / MODEL_FILE).stat().st_size,
        "sha256": sha256_of(folder / MODEL_FILE),
        **_card_facts(name),
        "hfsr_version": __version__,
    }
    with replacing(folder / MANIFEST) as partial:
        partial.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return manifest


def _card_facts(name: str) -> dict[str, Any]:
    """License and measured numbers on the card; None and nothing if there is no card."""
    if name not in _resources.bundled_models() and (path := find_local(name)) and not path.is_dir():
        return {"license": None, "results": []}
    try:
        card = read_card(name)
        license = check_card(card).data.get("license")
    except (CheckpointError, HubError):
        return {"license": None, "results": []}
    results = [
        {
            "set": report["set"],
            "setting": setting_name(report),
            "images": report.get("images"),
            "psnr_y": report.get("psnr_y"),
            "ssim_y": report.get("ssim_y"),
            "baseline_psnr_y": report.get("bicubic_psnr_y"),
        }
        for report in reports_from_card(card)
        if damage_of(report) is None
    ]
    return {"license": license, "results": results}


def _digest(name: str, model: nn.Module) -> str:
    """Digest of the weights and of everything else that the manifest depends on."""
    digest = hashlib.sha256(f"{_FORMAT} {__version__} {name} {vars(model).get('model_args')}".encode())
    digest.update(json.dumps(_card_facts(name), default=str).encode())
    for key, value in model.state_dict().items():
        digest.update(key.encode())
        digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:24]
