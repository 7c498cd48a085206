"""Data set types of option files."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from hfsr.degradations import Chain, Seeded, build_chain
from hfsr.errors import DataError, MissingDependencyError, OptionsError, suggest
from hfsr.registry import DATASETS

from .cache import ImageCache, default_folder
from .decoded_images import Imagestore, Progress
from .file_lists import PairedFile, StoredPair, as_folders
from .meta_info import listed_pairs, pairs_of_list
from .pairing import Located, pair_folders, with_unique_names
from .patches import PatchCutter
from .scales import MixedScales

__all__ = ["Color", "PairedImageDataset", "SampleImageDataset", "check_backend"]


Color = Literal["rgb", "y"]
Sampling = Literal["picture", "area"]
Degradation = dict[str, Any] | list[dict[str, Any]]
"""Sections with a `type`, one for each step."""


@dataclass(frozen=True, kw_only=True)
class _Reading:
    """Options that every type of data set has: how images are read, cut and degraded."""

    scale: int
    gt_size: int | None
    use_hflip: bool
    use_rot: bool
    sampling: Sampling
    degradation: Degradation | None
    seed: int
    scales: list[float] | None = None
    lq_size: int | None = None
    sharpen_gt: bool = False
    to_luma: bool = False
    skip_unreadable: bool = False
    cache: ImageCache | None = None


class _Images:
    """Files that are cut into patches (training) or used whole (validation)."""

    files: list[PairedFile | StoredPair]
    degradation: Seeded
    """Makes missing LQ images when whole images are validated."""

    def __init__(self, files: Sequence[PairedFile | StoredPair], reading: _Reading) -> None:
        self.files, self.reading = list(files), reading
        self.scale = reading.scale
        self.chain: Chain = build_chain(reading.degradation, reading.scale)
        self.degradation = Seeded(self.chain, reading.seed)

    def patches(self, seed: int, progress: Progress | None = None) -> PatchCutter | MixedScales:
        """Decodes the images and returns a source of patches, which cuts them from memory.

        Raises:
            OptionsError: if `gt_size` is missing.
            ImageError, DataError: if an image cannot be read or is too small, or pairs do not match.
        """
        how = self.reading
        cutting: dict[str, Any] = {
            "use_hflip": how.use_hflip,
            "use_rot": how.use_rot,
            "sampling": how.sampling,
            "to_luma": how.to_luma,
        }
        if how.scales:
            store = self._store(Chain([]), 1, progress)
            return MixedScales(
                store,
                scales=how.scales,
                gt_size=how.gt_size,
                lq_size=how.lq_size,
                seed=seed,
                cutting=cutting,
            )
        if how.gt_size is None:
            raise OptionsError(
                "datasets.train.gt_size: is missing; the side of a GT patch in px, for example 96"
            )
        beforehand, each_time = self.chain.split()
        if how.sharpen_gt and beforehand.steps and any(source.lq is None for source in self.files):
            raise OptionsError(
                "datasets.train.sharpen_gt: LQ must be given, or made by a degradation that begins with a "
                "random step, such as SecondOrder; leave it out"
            )
        store = self._store(beforehand, self.scale, progress)
        return PatchCutter(
            store, gt_size=how.gt_size, degradation=each_time, seed=seed, sharpen_gt=how.sharpen_gt, **cutting
        )

    def _store(self, beforehand: Chain, scale: int, progress: Progress | None) -> Imagestore:
        return Imagestore(
            self.files,
            scale=scale,
            degradation=beforehand,
            skip_unreadable=self.reading.skip_unreadable,
            cache=self.reading.cache,
            progress=progress,
        )


@DATASETS.register
class PairedImageDataset(_Images):
    """Folders of GT images, and folders of LQ images or MATLAB bicubic reductions that are made here.

    Args:
        dataroot_gt: folder or list of folders, searched with their subfolders; also containers of images:
            `.pack`, `.lmdb` (BasicSR's), `.h5`.
        dataroot_lq: likewise; `~` makes LQ from GT. An LQ image has the relative path of its GT image; names
            in other subfolders are found too if they are unambiguous.
        filename_tmpl: LQ name from the GT name, without file type.
        gt_size: side of a GT patch in px; training only.
        use_hflip, use_rot: random mirroring and rotation by 90 degrees.
        sampling: `picture` draws every image equally often, `area` in proportion to its pixels.
        scales: real numbers of which each batch draws one, instead of the file's scale; LQ is then MATLAB's
            bicubic reduction of the GT patch. For VDSR, MDSR, MS-LapSRN and Meta-RDN.
        lq_size: with `scales`, instead of `gt_size`: side of an LQ patch in px.
        unreadable: "stop" before training at an image that cannot be read, or "skip" such images; the images
            of validation must all be readable.
        cache: keep decoded images for the next start: true for the user's cache folder, or a folder.
        cache_gb: size of that folder above which the least recently used sets are removed from it.
        color: "y" reads images as luma (MATLAB's), for networks with one channel.
        sharpen_gt: training: losses may compare with sharpened GT (`train.usm`); LQ that is made here is made
            from it (Real-ESRGAN).
        io_backend: accepted for BasicSR's files; the suffix of `dataroot_gt` decides.
        meta_info: a text file with one pair per line, `GT, LQ`, relative to `dataroot_gt` and `dataroot_lq`.
        meta_info_file: a text file that names one image per line, relative to `dataroot_gt`; only these
            are read. Names may contain spaces; a size after them, `(height,width,channels)`, is optional.
        degradation: makes LQ from GT: a section with a `type`, or a list of them, applied in this order;
            MATLAB bicubic if not given.
        seed: seed of random degradations in validation; each image draws by its name. Training draws by
            `manual_seed`, anew for each patch.
        scale, phase: passed by the engine.
    """

    def __init__(
        self,
        *,
        dataroot_gt: str | list[str],
        dataroot_lq: str | list[str] | None = None,
        filename_tmpl: str = "{}",
        gt_size: int | None = None,
        use_hflip: bool = True,
        use_rot: bool = True,
        sampling: Sampling = "picture",
        scales: list[float] | None = None,
        lq_size: int | None = None,
        unreadable: Literal["stop", "skip"] = "stop",
        cache: bool | str = False,
        cache_gb: float = 20.0,
        color: Color = "rgb",
        sharpen_gt: bool = False,
        io_backend: dict[str, Any] | None = None,
        meta_info: str | None = None,
        meta_info_file: str | None = None,
        degradation: Degradation | None = None,
        seed: int = 0,
        scale: int = 1,
        phase: str = "train",
    ) -> None:
        if degradation is not None and dataroot_lq is not None:
            raise OptionsError(
                f"datasets.{phase}: dataroot_lq names LQ images, degradation makes them; leave one out"
            )
        if scales and (degradation is not None or dataroot_lq is not None):
            raise OptionsError(
                f"datasets.{phase}: scales makes the LQ; leave dataroot_lq and degradation out"
            )
        if lq_size is not None and not scales:
            raise OptionsError(f"datasets.{phase}: lq_size goes with scales; otherwise give gt_size")
        check_backend(io_backend, phase)
        if meta_info is not None and meta_info_file is not None:
            raise OptionsError(
                f"datasets.{phase}: meta_info lists pairs, meta_info_file GT images; leave one out"
            )
        if meta_info is not None:
            files = pairs_of_list(
                Path(meta_info).expanduser(),
                as_folders(dataroot_gt),
                as_folders(dataroot_lq),
                f"datasets.{phase}",
            )
        else:
            files = pair_folders(
                as_folders(dataroot_gt),
                as_folders(dataroot_lq),
                place=f"datasets:{phase}",
                template=filename_tmpl,
                scale=scale,
            )
        if meta_info_file is not None:
            files = listed_pairs(files, Path(meta_info_file).expanduser(), f"datasets.{phase}")
        super().__init__(
            files,
            _Reading(
                scale=scale,
                gt_size=gt_size,
                use_hflip=use_hflip,
                use_rot=use_rot,
                sampling=sampling,
                degradation=degradation,
                seed=seed,
                scales=scales,
                lq_size=lq_size,
                sharpen_gt=sharpen_gt,
                to_luma=color == "y",
                skip_unreadable=unreadable == "skip",
                cache=_cache(cache, cache_gb),
            ),
        )


@DATASETS.register
class SampleImageDataset(_Images):
    """Photographs that are part of scikit-image; nothing is downloaded.

    Args:
        names: files of `skimage/data`, with their file type.
        gt_size, use_hflip, use_rot, sampling, degradation, seed, color, sharpen_gt, scale, phase: as for
            `PairedImageDataset`.
    """

    def __init__(
        self,
        *,
        names: list[str],
        gt_size: int | None = None,
        use_hflip: bool = True,
        use_rot: bool = True,
        sampling: Sampling = "area",
        degradation: Degradation | None = None,
        seed: int = 0,
        color: Color = "rgb",
        sharpen_gt: bool = False,
        scale: int = 1,
        phase: str = "train",
    ) -> None:
        spec = importlib.util.find_spec("skimage")
        if spec is None or spec.origin is None:
            raise MissingDependencyError("scikit-image", extra="train", purpose="the sample images")
        folder = Path(spec.origin).parent / "data"
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            shipped = [p.name for p in folder.iterdir()] if folder.is_dir() else []
            raise DataError(
                f"datasets:{phase}: scikit-image has no image '{missing[0]}'{suggest(missing[0], shipped)}"
            )
        super().__init__(
            with_unique_names(
                (PairedFile(folder / name), Located(folder / name, PurePosixPath(name)), folder)
                for name in names
            ),
            _Reading(
                scale=scale,
                gt_size=gt_size,
                use_hflip=use_hflip,
                use_rot=use_rot,
                sampling=sampling,
                degradation=degradation,
                seed=seed,
                sharpen_gt=sharpen_gt,
                to_luma=color == "y",
            ),
        )


def check_backend(io_backend: dict[str, Any] | None, phase: str) -> None:
    """Checks that images are read from a supported kind of storage.

    Raises:
        OptionsError: if the storage is not supported.
    """
    kind = (io_backend or {}).get("type", "disk")
    if kind not in ("disk", "lmdb", "hdf5"):
        raise OptionsError(
            f"datasets.{phase}.io_backend: {kind!r} is not supported; allowed: disk, lmdb, hdf5"
        )


def _cache(where: bool | str, gigabytes: float) -> ImageCache | None:
    if not where:
        return None
    folder = default_folder() if where is True else Path(where).expanduser()
    return ImageCache(folder, round(gigabytes * 1e9))
