"""Measures a network on the validation sets, through `hfsr.evaluation`: while training and by `hfsr test`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from numpy.typing import NDArray
from torch import Tensor, nn

from hfsr.data import read_rgb_8bit
from hfsr.degradations import Bicubic, Seeded, modcrop
from hfsr.errors import HfsrError, OptionsError
from hfsr.evaluation import Pair, Report, Scores, evaluate, summarize
from hfsr.images import LoadedImage, from_rgb_float, write_image
from hfsr.inference import Upscaler
from hfsr.model_zoo import is_luma_network
from hfsr.options import TrainOptions
from hfsr.options.models import Typed
from hfsr.registry import ARCHS, METRICS

from ..setup import build_dataset, files_of
from .size_multiple import SizePadding, find_size_multiple

__all__ = ["Best", "Measurement", "Validator"]

Pixels = NDArray[np.uint8]
Show = Callable[[Pixels, Pixels, Pixels], None]
"""Takes LQ, SR and GT of an image: RGB, (H, W, 3)."""
SaveTo = Callable[[str, str], Path]
"""The file for the restored image, from the names of set and image; its folder is made if needed.

The name of an image may contain folders."""

_LOWER_IS_BETTER = frozenset({"calculate_niqe", "calculate_fid"})
"""Among BasicSR's metrics, which do not say so."""
_TRIAL = 208
"""px: side of the image that metrics are tried on; enough for MS-SSIM and NIQE with a border cut off."""


@dataclass(frozen=True)
class Measurement:
    """One validation set, measured."""

    set: str
    report: Report
    """The protocol's numbers."""
    metrics: Mapping[str, float]
    """Means of `val.metrics`, by their names in the file."""

    def values(self) -> dict[str, float]:
        """For curves: `<set>/<metric>`."""
        numbers = {"psnr_y": self.report.psnr_y, "ssim_y": self.report.ssim_y, **self.metrics}
        return {f"{self.set}/{name}": value for name, value in numbers.items()}

    def __str__(self) -> str:
        text = f"{self.set}: PSNR-Y {self.report.psnr_y:.4f} dB, SSIM-Y {self.report.ssim_y:.5f}"
        named = "".join(f", {name} {value:.4f}" for name, value in self.metrics.items())
        return f"{text}{named} (bicubic {self.report.bicubic_psnr_y:.4f} dB)"


@dataclass
class Best:
    """The best value so far of what decides: the first of `val.metrics` on the first set, else PSNR-Y."""

    value: float
    iteration: int
    set: str
    metric: str

    def __str__(self) -> str:
        return f"best {self.metric} on {self.set}: {self.value:.4f} at iteration {self.iteration:,}"


