"""Keys of older BasicSR versions, of its forks and of Real-ESRGAN, translated into hfsr's own keys.

Only the tables below contain these keys: to read files of another fork, add its names here. A key that would
change weights is either translated or left as an unknown key; `WITHOUT_EFFECT` contains only keys that change
no weights here.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hfsr.registry import ARCHS

__all__ = ["MODEL_TYPES", "Translation", "translate"]

Place = tuple[str, ...]

MODEL_TYPES: Mapping[str, str] = {
    # SRModel, with images padded to the window or cut into tiles when they are restored.
    **dict.fromkeys(
        (
            *("ATDModel", "CATModel", "CATModle", "CATModel_Unet", "DATModel", "DATModle", "DRCTModel"),
            *("FocalIRModel", "HATModel", "MambaIRModel", "MambaIRv2Model", "SwinIRModel"),
        ),
        "SRModel",
    ),
    # SRModel of Restormer, MIRNet-v2 and NAFNet.
    "ImageCleanModel": "SRModel",
    "ImageRestorationModel": "SRModel",
    # Real-ESRGAN and the forks that train another network by its code.
    **dict.fromkeys(("RealESRNetModel", "RealHATMSEModel", "RealDRCTMSEModel"), "SRModel"),
    **dict.fromkeys(("RealESRGANModel", "RealHATGANModel", "RealDRCTGANModel"), "SRGANModel"),
}
"""`model_type` of other packages -> the recipe that trains the same way."""

_REAL_NET = frozenset({"RealESRNetModel", "RealHATMSEModel", "RealDRCTMSEModel"})
_REAL_GAN = frozenset({"RealESRGANModel", "RealHATGANModel", "RealDRCTGANModel"})
_CLIPS_BY_DEFAULT = frozenset({"ImageRestorationModel"})
"""Model types that clip gradients unless `use_grad_clip` is false."""
_CLIP_NORM = 0.01
"""Norm of `use_grad_clip`, a constant in the code of those packages."""

DATASET_TYPES: Mapping[str, str] = {
    "Dataset_GaussianDenoising": "PairedImageDataset",
    "Dataset_PairedImage": "PairedImageDataset",
    "ImageNetPairedDataset": "PairedImageDataset",
    "RealESRGANPairedDataset": "PairedImageDataset",
}
"""Data set types of other packages -> the type that reads the same images."""
_WITHOUT_TURNS = frozenset({"Dataset_GaussianDenoising", "Dataset_PairedImage"})
"""Data set types that flip and rotate only if `geometric_augs` is true."""

RENAMED: Mapping[Place, str] = {
    ("path", "param_key"): "param_key_g",
    ("path", "pretrain_model_d"): "pretrain_network_d",
    ("path", "pretrain_model_g"): "pretrain_network_g",
    ("path", "strict_load"): "strict_load_g",
    ("datasets", "*", "use_flip"): "use_hflip",
}
"""Key -> hfsr's name for it, in the same section; `*` is any section."""

_WHOLE = "images are restored whole"


@dataclass(frozen=True)
class Ignored:
    """A key that changes no weights here."""

    reason: str
    same: tuple[Any, ...] = (None, False)
    """Values that equal the behavior of hfsr; they are not reported."""


WITHOUT_EFFECT: Mapping[Place, Ignored] = {
    ("datasets", "*", "persistent_workers"): Ignored("there are no worker processes", (None, False, True)),
    ("datasets", "*", "task"): Ignored("the images determine it", (None, "SR")),
    ("val", "crop_size_h"): Ignored(_WHOLE),
    ("val", "crop_size_h_ratio"): Ignored(_WHOLE),
    ("val", "crop_size_w"): Ignored(_WHOLE),
    ("val", "crop_size_w_ratio"): Ignored(_WHOLE),
    ("val", "grids"): Ignored(_WHOLE),
    ("val", "max_minibatch"): Ignored("one image at a time", (None, 1)),
    ("val", "rgb2bgr"): Ignored("files are written as RGB", (None, True)),
    ("val", "trans_num"): Ignored("no self-ensemble", (None, 1)),
    ("val", "use_chop"): Ignored(_WHOLE),
    ("val", "use_image"): Ignored("metrics are measured on images of 8 bit", (None, True)),
}
"""Keys that are accepted without effect, and the reason."""

