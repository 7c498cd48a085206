"""LQ images without ground truth: restored in tests, and used for adaptation by some recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hfsr.errors import OptionsError
from hfsr.registry import DATASETS

from .datasets import Color, Sampling, check_backend
from .decoded_images import Imagestore, Progress
from .file_lists import as_folders
from .loader import Batches
from .meta_info import listed_pairs
from .pairing import find_singles
from .patches import Batch, PatchCutter

__all__ = ["BatchesBesideUnpaired", "SingleImageDataset"]


@DATASETS.register
class SingleImageDataset:
    """LQ images alone: `unpaired`, or a test or validation set without ground truth.

    Args:
        dataroot_lq: folder or list of folders, searched with their subfolders; also containers of images.
        meta_info_file: a text file that names one image per line, relative to `dataroot_lq`; only these are
            read.
        io_backend: accepted for BasicSR's files; the suffix of `dataroot_lq` decides.
        color: "y" reads images as luma, for networks with one channel.
        lq_size: side of a patch in px (default: that of the training set's LQ patches).
        use_hflip, use_rot: random mirroring and rotation by 90 degrees.
        sampling: `picture` draws every image equally often, `area` in proportion to its pixels.
        scale, phase: passed by the engine.
    """

    def __init__(
        self,
        *,
        dataroot_lq: str | list[str],
        meta_info_file: str | None = None,
        io_backend: dict[str, Any] | None = None,
        color: Color = "rgb",
        lq_size: int | None = None,
        use_hflip: bool = True,
        use_rot: bool = True,
        sampling: Sampling = "picture",
        scale: int = 1,
        phase: str = "unpaired",
    ) -> None:
        check_backend(io_backend, phase)
        self.singles = find_singles(as_folders(dataroot_lq), f"datasets:{phase}:dataroot_lq")
        if meta_info_file is not None:
            self.singles = listed_pairs(
                self.singles, Path(meta_info_file).expanduser(), f"datasets.{phase}", root="dataroot_lq"
            )
        self.to_luma = color == "y"
        self.lq_size, self.phase = lq_size, phase
        self.use_hflip, self.use_rot, self.sampling = use_hflip, use_rot, sampling

    def patches(self, seed: int, progress: Progress | None = None) -> PatchCutter:
        """Decodes the images and returns a source of patches (as `lq`), which cuts them from memory.

        Raises:
            OptionsError: if it is the training set, or `lq_size` is missing.
            ImageError, DataError: if an image cannot be read, or all are too small.
        """
        if self.phase == "train":
            raise OptionsError(
                "datasets.train.type: SingleImageDataset has no ground truth to train on; use "
                "PairedImageDataset, with dataroot_gt (and dataroot_lq, unless the LQ is made from GT)"
            )
        if self.lq_size is None:
            raise OptionsError(f"datasets.{self.phase}.lq_size: is missing; the side of a patch in px")
        return PatchCutter(
            Imagestore(self.singles, scale=1, progress=progress),
            gt_size=self.lq_size,
            use_hflip=self.use_hflip,
            use_rot=self.use_rot,
            sampling=self.sampling,
            seed=seed,
            to_luma=self.to_luma,
        )


class BatchesBesideUnpaired(Batches):
    """Batches of pairs, each with a batch of unpaired images as `unpaired`.

    Args:
        pairs: the pairs, which determine the position.
        unpaired: the images, drawn in step with the pairs, with a batch size of their own.
    """

    def __init__(self, pairs: Batches, unpaired: Batches) -> None:
        vars(self).update(vars(pairs))
        self.pairs, self.unpaired = pairs, unpaired

    def continue_from(self, seen: int, iteration: int) -> None:
        self.pairs.continue_from(seen, iteration)
        self.unpaired.continue_from(self._position(seen), iteration)

    def _position(self, seen: int) -> int:
        """Returns the number of drawn unpaired patches after `seen` patches of pairs."""
        return seen // self.global_batch * self.unpaired.global_batch

    def at(self, seen: int) -> Batch:
        alone = self.unpaired.at(self._position(seen))
        return {**self.pairs.at(seen), "unpaired": alone["lq"]}
