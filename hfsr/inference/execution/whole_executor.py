"""Execution of an image at once, by the plain network or a compiled one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor

from ..image_io.sources_and_sinks import ImageSink, ImageSource
from ..program.geometry import Region, Size
from .executor import ExecutionStep

__all__ = ["WholeExecutor"]


class WholeExecutor:
    """Runs a network on the whole image at once.

    Args:
        run: a network in evaluation mode: takes and returns RGB float32, (1, 3, H, W).
        result: size of the result.
    """

    tile: int | str = 0

    def __init__(self, run: Callable[[Tensor], Tensor], result: Size) -> None:
        self._run = run
        self._result = result

    def run(self, source: ImageSource, sink: ImageSink) -> Iterator[ExecutionStep]:
        image = source.read(Region.whole(source.size))
        sink.write(Region.whole(self._result), self._run(image))
        yield ExecutionStep(1, 1, 1.0)
