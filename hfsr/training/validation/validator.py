"""Measures a network on the validation sets, through `hfsr.evaluation`: while training and by `hfsr test`."""

from __future__ import annotations

import inspect
import math
import os
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

from hfsr.archs import LumaRestorer, luma
from hfsr.degradations import Bicubic, Chain, Seeded
from hfsr.errors import HfsrError, OptionsError
from hfsr.evaluation import Pair, Report, Scores, eight_bit_luma, evaluate, network_input, summarize
from hfsr.images import LoadedImage, from_rgb_float, quantize, write_image
from hfsr.inference import Upscaler
from hfsr.model_zoo import is_luma_network, spec_of
from hfsr.options import TrainOptions
from hfsr.options.sections import Typed
from hfsr.registry import ARCHS, METRICS

from ..setup import build_dataset, channels_of, files_of
from .restoration import Restoration, needs_reference
from .size_multiple import SizePadding, find_size_multiple

__all__ = ["Best", "Measurement", "Validator"]

Pixels = NDArray[np.uint8]
Show = Callable[[Pixels, Pixels, Pixels], None]
"""Receives LQ, SR and GT of an image: RGB, (H, W, 3)."""
SaveTo = Callable[[str, str], Path]
"""Returns the file for a restored image, from the names of set and image; its folder is created if needed.

The name of an image may contain folders."""

_LOWER_IS_BETTER = frozenset({"calculate_niqe", "calculate_fid"})
"""Those of BasicSR's metrics that do not declare it."""
_UNCHANGED = Seeded(Chain([]))
"""The degradation of images that are given as they are."""
_TRIAL = 208
"""Side in px of the image on which metrics are tried; enough for MS-SSIM and NIQE with a cropped border."""


@dataclass(frozen=True)
class Measurement:
    """Results on one validation set."""

    set: str
    report: Report
    """Results of the evaluation protocol."""
    metrics: Mapping[str, float]
    """Means of `val.metrics`, by their names in the file."""

    def values(self) -> dict[str, float]:
        """Returns the values for curves, by `<set>/<metric>`."""
        numbers = {"psnr_y": self.report.psnr_y, "ssim_y": self.report.ssim_y, **self.metrics}
        return {f"{self.set}/{name}": value for name, value in numbers.items()}

    def __str__(self) -> str:
        text = f"{self.set}: PSNR-Y {self.report.psnr_y:.4f} dB, SSIM-Y {self.report.ssim_y:.5f}"
        named = "".join(f", {name} {value:.4f}" for name, value in self.metrics.items())
        return f"{text}{named} (bicubic {self.report.bicubic_psnr_y:.4f} dB)"


