"""Execution of an image as a whole, without a program."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from ..image_io.sources_and_sinks import ImageSink, ImageSource
from ..program.geometry import Region, Size
from .executor import ExecutionStep

__all__ = ["WholeExecutor"]


class WholeExecutor:
    """Runs a network on the whole image at once.

    Args:
        model: a network in evaluation mode, float32.
        result: size of the result.
    """

    tile: int | str = 0

    def __init__(self, model: nn.Module, result: Size) -> None:
        self._model = model
        self._result = result

    def run(self, source: ImageSource, sink: ImageSink) -> Iterator[ExecutionStep]:
        image = source.read(Region.whole(source.size))
        sink.write(Region.whole(self._result), self._model(image))
        yield ExecutionStep(1, 1, 1.0)
