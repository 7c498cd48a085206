"""The Space on its way to the Hub: `spaces/upscaler` with a menu of one's own models."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import yaml

from hfsr import _resources
from hfsr.errors import OptionsError
from hfsr.hub.client import address
from hfsr.hub.download.repo_formats import README
from hfsr.hub.download.resolve import from_pretrained, task_of

__all__ = ["write_space"]

GROUPS = {"super-resolution": "Enlarge", "denoising": "Clean", "enhancement": "Correct"}
"""Task of a model -> what the menu calls it."""
LEFT_OUT = shutil.ignore_patterns("__pycache__", ".*")


def write_space(
    folder: Path,
    repo_id: str,
    models: Sequence[str],
    *,
    hardware: str | None = None,
    wheel: Path | None = None,
) -> Path:
    """Writes the Space's files: the app, its menu with these models, and its front matter.

    Each model is loaded once, so that a Space is not published with one that cannot be.

    Args:
        folder: where to; an earlier Space there is replaced.
        repo_id: of the Space.
        models: bundled names and ids on the Hub, in the order of the menu.
        hardware: what the front matter suggests; as packaged when None.
        wheel: of hfsr, to go along and be installed from there while no package index has it.

    Raises:
        OptionsError: no model, one that only this machine has, a wheel that is none of hfsr, or a folder that
            is there and holds something else.
        CheckpointError, HubError: a model cannot be loaded.
    """
    if not models:
        raise OptionsError("a Space needs a model to offer; name one with --model owner/name")
    menu: dict[str, dict[str, str]] = {}
    for name in models:
        group, label = _entry(name)
        menu.setdefault(group, {})[label] = name
    if folder.exists():
        if not (folder / "models.yml").is_file():
            raise OptionsError(
                f"'{folder}' is there and is no Space; move it away, or work in another folder"
            )
        shutil.rmtree(folder)
    shutil.copytree(_resources.path("spaces", "upscaler"), folder, ignore=LEFT_OUT)
    listed = "# What the menu offers: task -> label -> model; the first one is chosen at the start.\n"
    (folder / "models.yml").write_text(
        listed + yaml.safe_dump(menu, sort_keys=False, allow_unicode=True), encoding="utf-8"
    )
    _write_readme(folder / README, repo_id, [name for name in models if "/" in name], hardware)
    if wheel is not None:
        if not (wheel.is_file() and wheel.name.startswith("hfsr-") and wheel.suffix == ".whl"):
            raise OptionsError(f"'{wheel}' is no wheel of hfsr; make one with 'pip wheel --no-deps .'")
        shutil.copyfile(wheel, folder / wheel.name)
        place = f"{address(repo_id, 'Space')}/resolve/main/{wheel.name}"
        (folder / "requirements.txt").write_text(f"hfsr[demo] @ {place}\n", encoding="utf-8")
    return folder


def _entry(name: str) -> tuple[str, str]:
    """A model's group and label on the menu."""
    if name not in _resources.bundled_models() and ("/" not in name or Path(name).exists()):
        raise OptionsError(
            f"a Space cannot read '{name}' from this machine; publish it with 'hfsr push' and name its id"
        )
    model = from_pretrained(name)
    scale, label = float(getattr(model, "scale", 1)), name.rsplit("/", 1)[-1]
    if scale > 1:
        return GROUPS["super-resolution"], f"{scale:g} times, {label}"
    return GROUPS.get(task_of(name, model), "Restore"), label


def _write_readme(path: Path, repo_id: str, models: list[str], hardware: str | None) -> None:
    _, front, body = path.read_text(encoding="utf-8").split("---\n", 2)
    words = yaml.safe_load(front)
    words |= {"title": repo_id.rsplit("/", 1)[-1], "models": models}
    if models:
        words["preload_from_hub"] = models  # with the image, and not when the first visitor waits
    if hardware:
        words["suggested_hardware"] = hardware
    told = yaml.safe_dump(words, sort_keys=False, allow_unicode=True)
    path.write_text(f"---\n{told}---\n{body.replace('OWNER/NAME', repo_id)}", encoding="utf-8")
