"""Upscaling with a trained zero-shot network: self-ensemble, median and back-projection, in bands of rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hfsr.archs.zssr import ZSSRNet
from hfsr.inference import Upscaler
from hfsr.priors.resampling import BandOrigin, Resampler

from .self_training import rotate_flip, undo_rotate_flip

__all__ = ["BandedUpscaler", "HaloBand", "split_into_bands"]

_BACK_PROJECTIONS = 10
_EXTRA_MAPS = 8
"""Float32 images of the result's size that are held besides the ensemble: the sum, residuals, corrections."""
_SORTED_ROWS = 32
_MIN_BAND_ROWS = 32


class _ResidualNetwork(nn.Module):
    """Wraps the trained network for the `Upscaler`: scale 1, returns the residual of an upsampled image."""

    scale = 1

    def __init__(self, network: ZSSRNet) -> None:
        super().__init__()
        self.network = network

    def core(self, x: Tensor) -> Tensor:
        return self.network.residual(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.core(x)


@dataclass(frozen=True)
class HaloBand:
    """Band of LR rows and the rows that it depends on.

    Attributes:
        start, stop: rows that the band owns.
        halo_start, halo_stop: rows that it reads, including the halo.
    """

    start: int
    stop: int
    halo_start: int
    halo_stop: int


def split_into_bands(height: int, rows: int, halo: int) -> list[HaloBand]:
    """Splits `height` rows into bands of at most `rows` rows, each with `halo` more rows on either side."""
    return [
        HaloBand(start, min(start + rows, height), max(start - halo, 0), min(start + rows + halo, height))
        for start in range(0, height, rows)
    ]


@dataclass(frozen=True, eq=False)
class BandedUpscaler:
    """Upscales images with a trained zero-shot network.

    The result does not depend on the bands: the halo of a band contains all rows that the band depends on.

    Attributes:
        network: the trained network, in evaluation or training mode.
        resampler: the upsampling for which it was trained.
        ensemble_size: 8 (median over rotated and flipped copies) or 1.
        back_project: True corrects the result so that downsampling it gives the input.
        dtype: "fp32" or "bf16", dtype of the convolutions.
        device: device of the convolutions.
        memory: bytes that may be allocated.
        tile: tile size, as for the `Upscaler`.
    """

    network: ZSSRNet
    resampler: Resampler
    ensemble_size: int
    back_project: bool
    dtype: str
    device: torch.device
    memory: float
    tile: int | str = "auto"

    def bands(self, height: int, width: int) -> list[HaloBand]:
        """Splits an image of this size into bands whose ensemble fits into `memory`."""
        halo = self.halo_rows()
        rows = int(self.memory / self.row_bytes(width)) - 2 * halo
        if rows + 2 * halo >= height:
            return split_into_bands(height, height, halo)
        return split_into_bands(height, max(rows, _MIN_BAND_ROWS), halo)

    def peak_bytes(self, height: int, width: int) -> float:
        """Returns the peak memory for an image of this size, without the result itself."""
        largest = max(band.halo_stop - band.halo_start for band in self.bands(height, width))
        sr_height, sr_width = self.resampler.sr_size(largest, width)
        plan = self._upscaler().plan(sr_width, sr_height)
        return self.row_bytes(width) * largest + plan.memory_bytes

    def row_bytes(self, width: int) -> float:
        """Returns the bytes held per LR row, without the feature maps of the network."""
        sr_px = self.resampler.scale_y * self.resampler.scale_x * width
        return (self.ensemble_size + _EXTRA_MAPS) * 12 * sr_px

    def halo_rows(self) -> int:
        """Returns the number of LR rows on either side that a band depends on."""
        network = -(-len(self.network.convs) // int(self.resampler.scale_y)) + 3
        return network + (2 * _BACK_PROJECTIONS * self.resampler.halo_rows() if self.back_project else 0)

    def steps(self, lq: Tensor, result: Tensor) -> Iterator[tuple[int, int]]:
        """Upscales an image into `result`; yields (finished network passes, all network passes).

        Args:
            lq: RGB in [0, 1], (1, 3, h, w), on the CPU.
            result: receives RGB, nominally in [0, 1], (1, 3, H, W), float32.
        """
        upscaler = self._upscaler()
        bands = self.bands(*lq.shape[2:])
        done, total = 0, len(bands) * self.ensemble_size
        for band in bands:
            part = lq[..., band.halo_start : band.halo_stop, :]
            first, last = (self.resampler.sr_size(row, 1)[0] for row in (band.halo_start, band.halo_stop))
            start, stop = (self.resampler.sr_size(row, 1)[0] for row in (band.start, band.stop))
            origin = BandOrigin(lq=band.halo_start, sr=first)
            upsampled = self.resampler.upsample(part, (last - first, result.shape[3]), origin)
            outputs = []
            for transform in range(self.ensemble_size):
                residual = undo_rotate_flip(upscaler.tensor(rotate_flip(upsampled, transform)), transform)
                outputs.append(self._back_project(upsampled + residual, part, origin))
                done += 1
                yield done, total
            combined = self._back_project(_median(outputs), part, origin)
            result[..., start:stop, :] = combined[..., start - first : stop - first, :]

    def _upscaler(self) -> Upscaler:
        return Upscaler(_ResidualNetwork(self.network), tile=self.tile, dtype=self.dtype, device=self.device)

    def _back_project(self, sr: Tensor, lq: Tensor, origin: BandOrigin) -> Tensor:
        """Adds the upsampled error of the downsampled result, several times, if `back_project` is set."""
        if self.back_project:
            for _ in range(_BACK_PROJECTIONS):
                error = lq - self.resampler.downsample(sr, (lq.shape[2], lq.shape[3]), origin)
                sr = sr + self.resampler.upsample(error, (sr.shape[2], sr.shape[3]), origin)
        return sr


def _median(outputs: list[Tensor]) -> Tensor:
    """Returns the elementwise median; for an even number, the mean of the two middle values."""
    if len(outputs) == 1:
        return outputs[0]
    low, high = (len(outputs) - 1) // 2, len(outputs) // 2
    median = torch.empty_like(outputs[0])
    for rows in range(0, median.shape[2], _SORTED_ROWS):  # sorting needs five times the memory of its input
        part = slice(rows, rows + _SORTED_ROWS)
        ordered = torch.stack([output[:, :, part] for output in outputs]).sort(0).values
        median[:, :, part] = (ordered[low] + ordered[high]) / 2
    return median