_ROUND = (
    *("resize_prob", "resize_range", "gaussian_noise_prob", "noise_range", "poisson_scale_range"),
    *("gray_noise_prob", "jpeg_range"),
)
_KERNELS = ("kernel_list", "kernel_prob", "sinc_prob", "blur_sigma", "betag_range", "betap_range")
TOP_DEGRADATION = (*_ROUND, *(f"{key}2" for key in _ROUND), "second_blur_prob")
"""Real-ESRGAN's keys at the top of the file that are arguments of `SecondOrder`."""
DATASET_DEGRADATION = (*_KERNELS, *(f"{key}2" for key in _KERNELS), "final_sinc_prob")
"""Those in the section of its data set."""
_SHARPENING: Place = ("gt_usm", "l1_gt_usm", "percep_gt_usm", "gan_gt_usm")
_QUEUE_SIZE = 180
"""Default size of Real-ESRGAN's pool of pairs."""


@dataclass
class Translation:
    """An option file in hfsr's keys."""

    options: dict[str, Any]
    without_effect: list[str] = field(default_factory=list)
    """Keys that were dropped, each with the reason."""
    problems: list[tuple[Place, str]] = field(default_factory=list)
    """Keys that cannot be translated, each with an error message."""

    def section(self, *place: str) -> dict[str, Any] | None:
        """Returns the mapping at a place, or None."""
        found: Any = self.options
        for key in place:
            found = found.get(key) if isinstance(found, dict) else None
        return found if isinstance(found, dict) else None

    def datasets(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields the sections of data sets, by their key."""
        for key in list(self.section("datasets") or ()):
            if (section := self.section("datasets", key)) is not None:
                yield str(key), section

    def kind(self, *place: str) -> str | None:
        """Returns the `type` of a section, or None if it has none; one that is no name is an error later."""
        found = (self.section(*place) or {}).get("type")
        return found if isinstance(found, str) else None

    def move(self, place: Place, section: dict[str, Any], key: str, value: Any) -> None:
        """Moves the value of `place` to a key of a section; two different values are an error."""
        if section.get(key, value) != value:
            self.problems.append((place, f"has another value than {key}; keep one of the two"))
        section[key] = value

    def move_to_val(self, place: Place, key: str, value: Any) -> None:
        """Moves the value of `place` to a key of `val`; a `val` that is no section is an error later."""
        self.options.setdefault("val", {})
        if (section := self.section("val")) is not None:
            self.move(place, section, key, value)


def translate(raw: Mapping[str, Any]) -> Translation:
    """Translates a file; hfsr's own keys stay as they are.

    Types are checked afterwards, so every value may be of any type here; the wrong ones stay for that check.

    Args:
        raw: content of the file; not changed.
    """
    done = Translation(copy.deepcopy(dict(raw)))
    given = done.options.get("model_type")
    model_type = given if isinstance(given, str) else None
    _rename(done)
    _translate_testing(done)
    _translate_paths(done)
    for key, section in done.datasets():
        _translate_dataset(done, key, section)
    _translate_training(done, model_type)
    if model_type in _REAL_NET | _REAL_GAN:
        _translate_real_esrgan(done, gan=model_type in _REAL_GAN)
    if model_type is not None and model_type in MODEL_TYPES:
        done.options["model_type"] = MODEL_TYPES[model_type]
    _drop(done)
    return done


def _matching(done: Translation, pattern: Place) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Yields the sections that contain the key of a pattern, with its place."""
    *outer, key = pattern
    found: list[tuple[Place, dict[str, Any]]] = []
    if "*" in outer:
        found += [(("datasets", name), section) for name, section in done.datasets()]
    elif (section := done.section(*outer)) is not None:
        found.append((tuple(outer), section))
    for place, section in found:
        if key in section:
            yield (*place, key), section


def _rename(done: Translation) -> None:
    for pattern, name in RENAMED.items():
        for place, section in _matching(done, pattern):
            done.move(place, section, name, section.pop(place[-1]))


def _drop(done: Translation) -> None:
    for pattern, ignored in WITHOUT_EFFECT.items():
        for place, section in _matching(done, pattern):
            if section.pop(place[-1]) not in ignored.same:
                done.without_effect.append(f"{'.'.join(place)} ({ignored.reason})")


def _translate_testing(done: Translation) -> None:
    """Translates the keys of old test files, and HAT's `tile`."""
    options = done.options
    for key in ("save_img", "suffix"):
        if key in options:
            done.move_to_val((key,), key, options.pop(key))
    if "crop_border" in options:
        border = options.pop("crop_border")
        metrics = done.section("val", "metrics") or {}
        for metric in metrics.values():
            if isinstance(metric, dict) and border is not None:
                metric.setdefault("crop_border", border)
        if border is not None and not metrics:
            done.without_effect.append("crop_border (PSNR and SSIM are cropped by the scale)")
    if "tile" in options:
        tile = options.pop("tile")
        is_ours = done.kind("network_g") in ARCHS
        if isinstance(tile, dict) and is_ours and tile.get("tile_size") is not None:
            # The network determines the halo of a tile, so tile_pad changes nothing.
            done.move_to_val(("tile", "tile_size"), "tile_size", tile["tile_size"])
        elif tile is not None:
            done.without_effect.append(f"tile ({_WHOLE})")


def _translate_paths(done: Translation) -> None:
    section = done.section("path") or {}
    if "ignore_resume_networks" not in section:
        return
    names = section.pop("ignore_resume_networks") or []
    for name in _listed(names):
        if name in ("network_g", "network_d", "network_dual"):
            done.problems.append(
                (
                    ("path", "ignore_resume_networks"),
                    f"{name} is restored with its training state; leave it out, or start a run of another "
                    f"name from path.pretrain_{name}",
                )
            )
        else:
            done.without_effect.append(f"path.ignore_resume_networks ({name} is not trained)")


def _translate_dataset(done: Translation, key: str, section: dict[str, Any]) -> None:
    place = ("datasets", key)
    kind = section.get("type")
    if section.get("color") == "n":
        section["color"] = "rgb"
    if section.get("task") == "CAR":
        done.problems.append(
            ((*place, "task"), "CAR reads images in gray, which is not supported; color: y trains on luma")
        )
    _check_normalization(done, place, section)
    if not isinstance(kind, str):
        return
    section["type"] = DATASET_TYPES.get(kind, kind)
    if kind in _WITHOUT_TURNS and key == "train":
        turns = section.pop("geometric_augs", False)
        section.setdefault("use_hflip", turns)
        section.setdefault("use_rot", turns)
    elif kind in _WITHOUT_TURNS:
        section.pop("geometric_augs", None)
    if kind == "ImageNetPairedDataset":
        # This type reduces GT itself; dataroot_lq repeats dataroot_gt.
        section.pop("dataroot_lq", None)
    if kind == "Dataset_GaussianDenoising":
        _translate_denoising(done, key, section)


def _check_normalization(done: Translation, place: Place, section: dict[str, Any]) -> None:
    for key, neutral in (("mean", 0), ("std", 1)):
        if key not in section:
            continue
        values = section.pop(key)
        if values is not None and any(value != neutral for value in _listed(values)):
            done.problems.append(
                (
                    (*place, key),
                    f"{values} is not supported: networks take and give images in [0, 1]; leave it out, and "
                    "normalize inside of the network",
                )
            )


def _translate_denoising(done: Translation, key: str, section: dict[str, Any]) -> None:
    """Translates Restormer's noisy copies of clean images."""
    place = ("datasets", key)
    kind, sigma = section.pop("sigma_type", "constant"), section.pop("sigma_range", None)
    tested = section.pop("sigma_test", None)
    section.pop("dataroot_lq", None)
    if section.pop("in_ch", 3) != 3:
        done.problems.append(
            ((*place, "in_ch"), "gray images are not supported here; color: y trains on luma")
        )
    if key != "train":
        kind, sigma = "constant", tested if tested is not None else sigma
    if kind not in ("constant", "random", "choice"):
        done.problems.append(((*place, "sigma_type"), f"{kind} is not constant, random or choice"))
    elif sigma is None:
        missing = "sigma_range" if key == "train" else "sigma_test"
        done.problems.append(((*place, missing), "is missing; the standard deviation in gray levels"))
    elif kind == "choice":
        choices = [{"type": "GaussianNoise", "sigma": one, "clip": False} for one in _listed(sigma)]
        section["degradation"] = {"type": "RandomChoice", "choices": choices}
    else:
        section["degradation"] = {"type": "GaussianNoise", "sigma": sigma, "clip": False}


def _translate_training(done: Translation, model_type: str | None) -> None:
    train = done.section("train")
    if train is None:
        return
    clips = train.pop("use_grad_clip", model_type in _CLIPS_BY_DEFAULT)
    if clips is True:
        if "clip_grad_norm" in train and train["clip_grad_norm"] != _CLIP_NORM:
            done.problems.append(
                (("train", "use_grad_clip"), f"clips to {_CLIP_NORM}; keep it or clip_grad_norm, not both")
            )
        train["clip_grad_norm"] = _CLIP_NORM
    elif clips is not False:
        done.problems.append((("train", "use_grad_clip"), f"must be true or false, not {clips!r}"))
    if train.get("mixup") is False:
        del train["mixup"]
    if "mixing_augs" in train:
        mixing = train.pop("mixing_augs") or {}
        if not isinstance(mixing, dict):
            message = f"must be a section such as {{mixup: true, mixup_beta: 1.2}}, not {mixing!r}"
            done.problems.append((("train", "mixing_augs"), message))
            mixing = {}
        if unknown := [key for key in mixing if key not in ("mixup", "mixup_beta", "use_identity")]:
            done.problems.append((("train", "mixing_augs", str(unknown[0])), "unknown key"))
        if mixing.get("mixup"):
            mixup: dict[str, Any] = {"prob": 0.5 if mixing.get("use_identity") else 1.0}
            if "mixup_beta" in mixing:
                mixup["alpha"] = mixing["mixup_beta"]
            done.move(("train", "mixing_augs"), train, "mixup", mixup)
    scheduler = train.get("scheduler")
    if isinstance(scheduler, dict) and scheduler.get("type") in ("LinearLR", "VibrateLR"):
        scheduler.setdefault("total_iter", train.get("total_iter"))


def _translate_real_esrgan(done: Translation, *, gan: bool) -> None:
    """Translates Real-ESRGAN: LQ images by `SecondOrder`, sharpened GT images, the pool of pairs."""
    options, train = done.options, done.section("datasets", "train")
    high_order = options.pop("high_order_degradation", True)
    flags = {key: options.pop(key) for key in _SHARPENING if key in options}
    top = {key: options.pop(key) for key in TOP_DEGRADATION if key in options}
    queue_size, gt_size = options.pop("queue_size", None), options.pop("gt_size", None)
    if train is None:
        return  # a test file
    kind, place = train.get("type"), ("datasets", "train", "type")
    if high_order and kind != "RealESRGANDataset":
        done.problems.append(
            (
                place,
                f"{kind} has no images to degrade; use RealESRGANDataset, or high_order_degradation: false",
            )
        )
        return
    if not high_order and kind == "RealESRGANDataset":
        done.problems.append(
            (place, "RealESRGANDataset has no LQ images; use RealESRGANPairedDataset without a degradation")
        )
        return
    if high_order:
        _translate_high_order(done, train, top)
        train["queue_size"] = _QUEUE_SIZE if queue_size is None else queue_size
        if gt_size is not None:
            train["gt_size"] = gt_size
    _translate_sharpening(done, train, flags, gan=gan, high_order=high_order)


def _translate_high_order(done: Translation, train: dict[str, Any], top: Mapping[str, Any]) -> None:
    for key in ("blur_kernel_size", "blur_kernel_size2"):
        if train.pop(key, 21) != 21:
            done.without_effect.append(f"datasets.train.{key} (kernels have 7 to 21 px, as in BasicSR)")
    own = {key: train.pop(key) for key in DATASET_DEGRADATION if key in train}
    train["type"] = "PairedImageDataset"
    train["degradation"] = {"type": "SecondOrder", **own, **top}
    if "meta_info" in train:
        done.move(("datasets", "train", "meta_info"), train, "meta_info_file", train.pop("meta_info"))


def _translate_sharpening(
    done: Translation, train: dict[str, Any], flags: Mapping[str, Any], *, gan: bool, high_order: bool
) -> None:
    names = (
        {"l1_gt_usm": "pixel", "percep_gt_usm": "perceptual", "gan_gt_usm": "gan"}
        if gan
        else {"gt_usm": "pixel"}
    )
    for key in flags:
        if key not in names:
            model = "RealESRGANModel" if gan else "RealESRNetModel"
            done.problems.append(((key,), f"is not a key of {model}, which takes {', '.join(names)}"))
    if not gan and not high_order:
        return  # Real-ESRGAN does not sharpen given pairs
    for key in names:
        if not isinstance(flags.get(key), bool):
            done.problems.append(((key,), "must be true or false; true compares losses with sharpened GT"))
            return
    section = done.section("train")
    sharpened = {name: flags[key] for key, name in names.items()}
    if not gan:
        # If false, nothing is sharpened; if true, all losses compare with sharpened GT.
        sharpened = dict.fromkeys(("pixel", "perceptual"), flags["gt_usm"])
    if gan or flags["gt_usm"]:
        train["sharpen_gt"] = True
        if section is not None:
            section["usm"] = sharpened


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