@dataclass
class Best:
    """Best value of the deciding metric: the first of `val.metrics` on the first set, else PSNR-Y."""

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
        accelerator: distributes the images over its processes; None measures all of them in this one.

    Raises:
        DataError: if a folder is missing or its images do not pair.
        OptionsError: if two sets have the same name, or tiles are requested for a third-party network.
        HfsrError: if a metric cannot be measured here.
    """

    def __init__(self, options: TrainOptions, accelerator: Accelerator | None = None) -> None:
        self.options = options
        self.metrics = options.val.metrics or {}
        self._rank = accelerator.process_index if accelerator else 0
        self._processes = accelerator.num_processes if accelerator else 1
        self.sets: dict[str, list[Pair]] = {}
        self.sets_without_gt: dict[str, list[Pair]] = {}
        """LQ images of sets without ground truth, stored in place of GT."""
        self._degradations: dict[str, Seeded | None] = {}
        self._largest: dict[str, Pair] = {}
        self._multiple: int | None = None
        for key, section in options.validation_sets().items():
            dataset = build_dataset(options, key)
            name, files = section.name or key, files_of(dataset, key)
            if name in self.sets or name in self.sets_without_gt:
                raise OptionsError(
                    f"datasets.{key}.name: another set is called '{name}' too; "
                    "give each set a name of its own, or their results overwrite each other"
                )
            without_gt = hasattr(dataset, "singles")
            pairs = [Pair(file.name, file.gt, file.lq) for file in files]
            (self.sets_without_gt if without_gt else self.sets)[name] = pairs
            self._degradations[name] = getattr(dataset, "degradation", None)
        if options.val.tile_size and options.network_g.type not in ARCHS:
            raise OptionsError(
                f"val.tile_size: {options.network_g.type} is another package's network and runs whole; use 0"
            )
        self.metrics_without_reference = {
            name: metric for name, metric in self.metrics.items() if not needs_reference(metric)
        }
        if self.sets or self.sets_without_gt:
            _try_out(self.metrics if self.sets else self.metrics_without_reference)

    def read(self) -> int:
        """Reads every image of every set once, as validation does.

        Returns:
            The number of images.

        Raises:
            ImageError, DataError: if one cannot be read, or LQ and GT do not match.
        """
        scale = self.options.scale
        for name, pairs in self.sets.items():
            degradation = self._degradations[name] or Seeded(Bicubic(scale=scale))
            largest = 0
            for pair in pairs:
                lq, _ = pair.load(degradation, scale)
                if lq.size > largest:
                    largest, self._largest[name] = lq.size, pair
        for name, pairs in self.sets_without_gt.items():
            largest = 0
            for pair in pairs:
                pixels, _ = pair.load(_UNCHANGED, 1)
                if pixels.size > largest:
                    largest, self._largest[name] = pixels.size, pair
        return sum(len(pairs) for sets in (self.sets, self.sets_without_gt) for pairs in sets.values())

    def measure(
        self, network: nn.Module, *, save: SaveTo | None = None, show: Show | None = None
    ) -> list[Measurement]:
        """Restores and measures every image in float32; all processes return the same results.

        Args:
            network: the network in evaluation mode.
            save: returns the files for restored images; None writes none.
            show: receives every image of the first set that this process measures.
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

    def restore(self, network: nn.Module, *, save: SaveTo | None = None) -> list[Restoration]:
        """Restores the images of the sets without ground truth; all processes return the same results.

        Args:
            network: the network in evaluation mode.
            save: returns the files for restored images; None writes none.
        """
        return [
            self._restore_set(network, name, pairs[self._rank :: self._processes], save)
            for name, pairs in self.sets_without_gt.items()
        ]

    def decide(self, measured: list[Measurement], iteration: int, best: Best | None) -> Best | None:
        """Returns the new best, or None if the old one remains."""
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
        """Restores and measures the largest image of each set, after `read`; all others need less memory.

        Raises:
            HfsrError: if the network or a metric fails.
        """
        for name, pair in self._largest.items():
            if name in self.sets:
                self._measure_set(network, name, [pair], None, None)
            else:
                self._restore_set(network, name, [pair], None)

    def _restorer_of_rgb(self, network: nn.Module) -> nn.Module:
        """Returns the network, or an adapter that runs a third-party one-channel network on luma."""
        if spec_of(network) is None and channels_of(self.options, network) == 1:
            return LumaRestorer(network, self.options.scale)
        return network

    def _size_multiple(self, network: nn.Module) -> int:
        """Returns the number of px of which image sides must be multiples; 1 for networks of hfsr."""
        section, window = self.options.network_g, self.options.val.window_size
        if section.type in ARCHS or not (self.sets or self.sets_without_gt):
            return 1
        if self._multiple is None:
            stated = window if window > 1 else section.arguments.get("window_size")
            self._multiple = math.lcm(find_size_multiple(network, stated), window)
        return self._multiple

    def _measure_set(
        self, network: nn.Module, name: str, pairs: list[Pair], save: SaveTo | None, show: Show | None
    ) -> Measurement:
        scale, tile = self.options.scale, self.options.val.tile_size
        channels = channels_of(self.options, network)
        network = self._restorer_of_rgb(network)
        gray = channels == 1
        restore = CapturingModel(network, tile, self._size_multiple(network))
        measured: list[tuple[Scores, dict[str, float]]] = []

        def finish(done: int, total: int, scores: Scores) -> None:
            sr = from_rgb_float(restore.result)
            if save is not None:
                path = save(name, scores.name)
                path.parent.mkdir(parents=True, exist_ok=True)
                write_image(LoadedImage(sr), path)
            gt = None
            if self.metrics or show:
                gt = _rgb(pairs[done - 1].load(_UNCHANGED, scale)[1])
            if show is not None and gt is not None:
                show(from_rgb_float(restore.lq), sr, gt)
            compared = sr, gt
            if gray and gt is not None:  # the network's own luma, as BasicSR measures it
                compared = quantize(luma(restore.result)[0, 0])[..., None], eight_bit_luma(gt)[..., None]
            values = {} if gt is None else {key: _measured(m, *compared) for key, m in self.metrics.items()}
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

    def _restore_set(
        self, network: nn.Module, name: str, pairs: list[Pair], save: SaveTo | None
    ) -> Restoration:
        network = self._restorer_of_rgb(network)
        model = CapturingModel(network, self.options.val.tile_size, self._size_multiple(network))
        values: list[dict[str, float]] = []
        folder: Path | None = None
        for pair in pairs:
            lq, _ = pair.load(_UNCHANGED, 1)
            with torch.inference_mode():
                sr = from_rgb_float(model(network_input(lq)))
            if save is not None:
                path = save(name, pair.name)
                folder = path.parent if folder is None else Path(os.path.commonpath([folder, path.parent]))
                path.parent.mkdir(parents=True, exist_ok=True)
                write_image(LoadedImage(sr), path)
            values.append({key: _measured(m, sr, None) for key, m in self.metrics_without_reference.items()})
        if self._processes > 1:
            shares = gather_object([(values, folder)])
            values = _interleaved([share for share, _ in shares])
            folder = next((place for _, place in shares if place is not None), None)
        return Restoration(
            name,
            len(values),
            {key: fmean(value[key] for value in values) for key in self.metrics_without_reference},
            tuple(key for key in self.metrics if key not in self.metrics_without_reference),
            None if folder is None else str(folder),
        )


