"""The data set types of option files."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Literal

from hfsr.degradations import Chain, Seeded, build_chain
from hfsr.errors import DataError, MissingDependencyError, OptionsError, suggest
from hfsr.registry import DATASETS

from .files import PairedFile, as_folders, pair_folders
from .patches import PatchCutter
from .store import PictureStore, Progress

__all__ = ["PairedImageDataset", "SampleImageDataset"]


Sampling = Literal["picture", "area"]
Degradation = dict[str, Any] | list[dict[str, Any]]
"""Sections with a `type`, one for each step."""


class _Pictures:
    """Files that are either cut into patches (training) or measured whole (validation)."""

    files: list[PairedFile]
    degradation: Seeded
    """Makes the LQ pictures that are not given when whole pictures are measured."""

    def __init__(
        self,
        files: list[PairedFile],
        *,
        scale: int,
        gt_size: int | None,
        use_hflip: bool,
        use_rot: bool,
        sampling: Sampling,
        degradation: Degradation | None,
        seed: int,
    ) -> None:
        self.files, self.scale = files, scale
        self.chain: Chain = build_chain(degradation, scale)
        self.degradation = Seeded(self.chain, seed)
        self.gt_size, self.use_hflip, self.use_rot, self.sampling = gt_size, use_hflip, use_rot, sampling

    def patches(self, seed: int, progress: Progress | None = None) -> PatchCutter:
        """Decodes the pictures; the patches then come from memory.

        Raises:
            OptionsError: no `gt_size` was given.
            ImageError, DataError: a picture cannot be read or is too small.
        """
        if self.gt_size is None:
            raise OptionsError(
                "datasets.train.gt_size: is missing; the side of a GT patch in px, for example 96"
            )
        beforehand, each_time = self.chain.split()
        return PatchCutter(
            PictureStore(self.files, scale=self.scale, degradation=beforehand, progress=progress),
            degradation=each_time,
            gt_size=self.gt_size,
            use_hflip=self.use_hflip,
            use_rot=self.use_rot,
            sampling=self.sampling,
            seed=seed,
        )


@DATASETS.register
class PairedImageDataset(_Pictures):
    """Folders of good pictures, and folders of bad ones or MATLAB bicubic reductions made here.

    Args:
        dataroot_gt: folder or list of folders, searched with their subfolders.
        dataroot_lq: likewise; `~` makes LQ from GT.
        filename_tmpl: LQ name from the GT name, without ending.
        gt_size: side of a GT patch in px; training only.
        use_hflip, use_rot: random mirroring and rotation by 90 degrees.
        sampling: draw every "picture" equally often, or in proportion to its "area".
        io_backend: accepted for BasicSR's files; only `type: disk` is read.
        meta_info_file: a text file that names one picture per line, relative to `dataroot_gt`; only these
            are read.
        degradation: what makes LQ from GT: a section with a `type`, or a list of them, done in this order;
            MATLAB bicubic where not given.
        seed: of what it draws when whole pictures are measured; each picture draws by its name. Training
            draws by `manual_seed`, anew for each patch.
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
        io_backend: dict[str, Any] | None = None,
        meta_info_file: str | None = None,
        degradation: Degradation | None = None,
        seed: int = 0,
        scale: int = 1,
        phase: str = "train",
    ) -> None:
        if degradation is not None and dataroot_lq is not None:
            raise OptionsError(
                f"datasets.{phase}: dataroot_lq gives the LQ pictures, degradation makes them; leave one out"
            )
        if io_backend is not None and io_backend.get("type", "disk") != "disk":
            raise OptionsError(
                f"datasets.{phase}.io_backend: only 'type: disk' is read, not {io_backend['type']!r}"
            )
        files = pair_folders(
            as_folders(dataroot_gt),
            as_folders(dataroot_lq),
            place=f"datasets:{phase}",
            template=filename_tmpl,
            scale=scale,
        )
        if meta_info_file is not None:
            files = _listed(files, Path(meta_info_file).expanduser(), phase)
        super().__init__(
            files,
            scale=scale,
            gt_size=gt_size,
            use_hflip=use_hflip,
            use_rot=use_rot,
            sampling=sampling,
            degradation=degradation,
            seed=seed,
        )


@DATASETS.register
class SampleImageDataset(_Pictures):
    """Photographs that ship inside scikit-image: nothing is downloaded.

    Args:
        names: files of `skimage/data`, with their ending.
        gt_size, use_hflip, use_rot, sampling, degradation, seed, scale, phase: as `PairedImageDataset`.
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
        scale: int = 1,
        phase: str = "train",
    ) -> None:
        spec = importlib.util.find_spec("skimage")
        if spec is None or spec.origin is None:
            raise MissingDependencyError("scikit-image", extra="train", purpose="the sample pictures")
        folder = Path(spec.origin).parent / "data"
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            shipped = [p.name for p in folder.iterdir()] if folder.is_dir() else []
            raise DataError(
                f"datasets:{phase}: scikit-image does not ship '{missing[0]}'{suggest(missing[0], shipped)}"
            )
        super().__init__(
            [PairedFile(folder / name) for name in names],
            scale=scale,
            gt_size=gt_size,
            use_hflip=use_hflip,
            use_rot=use_rot,
            sampling=sampling,
            degradation=degradation,
            seed=seed,
        )


def _listed(files: list[PairedFile], meta_info: Path, phase: str) -> list[PairedFile]:
    """The pictures that a meta information file names: the first word of each line."""
    try:
        lines = meta_info.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(
            f"datasets.{phase}.meta_info_file: cannot read '{meta_info}': {error.strerror}"
        ) from error
    named = {line.split()[0] for line in lines if line.strip()}
    kept = [file for file in files if any(file.gt.as_posix().endswith("/" + name) for name in named)]
    if len(kept) != len(named):
        raise DataError(f"'{meta_info}' names {len(named)} pictures, of which {len(kept)} are in dataroot_gt")
    return kept
