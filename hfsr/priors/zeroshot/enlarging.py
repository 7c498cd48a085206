"""Enlarging with a network that has learned: eight turned copies, their median, and back-projection."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hfsr.archs.zssr import ZSSRNet
from hfsr.inference import Upscaler
from hfsr.priors.scaling import Origin, Scaling

from .learning import turned, turned_back

__all__ = ["Band", "Enlarger", "bands_of"]

_BACK_PROJECTIONS = 10
_MAPS = 8
"""Float32 maps of the size of the result that stand beside the copies: the sum, residuals, corrections."""
_SORTED_ROWS = 32


class _Residual(nn.Module):
    """The learned network as one of scale 1, for the `Upscaler`: what is missing in an enlarged picture."""

    scale = 1

    def __init__(self, network: ZSSRNet) -> None:
        super().__init__()
        self.network = network

    def core(self, x: Tensor) -> Tensor:
        return self.network.residual(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.core(x)


@dataclass(frozen=True)
class Band:
    """Rows of the LR picture: what is made at once, and with the halo that it depends on."""

    start: int
    stop: int
    first: int
    last: int


def bands_of(height: int, rows: int, halo: int) -> list[Band]:
    """Cuts so many rows into bands that own at most `rows` and see `halo` more on either side."""
    return [
        Band(start, min(start + rows, height), max(start - halo, 0), min(start + rows + halo, height))
        for start in range(0, height, rows)
    ]


@dataclass(frozen=True, eq=False)
class Enlarger:
    """Enlarges pictures with a network that has learned to.

    The result does not depend on how a picture is cut into bands: each sees all that its rows depend on.

    Attributes:
        network: learned; in evaluation or training mode alike.
        scaling: the enlargement that it learned.
        folds: 8 turned and flipped copies whose median counts, or 1.
        projects: whether the result is corrected so that its reduction is the picture.
        dtype: "fp32" or "bf16", of the convolutions.
        device: where they run.
        memory: bytes that may be taken.
        tile: as the Upscaler's.
    """

    network: ZSSRNet
    scaling: Scaling
    folds: int
    projects: bool
    dtype: str
    device: torch.device
    memory: float
    tile: int | str = "auto"

    def bands(self, height: int, width: int) -> list[Band]:
        """How a picture of this size is cut, so that the copies fit into memory."""
        row = self.row_bytes(width)
        halo = self.halo()
        rows = int(self.memory / row) - 2 * halo
        return bands_of(height, height if rows + 2 * halo >= height else max(rows, 32), halo)

    def bytes(self, height: int, width: int) -> float:
        """Most that is held at once for a picture of this size, beside its result."""
        largest = max(band.last - band.first for band in self.bands(height, width))
        sr_height, sr_width = self.scaling.sr_size(largest, width)
        plan = self._upscaler().plan(sr_width, sr_height)
        return self.row_bytes(width) * largest + plan.memory_bytes

    def row_bytes(self, width: int) -> float:
        """Bytes that one LR row takes, beside the network's own maps."""
        return (self.folds + _MAPS) * 12 * self.scaling.down * self.scaling.across * width

    def halo(self) -> int:
        """LR rows beyond a band that it depends on."""
        network = -(-len(self.network.convs) // int(self.scaling.down)) + 3
        return network + (2 * _BACK_PROJECTIONS * self.scaling.reach() if self.projects else 0)

    def steps(self, lq: Tensor, result: Tensor) -> Iterator[tuple[int, int]]:
        """Enlarges a picture into `result`; yields copies done and copies in all.

        Args:
            lq: RGB in [0, 1], (1, 3, h, w), on the CPU.
            result: gets RGB, nominally [0, 1], (1, 3, H, W), float32.
        """
        upscaler = self._upscaler()
        bands = self.bands(*lq.shape[2:])
        done, total = 0, len(bands) * self.folds
        for band in bands:
            part = lq[..., band.first : band.last, :]
            first, last = (self.scaling.sr_size(row, 1)[0] for row in (band.first, band.last))
            start, stop = (self.scaling.sr_size(row, 1)[0] for row in (band.start, band.stop))
            origin = Origin(lq=band.first, sr=first)
            enlarged = self.scaling.enlarge(part, (last - first, result.shape[3]), origin)
            copies = []
            for fold in range(self.folds):
                residual = turned_back(upscaler.tensor(turned(enlarged, fold)), fold)
                copies.append(self._projected(enlarged + residual, part, origin))
                done += 1
                yield done, total
            whole = self._projected(_median(copies), part, origin)
            result[..., start:stop, :] = whole[..., start - first : stop - first, :]

    def _upscaler(self) -> Upscaler:
        return Upscaler(_Residual(self.network), tile=self.tile, dtype=self.dtype, device=self.device)

    def _projected(self, sr: Tensor, lq: Tensor, origin: Origin) -> Tensor:
        if self.projects:
            for _ in range(_BACK_PROJECTIONS):
                wrong = lq - self.scaling.reduce(sr, (lq.shape[2], lq.shape[3]), origin)
                sr = sr + self.scaling.enlarge(wrong, (sr.shape[2], sr.shape[3]), origin)
        return sr


def _median(copies: list[Tensor]) -> Tensor:
    """The middle of the copies, of an even number the mean of the middle two."""
    if len(copies) == 1:
        return copies[0]
    low, high = (len(copies) - 1) // 2, len(copies) // 2
    middle = torch.empty_like(copies[0])
    for rows in range(0, middle.shape[2], _SORTED_ROWS):  # sorting takes five times what it sorts
        part = slice(rows, rows + _SORTED_ROWS)
        ordered = torch.stack([copy[:, :, part] for copy in copies]).sort(0).values
        middle[:, :, part] = (ordered[low] + ordered[high]) / 2
    return middle
