"""Decoded pictures: read once, kept as bytes in memory, or in a temporary file when there are many."""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO

import numpy as np
import psutil
from numpy.typing import NDArray

from hfsr.degradations import Chain, build_chain, modcrop
from hfsr.errors import DataError

from .files import PairedFile, read_rgb

__all__ = ["PictureStore", "Progress"]

Pixels = NDArray[np.uint8]
Progress = Callable[[int, int], None]
"""Called with (done, total) pictures."""

_AHEAD = 32  # pictures


class PictureStore:
    """All pictures of a data set, decoded.

    GT is cropped to a multiple of the scale. An LQ that is not given is made of the whole GT picture: by
    MATLAB's bicubic reduction, bit-equal to the released LR files, unless another degradation is given.

    Args:
        files: the pictures.
        scale: enlargement between the two, as training sees them.
        degradation: what is done here to a GT picture whose LQ is not given; draws nothing. What it leaves
            to be reduced, patches reduce.
        memory_limit: bytes above which further pictures go to a memory-mapped temporary file; half of what
            is free where not given.
        progress: told after each picture.

    Raises:
        ImageError: a picture cannot be read; the file is named.
        DataError: an LQ picture whose size is not that of its GT divided by the scale.
    """

    pairs: list[tuple[Pixels, Pixels]]
    """LQ and GT of every file, in order: RGB uint8, (h, w, 3) and (h*scale, w*scale, 3); the same array
    where nothing is done to it."""

    def __init__(
        self,
        files: Sequence[PairedFile],
        *,
        scale: int,
        degradation: Chain | None = None,
        memory_limit: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.files, self.scale = list(files), scale
        self._degradation = build_chain(None, scale) if degradation is None else degradation
        self.pairs = []
        limit = psutil.virtual_memory().available // 2 if memory_limit is None else memory_limit
        with _Shelf(limit) as shelf, ThreadPoolExecutor(os.cpu_count()) as pool:
            try:
                for lq, gt in _in_order(pool, self._read, self.files):
                    kept = shelf.keep(gt)
                    self.pairs.append((kept if lq is gt else shelf.keep(lq), kept))
                    if progress:
                        progress(len(self.pairs), len(self.files))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def __len__(self) -> int:
        return len(self.pairs)

    def _read(self, file: PairedFile) -> tuple[Pixels, Pixels]:
        gt = modcrop(read_rgb(file.gt), self.scale)
        if file.lq is None:
            return self._degradation(gt, np.random.default_rng(0)), gt
        lq = read_rgb(file.lq)
        height, width = (side // self.scale for side in gt.shape[:2])
        if lq.shape[:2] != (height, width):
            raise DataError(
                f"'{file.lq}' has {lq.shape[1]}x{lq.shape[0]} px, but '{file.gt}' divided by {self.scale} "
                f"has {width}x{height}; make the LQ pictures from these GT pictures"
            )
        return lq, gt


def _in_order(
    pool: ThreadPoolExecutor, read: Callable[[PairedFile], tuple[Pixels, Pixels]], files: Sequence[PairedFile]
) -> Iterator[tuple[Pixels, Pixels]]:
    """The results in the order of the files, a few of them read ahead: more would fill the memory."""
    ahead: deque[Future[tuple[Pixels, Pixels]]] = deque()
    for file in files:
        ahead.append(pool.submit(read, file))
        if len(ahead) > _AHEAD:
            yield ahead.popleft().result()
    while ahead:
        yield ahead.popleft().result()


class _Shelf:
    """Keeps arrays in memory up to a limit, then in a file without a name, which vanishes with the arrays."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._file: IO[bytes] | None = None

    def __enter__(self) -> _Shelf:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()  # the arrays keep the mapped space

    def keep(self, pixels: Pixels) -> Pixels:
        self._left -= pixels.nbytes
        if self._left >= 0:
            return pixels
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="hfsr-pictures-")  # noqa: SIM115  closed by __exit__
        offset = self._file.seek(0, os.SEEK_END)
        self._file.write(np.ascontiguousarray(pixels).data)
        self._file.flush()
        return np.memmap(self._file, np.uint8, "r", offset, pixels.shape)
