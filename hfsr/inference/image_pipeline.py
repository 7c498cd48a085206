"""The image pipeline: conversion, opacity, self-ensemble, reduction and copies around runners."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hfsr import images

from .image_io.device_transfer import HostSink, ResultTransfer
from .image_io.intermediate_image import intermediate
from .image_io.pixel_source import PixelSink, PixelSource, source_of
from .image_io.resampling import ResamplingSink
from .image_io.result_array import ArrayWriter, RegionWriter, RowAssembler, allocate_result
from .image_io.self_ensemble import VIEWS, ViewMean, ViewSource
from .image_io.sources_and_sinks import ImageSink, ImageSource, TensorSink, TensorSource
from .program.geometry import Size
from .progress import Progress, one_pass
from .runner import Runner
from .runtime.precision import disable_tf32

__all__ = ["ImagePipeline"]


@dataclass(frozen=True)
class ImagePipeline:
    """Runs images through one runner, or through several one after another; every method yields progress.

    Attributes:
        runners: run the networks, in this order.
        self_ensemble: average the results of the eight flips and transposes, for each network.
        target: size to which the result is reduced; None keeps it.
        scales: px of the reduced result per px of the image, down and across; None: those of the sizes.
    """

    runners: tuple[Runner, ...]
    self_ensemble: bool = False
    target: Size | None = None
    scales: tuple[float, float] | None = None

    def image(self, image: images.LoadedImage) -> Generator[Progress, None, images.LoadedImage]:
        """Returns the result of an image."""
        size = self._result_size(image)
        pixels = allocate_result((*size, *image.pixels.shape[2:]), image.pixels.dtype)
        alpha, source = yield from self._split_alpha(image)
        yield from self._color_steps(image, source, ArrayWriter(pixels))
        return replace(image, pixels=pixels, alpha=alpha)

    def rows(
        self, image: images.LoadedImage, write_rows: Callable[[NDArray], None]
    ) -> Generator[Progress, None, None]:
        """Passes on the rows of the result as they are completed, with alpha as the last channel."""
        alpha, source = yield from self._split_alpha(image)
        target = RowAssembler(self._result_size(image).width, write_rows, alpha)
        yield from self._color_steps(image, source, target)

    def array(self, array: NDArray) -> Generator[Progress, None, NDArray]:
        """Returns the result of an array, in its type."""
        source = PixelSource(array, self._device)
        size = self.result_size(source.size)
        result = allocate_result((*size, *array.shape[2:]), array.dtype)
        yield from self._run(source, PixelSink(source, ArrayWriter(result)))
        return result

    def tensor(self, x: Tensor) -> Generator[Progress, None, Tensor]:
        """Returns the result of RGB in [0, 1], (1, 3, H, W), as float32 on the CPU."""
        source = TensorSource(x, self._device)
        result = torch.empty(1, 3, *self.result_size(source.size))
        yield from self._run(source, TensorSink(result))
        return result

    def result_size(self, size: Size) -> Size:
        """Size of the result of an image."""
        return self.sizes(size)[-1] if self.target is None else self.target

    def sizes(self, size: Size) -> list[Size]:
        """Sizes of an image and of the result of each network."""
        return list(
            itertools.accumulate(self.runners, lambda size, runner: runner.result_size(size), initial=size)
        )

    @property
    def _device(self) -> torch.device:
        return self.runners[0].device

    def _result_size(self, image: images.LoadedImage) -> Size:
        return self.result_size(Size(image.height, image.width))

    def _split_alpha(
        self, image: images.LoadedImage
    ) -> Generator[Progress, None, tuple[NDArray | None, PixelSource]]:
        """Returns the alpha of the result, and the colors to run.

        Varying alpha runs first, as a gray image; transparent px then get the colors of their surroundings.
        """
        alpha, device = image.alpha, self._device
        if not _has_varying_alpha(image) or alpha is None:
            size = self._result_size(image)
            result = None if alpha is None else np.broadcast_to(alpha[0, 0], size)
            return result, source_of(image, device)
        result = yield from one_pass(0, 2, self.array(alpha))
        result = np.clip(result, 0, 1) if result.dtype.kind == "f" else result
        return result, source_of(image, device, images.underlaid(image.pixels, alpha))

    def _color_steps(
        self, image: images.LoadedImage, source: PixelSource, target: RegionWriter
    ) -> Generator[Progress, None, None]:
        steps = self._run(source, PixelSink(source, target))
        yield from one_pass(1, 2, steps) if _has_varying_alpha(image) else steps

    def _run(self, source: ImageSource, sink: HostSink) -> Generator[Progress, None, None]:
        """Runs a source through all networks; what lies between two of them is kept as a whole."""
        sizes = self.sizes(source.size)
        pixels = [size.height * size.width for size in sizes]
        works = [runner.parameters * count for runner, count in zip(self.runners, pixels, strict=False)]
        current = source
        for index, runner in enumerate(self.runners):
            rest = sum(works[index + 1 :]) / works[index]
            if index + 1 < len(self.runners):
                kept, following = intermediate(source, sizes[index + 1], runner.device)
                run = self._run_one(runner, current, kept)
            else:
                following = current
                run = self._run_one(runner, current, sink, sizes[-1])
            yield from one_pass(index, len(self.runners), run, rest=rest)
            current = following

    def _run_one(
        self, runner: Runner, source: ImageSource, sink: HostSink, size: Size | None = None
    ) -> Generator[Progress, None, None]:
        """Runs one network, with TF32 disabled between two yields and the caller's setting restored at each.

        Args:
            runner: of the network.
            source: the image.
            sink: receives the result, reduced to `target` if `size` is given.
            size: of the result before that.
        """
        with closing(self._run_to_host(runner, source, sink, size)) as steps:
            while True:
                with disable_tf32(runner.dtype, runner.device):
                    step = next(steps, None)
                if step is None:
                    return
                yield step

    @torch.inference_mode()  # as a decorator: the caller's mode is restored at each yield
    def _run_to_host(
        self, runner: Runner, source: ImageSource, sink: HostSink, size: Size | None
    ) -> Generator[Progress, None, None]:
        transfer = ResultTransfer(runner.device, sink)
        last: ImageSink = transfer
        if size is not None and self.target is not None and self.target != size:
            last = ResamplingSink(transfer, size, self.target, self._factors())
        yield from self._run_views(runner, source, last)
        transfer.finish()

    def _factors(self) -> tuple[float, float] | None:
        """Px of the reduced result per px of the result of the networks."""
        if self.scales is None:
            return None
        scale = math.prod(runner.scale for runner in self.runners)
        return self.scales[0] / scale, self.scales[1] / scale

    def _run_views(self, runner: Runner, source: ImageSource, sink: ImageSink) -> Iterator[Progress]:
        if not self.self_ensemble:
            yield from runner.run(source, sink)
            return
        mean = ViewMean(runner.result_size(source.size))
        for index, view in enumerate(VIEWS):
            run = runner.run(ViewSource(view, source), mean.sink(view))
            yield from one_pass(index, len(VIEWS), run)
        mean.write(sink, runner.device)


def _has_varying_alpha(image: images.LoadedImage) -> bool:
    return image.alpha is not None and bool(image.alpha.min() != image.alpha.max())
