"""The models, the size and the expected time of one image, from the settings of the visitor."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Event, Thread

import hfsr
from hfsr import images
from hfsr.errors import OptionsError
from hfsr.inference.program.geometry import Size
from hfsr.inference.result_size import WantedSize
from hfsr.model_choice import Interpolated, ModelChoice, Purpose, choose_models

from .catalog import PURPOSES, ModelCatalog, load

FORMATS = {"PNG": "png", "JPEG": "jpg", "WebP": "webp"}
DEFAULT_SCALE = 2
"""Scale of the bundled models if neither a scale nor a width is given."""
_MEASURED = Size(480, 640)
"""Size of the image whose expected time stands for all others: it is proportional to the px."""

_TELLING_PIXELS = 50_000
"""Px from which a job corrects the expected times; in smaller ones other work than the network's counts."""
Models = tuple[str | Interpolated, ...]
_rates: dict[tuple[str, ...], float] = {}
"""Models -> seconds per px; the strength does not change them."""


@dataclass(frozen=True)
class Settings:
    """Settings of a visitor for all of their images.

    Attributes:
        model: choice of the catalog.
        scale: px of the result per px of the image; 0 is that of the model.
        width: px of the result; 0 follows the scale.
        format: value of `FORMATS`.
        tile, dtype, self_ensemble: as for `hfsr.Upscaler`.
        strength: 0 (the clean or mild training) to 1.
    """

    model: str
    scale: float = 0
    width: int = 0
    format: str = "png"
    tile: str = "auto"
    dtype: str = "auto"
    self_ensemble: bool = False
    strength: float = 1


@dataclass(frozen=True)
class Choice:
    """The models and the size for one image.

    Attributes:
        models: names of the models that run one after another.
        image: size of the image.
        result: size of the result.
        wanted: scale or width that was asked for.
        is_photo: the models are those for compressed photos; None if the visitor named a model.
        reason: facts of the file that decided; None if the visitor decided.
        note: a fact of the file that speaks against the choice, for the visitor.
    """

    models: Models
    image: Size
    result: Size
    wanted: WantedSize
    is_photo: bool | None = None
    reason: str | None = None
    note: str | None = None

    @property
    def suffix(self) -> str:
        """Suffix of the result's name, as of the command line."""
        if self.wanted.width:
            return f"_w{self.wanted.width}"
        scale = self.wanted.scale or self.result.width / self.image.width
        return f"_x{scale:.4g}" if scale > 1 else "_restored"


def choose(catalog: ModelCatalog, source: Path, settings: Settings) -> Choice:
    """Chooses the models and the size for an image.

    Raises:
        ImageError: the file is not an image.
        OptionsError: the size is not reached, or the image is larger.
    """
    width, height = images.image_size(source, max_pixels=sys.maxsize)
    size = Size(height, width)
    wanted = WantedSize(scale=settings.scale or None, width=settings.width or None)
    strength = round(settings.strength, 2)
    if settings.model not in PURPOSES:
        name = catalog.at_strength(settings.model, strength)
        scale = load(name).scale
        result = wanted.within(size, _enlarged(size, scale), scale)
        return Choice((name,), size, result, wanted)
    if strength != 1 and catalog.strength_labels(settings.model) is None:
        raise OptionsError(f"'{catalog.label_of(settings.model)}' has only one strength; leave it at 1")
    if not wanted.is_set:
        wanted = WantedSize(scale=DEFAULT_SCALE)
    purpose = PURPOSES[settings.model]
    scale = wanted.scale_of(size) or DEFAULT_SCALE
    chosen = _models_of_file(source, scale, purpose, None if strength == 1 else strength)
    result = wanted.of(size)
    assert result is not None
    is_photo = any(_trained(name).endswith("-photo") for name in chosen.names)
    note = None
    if chosen.note is not None:
        note = f"it looks as if it had been a JPEG before; if so, choose “{catalog.label_of('photo')}”"
    reason = chosen.reason if purpose is None else None
    return Choice(chosen.names, size, result, wanted, is_photo, reason, note)


@lru_cache(maxsize=128)
def _models_of_file(
    source: Path, scale: float, purpose: Purpose | None, strength: float | None
) -> ModelChoice:
    """Chooses the bundled models for a file; remembered, because a lossless one is decoded for it."""
    return choose_models(source, scale=scale, purpose=purpose, strength=strength)


def expected_seconds(models: Models, image: Size, *, self_ensemble: bool = False) -> float | None:
    """Expected time of the models for an image; None if it cannot be predicted.

    The first call for these models takes about two seconds, further ones nothing.
    """
    if hasattr(sys.modules.get("spaces"), "GPU"):
        return None  # jobs run on ZeroGPU's hardware, which this process does not see
    key = tuple(map(_trained, models))
    if key not in _rates:
        with suppress(hfsr.HfsrError):
            upscaler = hfsr.Upscaler([load(name) for name in key])
            forecast = upscaler.forecast(_MEASURED.width, _MEASURED.height)
            _rates.setdefault(key, forecast.seconds / (_MEASURED.width * _MEASURED.height))
    rate = _rates.get(key)
    return None if rate is None else rate * _work(image, self_ensemble)


def record_seconds(models: Models, image: Size, seconds: float, *, self_ensemble: bool) -> None:
    """Corrects the expected times by the time that a job took."""
    if image.width * image.height >= _TELLING_PIXELS:
        _rates[tuple(map(_trained, models))] = seconds / _work(image, self_ensemble)


def _trained(model: str | Interpolated) -> str:
    """The trained model of a network: an interpolated one has the size of both."""
    return model.photo if isinstance(model, Interpolated) else model


def _work(image: Size, self_ensemble: bool) -> int:
    return image.width * image.height * (8 if self_ensemble else 1)


class Preload(Thread):
    """Thread that loads the models of the first choice and measures their speed.

    So the first visitor does not wait for it. Errors are ignored here; the visitor who selects the model gets
    them.

    Args:
        catalog: its first choice is preloaded.
        sample: an image.
    """

    def __init__(self, catalog: ModelCatalog, sample: Path) -> None:
        super().__init__(name="preload", daemon=True)
        self._catalog, self._sample = catalog, sample
        self._stop_requested = Event()

    def run(self) -> None:
        """Loads and measures the models one after another."""
        first = self._catalog.first.model
        for model in ("clean", "photo") if first in PURPOSES else (first,):
            with suppress(hfsr.HfsrError):
                choice = choose(self._catalog, self._sample, Settings(model))
                for name in choice.models:
                    if not self._stop_requested.is_set():
                        load(name)
                if not self._stop_requested.is_set():
                    expected_seconds(choice.models, choice.image)

    def stop(self) -> None:
        """Ends after the step that runs: an interpreter that exits during one would abort."""
        self._stop_requested.set()
        self.join()


def _enlarged(size: Size, scale: float) -> Size:
    side = WantedSize(scale=scale).of(size) if scale > 1 else size
    assert side is not None
    return side
