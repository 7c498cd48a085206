"""Training of a zero-shot network on one image, from pairs made of the image itself.

A "father" is a downsampled, rotated or sheared copy of the image, its "son" the downsampled father. The
network learns to restore fathers from their sons; afterwards it is applied to the image. Follows Shocher et
al., CVPR 2018 (arXiv 1712.06087), section 3, with the settings of its reference code except for three:
weights are initialized with He's standard deviations, the last layer's with a tenth of it; the learning rate
is half as large; crops have 96 px instead of 128. With the reference's initialization, nothing is learned
during the first hundreds of iterations, and on some images the learning rate is reduced before that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hfsr.archs.zssr import ZSSRNet
from hfsr.priors.resampling import Resampler

__all__ = [
    "FatherSampler",
    "ZeroShotConfig",
    "ZeroShotTrainer",
    "create_network",
    "has_plateaued",
    "rotate_flip",
    "undo_rotate_flip",
]


@dataclass(frozen=True, kw_only=True)
class ZeroShotConfig:
    """Training settings; the defaults are those of the reference, but for crop and learning rate.

    Attributes:
        iterations: maximum number of iterations, one father each.
        crop: maximum side in px of the crop of a father.
        learning_rate: initial learning rate of Adam.
        min_learning_rate: training ends when the learning rate falls below it.
        identity_share: share of fathers that are unchanged crops of the image.
        rigid_share: share of fathers that are only rotated by multiples of 90 degrees and flipped; the others
            are also downsampled, stretched and sheared.
        min_scale, max_scale: range of the scale of those others.
        stretch_std, shear_std: standard deviations of the difference of their two scales, and of their shear.
        error_window: number of iterations whose errors decide about the learning rate.
        check_interval: iterations between two decisions.
        measure_interval: iterations between two measurements of the reconstruction error.
        slope_ratio: the learning rate is divided by ten if the error decreases, per window, by less than its
            standard deviation divided by this number.
    """

    iterations: int = 3000
    crop: int = 96
    learning_rate: float = 5e-4
    min_learning_rate: float = 9e-6
    identity_share: float = 0.05
    rigid_share: float = 0.45
    min_scale: float = 0.5
    max_scale: float = 1.0
    stretch_std: float = 0.25
    shear_std: float = 0.1
    error_window: int = 256
    check_interval: int = 60
    measure_interval: int = 50
    slope_ratio: float = 1.5


class FatherSampler:
    """Samples fathers, the training targets, from images.

    Args:
        images: RGB in [0, 1], (1, 3, H, W) each; each father comes from a random one.
        config: shares and ranges of the transformations.
        rng: random number generator.
    """

    def __init__(self, images: Sequence[Tensor], config: ZeroShotConfig, rng: np.random.Generator) -> None:
        self.images = list(images)
        self.config = config
        self.rng = rng

    def sample(self) -> Tensor:
        """Returns a father or a crop of one, (1, 3, h, w), with no side longer than `config.crop`."""
        image = self.images[int(self.rng.integers(len(self.images)))]
        kind = self.rng.random()
        if kind < self.config.identity_share:
            return self._crop(image)
        if kind < self.config.identity_share + self.config.rigid_share:
            return rotate_flip(self._crop(image), int(self.rng.integers(8)))
        return rotate_flip(self._warp(image), int(self.rng.integers(8)))

    def _crop(self, image: Tensor) -> Tensor:
        height, width = (min(side, self.config.crop) for side in image.shape[2:])
        top = int(self.rng.integers(image.shape[2] - height + 1))
        left = int(self.rng.integers(image.shape[3] - width + 1))
        return image[..., top : top + height, left : left + width]

    def _warp(self, image: Tensor) -> Tensor:
        """Returns a downsampled, stretched and sheared crop, sampled by bicubic interpolation."""
        config, rng = self.config, self.rng
        first = rng.uniform(config.min_scale, config.max_scale)
        second = np.clip(first + rng.normal(0, config.stretch_std), config.min_scale, config.max_scale)
        shear = rng.normal(0, config.shear_std, 2)
        # Maps px of the father to px of the image, both relative to their centers.
        to_image = np.linalg.inv(np.diag([first, second]) @ np.array([[1, shear[0]], [shear[1], 1]]))
        size = np.array(image.shape[2:])
        extent = np.abs(to_image)
        limit = np.minimum(size / extent.sum(1).max(), config.crop)  # a square of this side always fits
        rows, columns = (max(int(side), 1) for side in limit)
        covered = extent @ np.array([rows, columns])
        center = covered / 2 + rng.random(2) * np.maximum(size - covered, 0)
        y, x = np.meshgrid(
            np.arange(rows) + 0.5 - rows / 2, np.arange(columns) + 0.5 - columns / 2, indexing="ij"
        )
        positions = np.einsum("ij,jhw->ihw", to_image, np.stack([y, x])) + center[:, None, None]
        grid = 2 * positions / size[:, None, None] - 1
        grid = torch.from_numpy(grid[::-1].copy()).float().permute(1, 2, 0)[None].to(image.device)
        father = F.grid_sample(image, grid, mode="bicubic", padding_mode="reflection", align_corners=False)
        return father.clamp_(0, 1)


def rotate_flip(x: Tensor, index: int) -> Tensor:
    """Applies one of the eight rotations by multiples of 90 degrees and flips to (B, C, H, W)."""
    x = torch.rot90(x, index % 4, (2, 3))
    return x.flip(3) if index >= 4 else x


def undo_rotate_flip(x: Tensor, index: int) -> Tensor:
    """Inverts `rotate_flip`."""
    return torch.rot90(x.flip(3) if index >= 4 else x, -(index % 4), (2, 3))


def has_plateaued(errors: Sequence[float], ratio: float) -> bool:
    """Returns True if the linear trend of the errors decreases too little compared with their scatter.

    The scatter is the standard error of the slope. Fewer than four errors never count as a plateau.
    """
    count = len(errors)
    if count < 4:
        return False
    x = np.arange(count) - (count - 1) / 2
    y = np.asarray(errors)
    slope = float((x * (y - y.mean())).sum() / (x * x).sum())
    residual = y - y.mean() - slope * x
    deviation = math.sqrt(float((residual**2).sum()) / (count - 2) / float((x * x).sum()))
    return -ratio * slope < deviation


def create_network(seed: int, device: torch.device) -> ZSSRNet:
    """Creates an untrained network whose residual is small, but whose gradients are not."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ZSSRNet()
        for p in network.parameters():
            nn.init.kaiming_normal_(p, nonlinearity="relu")
    p.data *= 0.1  # weight of the last layer
    for p in network.parameters():
        p.data = p.data.to(device, memory_format=torch.channels_last)  # 20 % faster on a CPU
    return network


