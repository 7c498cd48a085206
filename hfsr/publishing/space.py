"""Gradio Spaces: `spaces/upscaler` with a menu of chosen models, staged and uploaded by `hfsr push-space`."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import yaml

from hfsr import __version__, _resources
from hfsr.errors import HubError, OptionsError
from hfsr.hub.client import address, visibility
from hfsr.hub.download.repo_formats import README
from hfsr.hub.download.resolve import float_model_of, from_pretrained, task_of
from hfsr.hub.upload import UploadResult, upload_space
from hfsr.model_zoo import check_restorer

__all__ = ["push_space", "space_notes", "stage_space"]

GROUPS = {"super-resolution": "Enlarge", "denoising": "Clean", "enhancement": "Correct"}
"""Task of a model -> group of the menu; other tasks are in "Restore"."""
IGNORED = shutil.ignore_patterns("__pycache__", ".*")


def stage_space(
    folder: Path,
    repo_id: str,
    models: Sequence[str],
    *,
    hardware: str | None = None,
    wheel: Path | None = None,
) -> Path:
    """Writes the files of a Space: the app, its menu and its front matter.

    Each model is loaded once, so that no Space is published with a model that cannot be loaded.

    Args:
        folder: is written; an earlier Space in it is replaced.
        repo_id: of the Space.
        models: bundled names and ids on the Hub, in the order of the menu.
        hardware: suggested in the front matter; as packaged if None.
        wheel: of hfsr, uploaded with the Space and installed there, as long as no package index has hfsr.

    Raises:
        OptionsError: no model, a local model, a wheel of another package, or a folder that is not a Space.
        CheckpointError, HubError: a model cannot be loaded.
    """
    if not models:
        raise OptionsError("a Space needs a model to offer; name one with --model owner/name")
    menu: dict[str, dict[str, str]] = {}
    for name in models:
        group, label = _menu_entry(name)
        menu.setdefault(group, {})[label] = name
    if folder.exists():
        if not (folder / "models.yml").is_file():
            raise OptionsError(
                f"'{folder}' is there and is no Space; move it away, or work in another folder"
            )
        shutil.rmtree(folder)
    shutil.copytree(_resources.path("spaces", "upscaler"), folder, ignore=IGNORED)
    comment = "# What the menu offers: task -> label -> model; the first one is chosen at the start.\n"
    (folder / "models.yml").write_text(
        comment + yaml.safe_dump(menu, sort_keys=False, allow_unicode=True), encoding="utf-8"
    )
    _edit_readme(folder / README, repo_id, [name for name in models if "/" in name], hardware)
    if wheel is not None:
        if not (wheel.is_file() and wheel.name.startswith("hfsr-") and wheel.suffix == ".whl"):
            raise OptionsError(f"'{wheel}' is no wheel of hfsr; make one with 'pip wheel --no-deps .'")
        shutil.copyfile(wheel, folder / wheel.name)
        url = f"{address(repo_id, 'Space')}/resolve/main/{wheel.name}"
        (folder / "requirements.txt").write_text(f"hfsr[demo] @ {url}\n", encoding="utf-8")
    return folder


def space_notes(
    repo_id: str, models: Sequence[str], *, private: bool = False, wheel: Path | None = None
) -> list[str]:
    """Notes for the publisher of a Space about what would fail there.

    Args:
        repo_id: of the Space.
        models: of its menu.
        private: the Space is visible to its owners only.
        wheel: of hfsr, uploaded with the Space.

    Raises:
        HubError: a model is not on the Hub, or out of reach.
    """
    notes = []
    for name in models if not private else ():
        if name not in _resources.bundled_models() and (state := visibility(name)) != "public":
            notes.append(
                f"'{name}' is {state}: visitors of the public Space '{repo_id}' cannot use it; make it "
                "public, make the Space private (--private), or give it a secret HF_TOKEN that may read it"
            )
    if wheel is None:
        notes.append(
            f"the Space installs hfsr[demo] from a package index, which must have hfsr {__version__}; if "
            "none has, build a wheel with 'pip wheel --no-deps .' in a checkout and give it with --wheel"
        )
    return notes


def push_space(
    folder: Path,
    repo_id: str,
    *,
    private: bool = False,
    hardware: str | None = None,
    sdk: str = "gradio",
) -> UploadResult:
    """Uploads a staged Space.

    Args:
        folder: from `stage_space` or `stage_static_space`.
        repo_id: of the Space.
        private: a new Space is visible to its owners only.
        hardware: of a new Space.
        sdk: of a new Space: "gradio" or "static".

    Raises:
        HubError: the Hub refuses or is out of reach; the message names the folder, which is kept.
    """
    try:
        return upload_space(folder, repo_id, private=private, hardware=hardware, sdk=sdk)
    except HubError as error:
        raise HubError(f"{error} ('{folder}' is kept)") from error


def _menu_entry(name: str) -> tuple[str, str]:
    """Group and label of a model on the menu."""
    if (original := float_model_of(name)) is not None:
        raise OptionsError(f"a Space gains nothing by '{name}', as it has no OpenVINO; name '{original}'")
    if name not in _resources.bundled_models() and ("/" not in name or Path(name).exists()):
        raise OptionsError(
            f"a Space cannot read '{name}' from this machine; publish it with 'hfsr push' and name its id"
        )
    model = from_pretrained(name)
    check_restorer(model)
    scale, label = float(getattr(model, "scale", 1)), name.rsplit("/", 1)[-1]
    if scale > 1:
        return GROUPS["super-resolution"], f"{scale:g} times, {label}"
    return GROUPS.get(task_of(name, model), "Restore"), label


def _edit_readme(path: Path, repo_id: str, models: list[str], hardware: str | None) -> None:
    """Writes title, models and hardware into the front matter, and the id into the text."""
    _, front, body = path.read_text(encoding="utf-8").split("---\n", 2)
    fields = yaml.safe_load(front)
    fields |= {"title": repo_id.rsplit("/", 1)[-1], "models": models}
    if models:
        fields["preload_from_hub"] = models  # at build time, so that the first visitor does not wait
    if hardware:
        fields["suggested_hardware"] = hardware
    dumped = yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)
    path.write_text(f"---\n{dumped}---\n{body.replace('OWNER/NAME', repo_id)}", encoding="utf-8")
