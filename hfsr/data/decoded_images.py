"""Decoded images: read once, kept as bytes in memory, or in a temporary file when there are many."""

from __future__ import annotations

import logging
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO

import numpy as np
import psutil
from numpy.typing import NDArray

from hfsr.degradations import Chain, build_chain, modcrop
from hfsr.errors import DataError, ImageError, some_of

from .cache import ImageCache
from .file_lists import PairedFile, StoredPair, read_rgb

__all__ = ["Imagestore", "Progress"]

logger = logging.getLogger("hfsr")

Pixels = NDArray
"""uint8 or uint16."""
Progress = Callable[[int, int], None]
"""Called with (done, total) images."""

_AHEAD = 32  # images
_Read = tuple[Pixels, Pixels] | ImageError | str
"""LQ and GT, or why they cannot be read, or that they do not match."""


class Imagestore:
    """All images of a data set, decoded.

    GT is cropped to a multiple of the scale. An LQ that is not given is made of the whole GT image: by
    MATLAB's bicubic reduction, bit-equal to the released LR files, unless another degradation is given.

    Args:
        files: the images.
        scale: enlargement between the two, as training sees them.
        degradation: what is done here to a GT image whose LQ is not given; draws nothing. What it leaves
            to be reduced, patches reduce.
        memory_limit: bytes above which further images go to a memory-mapped temporary file; half of what
            is free where not given.
        skip_unreadable: leave images out that cannot be read; they are named in the log and counted.
        cache: keeps the decoded images for the next start; only those that are files.
        progress: told after each image.

    Raises:
        ImageError: an image cannot be read; the file is named.
        DataError: LQ images whose size is not that of their GT divided by the scale; the first five are
            named. Or none could be read.
    """

    pairs: list[tuple[Pixels, Pixels]]
    """LQ and GT of every file, in order: RGB, uint8 or uint16 as the files have them, (h, w, 3) and
    (h*scale, w*scale, 3); the same array where nothing is done to it."""

    def __init__(
        self,
        files: Sequence[PairedFile | StoredPair],
        *,
        scale: int,
        degradation: Chain | None = None,
        memory_limit: int | None = None,
        skip_unreadable: bool = False,
        cache: ImageCache | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.files, self.scale = list(files), scale
        self._degradation = build_chain(None, scale) if degradation is None else degradation
        self.pairs = []
        self.unreadable: list[str] = []
        key = self._cache_key(cache)
        kept = cache.load(key, len(self.files)) if cache and key else None
        if kept is not None:
            self.pairs = kept
            return
        limit = psutil.virtual_memory().available // 2 if memory_limit is None else memory_limit
        with _Shelf(limit) as shelf:
            self._decode(shelf, skip_unreadable, progress)
        if self.unreadable:
            logger.warning("%d images left out: %s", len(self.unreadable), some_of(self.unreadable))
        if not self.pairs:
            raise DataError(f"none of the {len(self.files)} images can be read: {some_of(self.unreadable)}")
        if cache and key and not self.unreadable:
            self.pairs = cache.store(key, self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def _decode(self, shelf: _Shelf, skip_unreadable: bool, progress: Progress | None) -> None:
        mismatches: list[str] = []
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            try:
                for done, result in enumerate(_in_order(pool, self._read, self.files), 1):
                    if isinstance(result, ImageError):
                        if not skip_unreadable:
                            raise result
                        self.unreadable.append(str(result))
                    elif isinstance(result, str):
                        mismatches.append(result)
                    else:
                        lq, gt = result
                        kept = shelf.keep(gt)
                        self.pairs.append((kept if lq is gt else shelf.keep(lq), kept))
                    if progress:
                        progress(done, len(self.files))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        if mismatches:
            raise DataError(f"{some_of(mismatches)}; make the LQ pictures from these GT images")

    def _cache_key(self, cache: ImageCache | None) -> str | None:
        """None where something is not a file, and so cannot be told from another of its name."""
        places = [place for file in self.files for place in (file.gt, file.lq) if place is not None]
        paths = [place for place in places if isinstance(place, Path)]
        if cache is None or len(paths) < len(places):
            return None
        try:
            return cache.key(
                paths, {"scale": self.scale, "bits": "as stored", **self._degradation.protocol()}
            )
        except OSError:
            return None  # a file is missing: reading it says so

    def _read(self, file: PairedFile | StoredPair) -> _Read:
        try:
            gt = modcrop(read_rgb(file.gt), self.scale)
            if file.lq is None:
                return self._degradation(gt, np.random.default_rng(0)), gt
            lq = read_rgb(file.lq)
        except ImageError as error:
            return error
        height, width = (side // self.scale for side in gt.shape[:2])
        if lq.shape[:2] != (height, width):
            return (
                f"'{file.lq}' has {lq.shape[1]}x{lq.shape[0]} px, but '{file.gt}' divided by {self.scale} "
                f"has {width}x{height}"
            )
        return lq, gt


def _in_order(
    pool: ThreadPoolExecutor,
    read: Callable[[PairedFile | StoredPair], _Read],
    files: Sequence[PairedFile | StoredPair],
) -> Iterator[_Read]:
    """The results in the order of the files, a few of them read ahead: more would fill the memory."""
    ahead: deque[Future[_Read]] = deque()
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
        if isinstance(pixels, np.memmap) or isinstance(pixels.base, np.memmap):
            return pixels  # of a pack: it is in a file already
        self._left -= pixels.nbytes
        if self._left >= 0:
            return pixels
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="hfsr-images-")  # noqa: SIM115  closed by __exit__
        end = self._file.seek(0, os.SEEK_END)
        offset = self._file.seek(end + end % pixels.itemsize)
        self._file.write(np.ascontiguousarray(pixels).data)
        self._file.flush()
        return np.memmap(self._file, pixels.dtype, "r", offset, pixels.shape)