class Validator:
    """The validation sets of an option file.

    Args:
        options: `datasets` other than `train`, and `val`.
        accelerator: the images are shared among its processes; this one measures all of them when None.

    Raises:
        DataError: a folder is missing or its images do not pair.
        OptionsError: two sets have one name, or pieces are asked for, of a network that cannot be cut.
        HfsrError: a metric cannot be measured here.
    """

    def __init__(self, options: TrainOptions, accelerator: Accelerator | None = None) -> None:
        self.options = options
        self.metrics = options.val.metrics or {}
        self._rank = accelerator.process_index if accelerator else 0
        self._processes = accelerator.num_processes if accelerator else 1
        self.sets: dict[str, list[Pair]] = {}
        self._degradations: dict[str, Seeded | None] = {}
        self._largest: dict[str, Pair] = {}
        self._multiple: int | None = None
        for key, section in options.validation_sets().items():
            dataset = build_dataset(options, key)
            name, files = section.name or key, files_of(dataset, key)
            if name in self.sets:
                raise OptionsError(
                    f"datasets.{key}.name: another set is called '{name}' too; "
                    "give each set a name of its own, or their results overwrite each other"
                )
            self.sets[name] = [Pair(file.name, file.gt, file.lq) for file in files]
            self._degradations[name] = getattr(dataset, "degradation", None)
        if options.val.tile_size and options.network_g.type not in ARCHS:
            raise OptionsError(
                f"val.tile_size: {options.network_g.type} is another package's network and is not cut; use 0"
            )
        if self.sets:
            _try_out(self.metrics)

    def read(self) -> int:
        """Reads every image of every set once, as measuring will.

        Returns:
            How many there are.

        Raises:
            ImageError, DataError: one cannot be read, or LQ and GT do not match.
        """
        scale = self.options.scale
        for name, pairs in self.sets.items():
            degradation = self._degradations[name] or Seeded(Bicubic(scale=scale))
            largest = 0
            for pair in pairs:
                lq, _ = pair.load(degradation, scale)
                if lq.size > largest:
                    largest, self._largest[name] = lq.size, pair
        return sum(map(len, self.sets.values()))

    def measure(
        self, network: nn.Module, *, save: SaveTo | None = None, show: Show | None = None
    ) -> list[Measurement]:
        """Restores and measures every image, in float32; all processes get the same answer.

        Args:
            network: in evaluation mode.
            save: gives the files for restored images, where they are to be written.
            show: told every image of the first set that this process measures.
        """
        first = next(iter(self.sets), None)
        return [
            self._measure_set(
                network,
                name,
                pairs[self._rank :: self._processes],
                save,
                show if name == first else None,
            )
            for name, pairs in self.sets.items()
        ]

    def decide(self, measured: list[Measurement], iteration: int, best: Best | None) -> Best | None:
        """The new best, or None when the old one stands."""
        if not measured:
            return None
        first = measured[0]
        metric = next(iter(self.metrics), "psnr_y")
        value = first.values()[f"{first.set}/{metric}"]
        lower = metric in self.metrics and _lower_is_better(self.metrics[metric])
        if best is None or (value < best.value if lower else value > best.value):
            return Best(value, iteration, first.set, metric)
        return None

    def try_largest(self, network: nn.Module) -> None:
        """Restores and measures the largest image of each set, after `read`; all others need less.

        Raises:
            HfsrError: the network or a metric cannot do that.
        """
        for name, pair in self._largest.items():
            self._measure_set(network, name, [pair], None, None)

    def _size_multiple(self, network: nn.Module) -> int:
        """What the sides of an image must be multiples of; our networks take any size."""
        section = self.options.network_g
        if section.type in ARCHS or not self.sets:
            return 1
        if self._multiple is None:
            self._multiple = find_size_multiple(network, section.arguments.get("window_size"))
        return self._multiple

    def _measure_set(
        self, network: nn.Module, name: str, pairs: list[Pair], save: SaveTo | None, show: Show | None
    ) -> Measurement:
        scale, tile = self.options.scale, self.options.val.tile_size
        restore = CapturingModel(network, tile, self._size_multiple(network))
        measured: list[tuple[Scores, dict[str, float]]] = []

        def finish(done: int, total: int, scores: Scores) -> None:
            sr = from_rgb_float(restore.result)
            if save is not None:
                path = save(name, scores.name)
                path.parent.mkdir(parents=True, exist_ok=True)
                write_image(LoadedImage(sr), path)
            gt = (
                modcrop(read_rgb_8bit(Path(str(pairs[done - 1].gt))), scale) if self.metrics or show else None
            )
            if show is not None and gt is not None:
                show(from_rgb_float(restore.lq), sr, gt)
            values = {} if gt is None else {key: _measured(m, sr, gt) for key, m in self.metrics.items()}
            measured.append((scores, values))

        protocol = {}
        if pairs:
            protocol = evaluate(
                restore,
                pairs,
                scale=scale,
                degradation=self._degradations[name],
                tile=tile,
                luma=is_luma_network(network),
                progress=finish,
            ).protocol
        if self._processes > 1:
            shares = gather_object([(measured, protocol)])
            protocol = shares[0][1]
            measured = _interleaved([share for share, _ in shares])
        report = summarize([scores for scores, _ in measured], scale=scale, set_name=name, protocol=protocol)
        means = {metric: fmean(values[metric] for _, values in measured) for metric in self.metrics}
        return Measurement(name, report, means)


def _interleaved(shares: list[list[Any]]) -> list[Any]:
    """Every n-th image went to the same process; here they are in their order again."""
    longest = max(len(share) for share in shares)
    return [share[place] for place in range(longest) for share in shares if place < len(share)]


def _measured(metric: Typed, sr: Pixels, gt: Pixels) -> float:
    """One of `val.metrics`, which take BGR uint8 images as BasicSR's do.

    Raises:
        HfsrError: it cannot measure such images.
    """
    arguments = {key: value for key, value in metric.arguments.items() if key != "better"}
    try:
        return float(METRICS[metric.type](img=sr[..., ::-1], img2=gt[..., ::-1], **arguments))
    except HfsrError:
        raise
    except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError) as error:
        size = f"{gt.shape[1]}x{gt.shape[0]} px"  # of others, who check less
        raise HfsrError(f"the metric {metric.type} cannot measure an image of {size}: {error}") from error


def _lower_is_better(metric: Typed) -> bool:
    """As the file says, else as the metric's own default does."""
    parameter = inspect.signature(METRICS[metric.type]).parameters.get("better")
    default = parameter.default if parameter else None
    if default is None and metric.type in _LOWER_IS_BETTER:
        default = "lower"
    return metric.arguments.get("better", default) == "lower"


def _try_out(metrics: Mapping[str, Typed]) -> None:
    """Measures an image made up here, so that what is missing is said before training and not after."""
    y, x = np.mgrid[:_TRIAL, :_TRIAL]
    noise = (x * 37 + y * 101 + (x * y) % 53 * 17) % 64
    gray = (96 + 48 * np.sin(x / 9) * np.cos(y / 7) + noise).astype(np.uint8)
    gt = np.repeat(gray[..., None], 3, axis=2)
    for metric in metrics.values():
        _measured(metric, gt ^ np.uint8(1), gt)


class CapturingModel:
    """The network on one image; keeps what went in and what came out."""

    lq: Tensor
    result: Tensor

    def __init__(self, network: nn.Module, tile: int, multiple: int) -> None:
        parameter = next(network.parameters(), torch.empty(0))
        self._device = parameter.device
        self._network: Any = (
            Upscaler(network, tile=tile, dtype="fp32", device=self._device).tensor
            if tile
            else SizePadding(network, multiple)
        )

    def __call__(self, lq: Tensor) -> Tensor:
        self.lq = lq
        self.result = self._network(lq.to(self._device)).float().cpu()
        return self.result
