"""Option file of a fine-tuning, with values that fit the model and the number of photos."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Any

import yaml
from torch import nn

from hfsr import hub
from hfsr.atomic import replacing
from hfsr.errors import DataError, OptionsError
from hfsr.model_zoo import input_channels, spec_of
from hfsr.registry import ARCHS

from .degradation import PhotoDegradation, choose_degradation
from .photos import PhotoFolder, Split, open_photos, split_photos

__all__ = ["FinetunePlan", "FinetuneSettings", "plan_finetuning", "write_plan"]

_BATCH = 8
_PATCH, _SMALLEST_PATCH = 48, 16
"""Side of an LQ patch in px: the usual one, and the smallest one that is chosen for small photos."""
_ITERATIONS_PER_PHOTO, _FEWEST, _MOST = 200, 1000, 10000
_RATES = ((2e6, 1e-4), (2e7, 5e-5))
_LOWEST_RATE = 2e-5
"""Learning rate by number of parameters, up to each limit, and above the last one."""
_LARGE_PHOTO = 2**20
"""LQ pixels above which photos are validated in tiles."""


@dataclass(frozen=True, kw_only=True)
class FinetuneSettings:
    """Requests of the user; None leaves a value to the plan.

    Attributes:
        model: a bundled name, a run, a model folder, a checkpoint or an id on the Hub.
        photos: folder of photos, or of pairs.
        lq: folder of the LQ images of `photos`.
        validation: folder of photos to measure on; if None, some of `photos` are held out.
        name: name of the run.
        iterations: number of iterations.
        rate: learning rate.
        degradation: steps in YAML that make the LQ images.
        license: license of the new weights, for the card.
    """

    model: str
    photos: str
    lq: str | None = None
    validation: str | None = None
    name: str | None = None
    iterations: int | None = None
    rate: float | None = None
    degradation: str | None = None
    license: str | None = None


@dataclass(frozen=True)
class FinetunePlan:
    """A fine-tuning that is ready to be written.

    Attributes:
        name: name of the run.
        model: name of the model that it starts from.
        options: content of the option file.
        split: photos of the training and of the validation.
        lq_source: origin of the LQ images, for people.
    """

    name: str
    model: str
    options: Mapping[str, Any]
    split: Split
    lq_source: str

    def summary(self) -> str:
        """Returns one line with the values that were chosen."""
        train, section = self.options["train"], self.options["datasets"]["train"]
        left_out = f" ({self.split.left_out} copies of them left out)" if self.split.left_out else ""
        return (
            f"{len(self.split.train)} photos to train on, {len(self.split.held_out)} held out{left_out}; "
            f"{train['total_iter']:,} iterations at a learning rate of {train['optim_g']['lr']:g}, "
            f"{section['batch_size_per_gpu']} patches of {section['gt_size']} px; LQ images: {self.lq_source}"
        )


def plan_finetuning(settings: FinetuneSettings, folder: Path) -> FinetunePlan:
    """Loads the model, looks at the photos and chooses everything else.

    Args:
        settings: requests of the user.
        folder: folder of the option file and of the lists of photos, relative to the current directory.

    Raises:
        CheckpointError, HubError: the model cannot be loaded.
        DataError, ImageError: photos are missing or unreadable.
        OptionsError: the model cannot be fine-tuned by this command, or a value is not allowed.
    """
    _check_numbers(settings)
    name = settings.name or _default_name(settings)
    _check_name(name)
    network = hub.from_pretrained(settings.model)
    scale = _trainable_scale(settings.model, network)
    photos = open_photos(settings.photos, settings.lq)
    if photos.lq is not None and settings.degradation is not None:
        raise OptionsError("--degradation makes the LQ images, but they are given; leave one of them out")
    validation = open_photos(settings.validation) if settings.validation is not None else None
    if validation is not None and photos.lq is not None and validation.lq is None:
        raise DataError(
            f"'{settings.validation}' holds no LQ images, while '{settings.photos}' has them; put them into "
            f"'{settings.validation}/lq' and the photos into '{settings.validation}/gt'"
        )
    split = split_photos(photos, validation)
    if Path(settings.model).resolve() == (Path("experiments") / name).resolve():
        raise OptionsError(f"'{name}' is the run that the model comes from; choose another name: -o NAME")
    makes_lq = photos.lq is None or (validation is not None and validation.lq is None)
    made = choose_degradation(settings.model, network, settings.degradation) if makes_lq else None
    options = _options(name, settings, network, scale)
    lists = {"train": folder / f"{name}_train.txt", "val": folder / f"{name}_held_out.txt"}
    lq_pixels = _fill_data(options, photos, validation or photos, split, lists, made)
    learning = options["train"]
    learning["total_iter"] = total = settings.iterations or min(
        _MOST, max(_FEWEST, _ITERATIONS_PER_PHOTO * len(split.train))
    )
    learning["scheduler"]["T_max"] = total
    learning["warmup_iter"] = min(50, total // 20) or -1
    learning["ema_decay"] = round(max(0.5, 1 - max(1e-3, 10 / total)), 4)
    pauses = 10 if sum(lq_pixels) < 16 * _LARGE_PHOTO else 4
    options["val"]["val_freq"] = max(1, total // pauses)
    if max(lq_pixels) > _LARGE_PHOTO:
        options["val"]["tile_size"] = 512
    options["logger"] |= {
        "print_freq": max(1, total // 20),
        "save_checkpoint_freq": max(1, total // 10),
    }
    return FinetunePlan(name, settings.model, options, split, made.source if made else "as given")


def write_plan(plan: FinetunePlan, folder: Path, *, root: Path = Path()) -> Path:
    """Writes the option file and the lists of photos; returns the option file.

    Args:
        plan: the fine-tuning.
        folder: folder of the files, as for `plan_finetuning`.
        root: directory of `folder`.

    Raises:
        OptionsError: the option file exists with another content.
        DataError: a photo has a name that a list cannot contain.
    """
    path = folder / f"{plan.name}.yml"
    command = f"basicsr train -opt {shlex.quote(str(path))}"
    header = (
        f"# Fine-tunes {' '.join(plan.model.splitlines())} on photos; written by hfsr finetune.\n"
        f"# Command: {command}   (it goes on after a stop with --auto_resume)\n"
        f"# LQ images: {plan.lq_source}.\n"
    )
    files = {
        folder / f"{plan.name}_train.txt": _list_of(plan.split.train),
        folder / f"{plan.name}_held_out.txt": _list_of(plan.split.held_out),
        path: header + yaml.safe_dump(dict(plan.options), sort_keys=False, allow_unicode=True),
    }
    # The comments may name a folder whose name is not UTF-8; YAML writes it in ASCII.
    contents = {root / file: text.encode(errors="backslashreplace") for file, text in files.items()}
    for file, content in contents.items():
        if file.exists() and file.read_bytes() != content:
            raise OptionsError(
                f"'{file}' exists with another content, from other photos or settings, or edited; train it "
                f"as it is with {command}, delete it, or choose another name: -o NAME"
            )
    (root / folder).mkdir(parents=True, exist_ok=True)
    for file, content in contents.items():
        with replacing(file, error=OptionsError) as partial:
            partial.write_bytes(content)
    return root / path


def _list_of(names: Sequence[str]) -> str:
    """Returns the list of photos that `meta_info_file` reads: a path on each line, without spaces around it.

    Raises:
        DataError: a path is not UTF-8, or contains a line break.
    """
    for name in names:
        if len(name.splitlines()) > 1 or name.encode(errors="replace").decode() != name:
            raise DataError(
                f"the photo {name!a} has a line break or bytes that are not UTF-8 in its name, which a list "
                "of photos cannot contain; rename it"
            )
    return "".join(f"./{name}\n" if name != name.strip() else f"{name}\n" for name in names)


def _options(name: str, settings: FinetuneSettings, network: nn.Module, scale: int) -> dict[str, Any]:
    """Returns the content of the option file that depends on the model alone."""
    spec = spec_of(network)
    assert spec is not None  # _trainable_scale checks it
    arguments = {key: _plain(value) for key, value in vars(network)["model_args"].items()}
    common: dict[str, Any] = {"type": "PairedImageDataset"}
    if input_channels(network) == 1:
        common["color"] = "y"
    parameters = sum(parameter.numel() for parameter in network.parameters())
    rate = next((rate for most, rate in _RATES if parameters <= most), _LOWEST_RATE)
    options: dict[str, Any] = {
        "name": name,
        "model_type": "SRModel",
        "scale": scale,
        "num_gpu": "auto",
        "manual_seed": 0,
        "use_amp": spec.bf16,
        "amp_bf16": True,
        "use_channels_last": True,
        "datasets": {"train": dict(common), "val": {"name": "held_out", **common}},
        "network_g": {"type": spec.name, **arguments},
        "path": {"pretrain_network_g": settings.model},
        "train": {
            "ema_decay": 0.0,
            "optim_g": {"type": "Adam", "lr": settings.rate or rate, "betas": [0.9, 0.99]},
            "scheduler": {"type": "TrueCosineAnnealingLR", "T_max": 0, "eta_min": 1e-7},
            "total_iter": 0,
            "warmup_iter": -1,
            "pixel_opt": {"type": "L1Loss"},
        },
        "val": {},
        "logger": {"use_tb_logger": False},
    }
    if settings.license is not None:
        options["logger"]["license"] = settings.license
    return options


def _fill_data(
    options: dict[str, Any],
    photos: PhotoFolder,
    measured: PhotoFolder,
    split: Split,
    lists: Mapping[str, Path],
    made: PhotoDegradation | None,
) -> list[int]:
    """Adds folders, degradations, lists and patch size; returns the LQ pixels of each held-out photo."""
    sections, scale = options["datasets"], options["scale"]
    for key, folder in (("train", photos), ("val", measured)):
        if made is not None and folder.lq is None:
            steps = made.train if key == "train" else made.validation
            if steps:
                sections[key] |= {"degradation": steps, **({"seed": 0} if key == "val" else {})}
        sections[key]["dataroot_gt"] = folder.gt
        if folder.lq is not None:
            if key == "train":
                sections[key]["name"] = Path(folder.folder).name
            sections[key]["dataroot_lq"] = folder.lq
        sections[key]["meta_info_file"] = lists[key].as_posix()
    spec = ARCHS[options["network_g"]["type"]]
    arguments = {key: value for key, value in options["network_g"].items() if key != "type"}
    sides = [min(photos.sizes[name]) // scale for name in split.train]
    gt_size = scale * _patch(sides, spec.size_multiple(arguments))
    sections["train"] |= {
        "gt_size": gt_size,
        "batch_size_per_gpu": _BATCH,
        "dataset_enlarge_ratio": max(1, -(-100 * _BATCH // len(split.train))),
    }
    return [
        (width // scale) * (height // scale)
        for width, height in (measured.sizes[name] for name in split.held_out)
    ]


def _patch(sides: Sequence[int], multiple: int) -> int:
    """Returns the side of an LQ patch in px that at least three quarters of the photos have room for.

    Raises:
        DataError: the photos are too small.
    """
    room = int(quantiles(sides, n=4, method="inclusive")[0]) if len(sides) > 1 else sides[0]
    side = min(max(_PATCH, multiple), room)
    side -= side % multiple
    if side < min(_SMALLEST_PATCH, _PATCH) or side == 0:
        raise DataError(
            f"the photos are too small: LQ patches need {max(_SMALLEST_PATCH, multiple)} px on each side, "
            f"and these have {room}; use larger photos"
        )
    return side


def _trainable_scale(name: str, network: nn.Module) -> int:
    """Returns the scale of a network that can be fine-tuned.

    Raises:
        OptionsError: the network is of another package, or its scale is no whole number.
    """
    spec = spec_of(network)
    if spec is None or spec not in ARCHS.own().values():
        raise OptionsError(
            f"'{name}' is a network of another package; fine-tune it with an option file that has its "
            "network_g: basicsr train"
        )
    scale = getattr(network, "scale", 1)
    if scale != int(scale):
        raise OptionsError(f"'{name}' enlarges by {scale:g}; option files have whole scales")
    return int(scale)


def _check_name(name: str) -> None:
    """Raises OptionsError unless the name of a run is that of a folder in `experiments`."""
    if re.search(r"[/\\]", name) or not name.strip(" .") or not name.isprintable():
        raise OptionsError(
            f"{name!a} is not allowed as the name of a run; use letters and digits without slashes, for "
            "example -o my_photos"
        )


def _check_numbers(settings: FinetuneSettings) -> None:
    if settings.iterations is not None and settings.iterations < 1:
        raise OptionsError(f"--iter {settings.iterations} is not allowed; use 1 or more")
    if settings.rate is not None and not 0 < settings.rate < 1:
        raise OptionsError(f"--lr {settings.rate:g} is not allowed; use a number between 0 and 1")


def _default_name(settings: FinetuneSettings) -> str:
    """Returns a name from those of the model and of the folder."""
    parts = (Path(settings.model).stem, Path(settings.photos.rstrip("/")).name)
    return "_".join(re.sub(r"[^\w.-]+", "_", part).strip("._") or "photos" for part in parts)


def _plain(value: Any) -> Any:
    """Converts tuples to lists, for YAML."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value
