"""LQ images without ground truth, which some recipes adapt to (`datasets.unpaired`)."""

from __future__ import annotations

from hfsr.errors import OptionsError
from hfsr.registry import DATASETS

from .datasets import Sampling
from .decoded_images import Imagestore, Progress
from .file_lists import PairedFile, as_folders, find_images
from .loader import Batches
from .patches import Batch, PatchCutter

__all__ = ["BatchesBesideUnpaired", "SingleImageDataset"]


@DATASETS.register
class SingleImageDataset:
    """Folders of LQ images.

    Args:
        dataroot_lq: folder or list of folders, searched with their subfolders.
        lq_size: side of a patch in px; as large as the training set's LQ patches where not given.
        use_hflip, use_rot: random mirroring and rotation by 90 degrees.
        sampling: draw every "picture" equally often, or in proportion to its "area".
        scale, phase: passed by the engine.
    """

    def __init__(
        self,
        *,
        dataroot_lq: str | list[str],
        lq_size: int | None = None,
        use_hflip: bool = True,
        use_rot: bool = True,
        sampling: Sampling = "picture",
        scale: int = 1,
        phase: str = "unpaired",
    ) -> None:
        place = f"datasets:{phase}:dataroot_lq"
        self.singles = [path for folder in as_folders(dataroot_lq) for path in find_images(folder, place)]
        self.lq_size, self.phase = lq_size, phase
        self.use_hflip, self.use_rot, self.sampling = use_hflip, use_rot, sampling

    def patches(self, seed: int, progress: Progress | None = None) -> PatchCutter:
        """Decodes the images; the patches, as `lq`, then come from memory.

        Raises:
            OptionsError: nobody said how large a patch is.
            ImageError, DataError: an image cannot be read, or all are too small.
        """
        if self.lq_size is None:
            raise OptionsError(f"datasets.{self.phase}.lq_size: is missing; the side of a patch in px")
        return PatchCutter(
            Imagestore([PairedFile(path) for path in self.singles], scale=1, progress=progress),
            gt_size=self.lq_size,
            use_hflip=self.use_hflip,
            use_rot=self.use_rot,
            sampling=self.sampling,
            seed=seed,
        )


class BatchesBesideUnpaired(Batches):
    """Batches of pairs, each with a batch of images alone under `unpaired`.

    Args:
        pairs: decides what is drawn when.
        unpaired: drawn from in step with it; its own batch size.
    """

    def __init__(self, pairs: Batches, unpaired: Batches) -> None:
        vars(self).update(vars(pairs))
        self.pairs, self.unpaired = pairs, unpaired

    def at(self, seen: int) -> Batch:
        alone = self.unpaired.at(seen // self.global_batch * self.unpaired.global_batch)
        return {**self.pairs.at(seen), "unpaired": alone["lq"]}
