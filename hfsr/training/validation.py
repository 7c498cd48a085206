"""Measures a network on the validation sets, through `hfsr.evaluation`: while training and by `hfsr test`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from hfsr.data import read_rgb
from hfsr.degradations import Seeded, modcrop
from hfsr.evaluation import Pair, Report, Scores, evaluate
from hfsr.images import Picture, from_rgb_float, write_picture
from hfsr.inference import Upscaler
from hfsr.options import TrainOptions
from hfsr.registry import METRICS

from .setup import build_dataset, files_of

__all__ = ["Best", "Measurement", "Validation"]


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


class Validation:
    """The validation sets of an option file.

    Args:
        options: `datasets` other than `train`, and `val`.

    Raises:
        DataError: a folder is missing or its pictures do not pair.
    """

    def __init__(self, options: TrainOptions) -> None:
        self.options = options
        self.sets: dict[str, list[Pair]] = {}
        self._degradations: dict[str, Seeded | None] = {}
        for key, section in options.validation_sets().items():
            dataset = build_dataset(options, key)
            name, files = section.name or key, files_of(dataset, key)
            self.sets[name] = [Pair(file.gt.stem, file.gt, file.lq) for file in files]
            self._degradations[name] = getattr(dataset, "degradation", None)

    def measure(
        self, network: nn.Module, *, save: Callable[[str, str], Path] | None = None
    ) -> list[Measurement]:
        """Restores and measures every picture, in float32.

        Args:
            network: in evaluation mode.
            save: gives the file for the restored picture of a set, where they are to be written.
        """
        return [self._measure_set(network, name, save) for name in self.sets]

    def decide(self, measured: list[Measurement], iteration: int, best: Best | None) -> Best | None:
        """The new best, or None when the old one stands."""
        if not measured:
            return None
        first, metrics = measured[0], self.options.val.metrics or {}
        metric = next(iter(metrics), "psnr_y")
        value = first.values()[f"{first.set}/{metric}"]
        lower = metric in metrics and metrics[metric].arguments.get("better") == "lower"
        if best is None or (value < best.value if lower else value > best.value):
            return Best(value, iteration, first.set, metric)
        return None

    def _measure_set(
        self, network: nn.Module, name: str, save: Callable[[str, str], Path] | None
    ) -> Measurement:
        scale, tile = self.options.scale, self.options.val.tile_size
        restore = _Remembering(network, tile)
        pairs = self.sets[name]
        sums: dict[str, list[float]] = {metric: [] for metric in self.options.val.metrics or {}}

        def finish(done: int, total: int, scores: Scores) -> None:
            if save is not None:
                write_picture(Picture(from_rgb_float(restore.result)), save(name, scores.name))
            if sums:
                self._add_metrics(sums, pairs[done - 1], restore.result)

        report = evaluate(
            restore,
            pairs,
            scale=scale,
            degradation=self._degradations[name],
            set_name=name,
            tile=tile,
            progress=finish,
        )
        return Measurement(name, report, {metric: fmean(values) for metric, values in sums.items()})

    def _add_metrics(self, sums: dict[str, list[float]], pair: Pair, result: Tensor) -> None:
        """BasicSR's metrics take BGR uint8 pictures."""
        gt = modcrop(read_rgb(Path(str(pair.gt))), self.options.scale)
        sr = from_rgb_float(result)
        for name, values in sums.items():
            section = (self.options.val.metrics or {})[name]
            arguments = {key: value for key, value in section.arguments.items() if key != "better"}
            values.append(float(METRICS[section.type](sr[..., ::-1], gt[..., ::-1], **arguments)))


class _Remembering:
    """The network on one picture; keeps the last result."""

    result: Tensor

    def __init__(self, network: nn.Module, tile: int) -> None:
        parameter = next(network.parameters(), torch.empty(0))
        self._device = parameter.device
        self._network: Any = (
            Upscaler(network, tile=tile, dtype="fp32", device=self._device).tensor if tile else network
        )

    def __call__(self, lq: Tensor) -> Tensor:
        self.result = self._network(lq.to(self._device)).float().cpu()
        return self.result