@dataclass
class ZeroShotTrainer:
    """Trains one network for one scale.

    Attributes:
        network: the network, trained in place.
        resampler: makes sons from fathers and upsamples them to the fathers' size.
        sampler: source of the fathers.
        image: RGB in [0, 1], (1, 3, H, W), whose reconstruction error controls the learning rate; reduced to
            a central crop if it is large.
        noise: standard deviation of the noise that is added to sons, relative to a range of [0, 1].
        dtype: dtype of the convolutions; weights stay float32.
        iteration, learning_rate, error: present state; `error` is the last reconstruction error.
    """

    network: ZSSRNet
    resampler: Resampler
    sampler: FatherSampler
    image: Tensor
    noise: float
    dtype: torch.dtype
    iteration: int = 0
    error: float = math.inf
    learning_rate: float = field(init=False)

    def __post_init__(self) -> None:
        self.config = self.sampler.config
        self.learning_rate = self.config.learning_rate
        side = 2 * self.config.crop
        top, left = (max(length - side, 0) // 2 for length in self.image.shape[2:])
        self.image = self.image[..., top : top + side, left : left + side]
        self._generator = torch.Generator().manual_seed(int(self.sampler.rng.integers(1 << 62)))

    def run(self) -> Iterator[float]:
        """Trains until the learning rate is below the minimum or all iterations are done; yields losses."""
        config = self.config
        optimizer = torch.optim.Adam(self.network.parameters(), lr=self.learning_rate)
        errors: list[float] = []
        last_change = 0
        while self.learning_rate > config.min_learning_rate and self.iteration < config.iterations:
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate
            loss = self._step(optimizer)
            self.iteration += 1
            if self.iteration % config.measure_interval == 0:
                self.error = self.reconstruction_error()
                errors.append(self.error)
            is_due = self.iteration - last_change >= config.error_window
            if self.iteration % config.check_interval == 0 and is_due:
                recent = errors[-max(config.error_window // config.measure_interval, 1) :]
                if has_plateaued(recent, config.slope_ratio):
                    self.learning_rate /= 10
                    last_change = self.iteration
            yield loss

    def _step(self, optimizer: torch.optim.Optimizer) -> float:
        father = self.sampler.sample()
        son = self._make_son(father)
        if self.noise:
            noise = torch.randn(son.shape, generator=self._generator).to(son)
            son = son + self.noise * noise
        optimizer.zero_grad(set_to_none=True)
        with torch.enable_grad():
            loss = F.l1_loss(self._restore(son, father), father)
            loss.backward()
        optimizer.step()
        return float(loss.detach())

    def _make_son(self, father: Tensor) -> Tensor:
        return self.resampler.downsample(father, self.resampler.lq_size(*father.shape[2:]))

    def _restore(self, son: Tensor, father: Tensor) -> Tensor:
        """Applies the network to a son, upsampled to the size of its father."""
        upsampled = self.resampler.upsample(son, (father.shape[2], father.shape[3]))
        upsampled = upsampled.contiguous(memory_format=torch.channels_last)
        with torch.autocast(father.device.type, self.dtype, enabled=self.dtype != torch.float32):
            return self.network.refine(upsampled).float()

    @torch.no_grad()
    def reconstruction_error(self) -> float:
        """Returns the mean squared error of the image restored from its own downsampled version."""
        return float(F.mse_loss(self._restore(self._make_son(self.image), self.image), self.image))