def _rgb(pixels: NDArray) -> NDArray:
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)


def _interleaved(shares: list[list[Any]]) -> list[Any]:
    """Restores the order of images that were distributed over the processes in turn."""
    longest = max(len(share) for share in shares)
    return [share[place] for place in range(longest) for share in shares if place < len(share)]


def _measured(metric: Typed, sr: Pixels, gt: Pixels | None) -> float:
    """Computes one of `val.metrics`, which take BGR uint8 images as BasicSR's do; without GT, one without it.

    Raises:
        HfsrError: if it cannot measure such images.
    """
    arguments = {key: value for key, value in metric.arguments.items() if key != "better"}
    try:
        reference = {"img2": gt[..., ::-1]} if gt is not None and needs_reference(metric) else {}
        return float(METRICS[metric.type](img=sr[..., ::-1], **reference, **arguments))
    except HfsrError:
        raise
    except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError) as error:
        size = f"{sr.shape[1]}x{sr.shape[0]} px"  # third-party metrics check less
        raise HfsrError(f"the metric {metric.type} cannot measure an image of {size}: {error}") from error


def _lower_is_better(metric: Typed) -> bool:
    """Returns True if lower values are better, from the file or else from the metric's own default."""
    parameter = inspect.signature(METRICS[metric.type]).parameters.get("better")
    default = parameter.default if parameter else None
    if default is None and metric.type in _LOWER_IS_BETTER:
        default = "lower"
    return metric.arguments.get("better", default) == "lower"


def _try_out(metrics: Mapping[str, Typed]) -> None:
    """Measures a synthetic image, so that missing dependencies are reported before the training."""
    y, x = np.mgrid[:_TRIAL, :_TRIAL]
    noise = (x * 37 + y * 101 + (x * y) % 53 * 17) % 64
    gray = (96 + 48 * np.sin(x / 9) * np.cos(y / 7) + noise).astype(np.uint8)
    gt = np.repeat(gray[..., None], 3, axis=2)
    for metric in metrics.values():
        _measured(metric, gt ^ np.uint8(1), gt)


class CapturingModel:
    """Runs the network on one image and keeps its input and output."""

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
