"""Decoded images: read once, stored in memory, or in a temporary file if there are many."""

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
"""LQ and GT, the error of reading them, or a message that their sizes do not match."""


class Imagestore:
    """All images of a data set, decoded.

    GT is cropped to a multiple of the scale. A missing LQ is made from the whole GT image: by MATLAB's
    bicubic reduction, bit-equal to the released LR files, unless another degradation is given.

    Args:
        files: the images.
        scale: enlargement between LQ and GT in training.
        degradation: deterministic steps that make a missing LQ image from its GT image. Patches apply the
            remaining steps, and remaining reductions with them.
        memory_limit: bytes above which further images go to a memory-mapped temporary file (default: half
            of the available memory).
        skip_unreadable: True to leave out images that cannot be read; the log names and counts them.
        cache: cache of the decoded images for the next start; used if all images are files.
        progress: called after each image.

    Raises:
        ImageError: if an image cannot be read; the message names the file.
        DataError: if no image can be read, or LQ images do not have the size of their GT divided by the scale
            (the message names the first five).
    """

    pairs: list[tuple[Pixels, Pixels]]
    """LQ and GT of every file, in order: RGB, uint8 or uint16 as in the files, (h, w, 3) and
    (h*scale, w*scale, 3); the same array if the degradation has no step."""

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
        given = [(file.gt, file.lq) for file in files]
        # A list may name an image several times, to draw it more often; it is decoded once.
        self.files = list(dict(zip(given, files, strict=True)).values())
        self.scale = scale
        self._degradation = build_chain(None, scale) if degradation is None else degradation
        self.unreadable: list[str] = []
        key = self._cache_key(cache)
        kept = cache.load(key, len(self.files)) if cache and key else None
        if kept is None:
            kept = self._read_all(memory_limit, skip_unreadable, progress)
            if cache and key and not self.unreadable:
                kept = cache.store(key, kept)
        decoded = dict(zip(((file.gt, file.lq) for file in self.files), kept, strict=True))
        self.pairs = [decoded[images] for images in given if images in decoded]

    def _read_all(
        self, memory_limit: int | None, skip_unreadable: bool, progress: Progress | None
    ) -> list[tuple[Pixels, Pixels]]:
        """Decodes every file; removes those that are left out from `files`."""
        limit = psutil.virtual_memory().available // 2 if memory_limit is None else memory_limit
        with _Shelf(limit) as shelf:
            pairs = self._decode(shelf, skip_unreadable, progress)
        if self.unreadable:
            logger.warning("%d images left out: %s", len(self.unreadable), some_of(self.unreadable))
        if not any(pairs):
            raise DataError(f"none of the {len(self.files)} images can be read: {some_of(self.unreadable)}")
        self.files = [file for file, pair in zip(self.files, pairs, strict=True) if pair is not None]
        return [pair for pair in pairs if pair is not None]

    def __len__(self) -> int:
        return len(self.pairs)

    def _decode(
        self, shelf: _Shelf, skip_unreadable: bool, progress: Progress | None
    ) -> list[tuple[Pixels, Pixels] | None]:
        """Returns the pair of each file, or None for one that is left out."""
        mismatches: list[str] = []
        pairs: list[tuple[Pixels, Pixels] | None] = []
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            try:
                for done, result in enumerate(_in_order(pool, self._read, self.files), 1):
                    if isinstance(result, ImageError):
                        if not skip_unreadable:
                            raise result
                        self.unreadable.append(str(result))
                        pairs.append(None)
                    elif isinstance(result, str):
                        mismatches.append(result)
                    else:
                        lq, gt = result
                        kept = shelf.keep(gt)
                        pairs.append((kept if lq is gt else shelf.keep(lq), kept))
                    if progress:
                        progress(done, len(self.files))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        if mismatches:
            raise DataError(f"{some_of(mismatches)}; make the LQ images from these GT images")
        return pairs

    def _cache_key(self, cache: ImageCache | None) -> str | None:
        """Returns None if an image is not a file: its size and time would not reveal a change."""
        places = [place for file in self.files for place in (file.gt, file.lq) if place is not None]
        paths = [place for place in places if isinstance(place, Path)]
        if cache is None or len(paths) < len(places):
            return None
        try:
            return cache.key(
                paths, {"scale": self.scale, "bits": "as stored", **self._degradation.protocol()}
            )
        except OSError:
            return None  # a file is missing, which reading it reports

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
    """Yields the results in the order of the files; reads only a few ahead, to limit the memory."""
    ahead: deque[Future[_Read]] = deque()
    for file in files:
        ahead.append(pool.submit(read, file))
        if len(ahead) > _AHEAD:
            yield ahead.popleft().result()
    while ahead:
        yield ahead.popleft().result()


class _Shelf:
    """Stores arrays in memory up to a limit, then in an unnamed file, which disappears with the arrays."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._file: IO[bytes] | None = None

    def __enter__(self) -> _Shelf:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()  # the arrays keep the mapping alive

    def keep(self, pixels: Pixels) -> Pixels:
        if isinstance(pixels, np.memmap) or isinstance(pixels.base, np.memmap):
            return pixels  # of a pack, and therefore in a file already
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
