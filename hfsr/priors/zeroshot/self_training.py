"""Learning from one picture: reduced and turned copies of it are fathers, their reductions the sons.

What the network learns to make of a son is its father; then it is shown the picture itself. As in Shocher et
al., CVPR 2018 (arXiv 1712.06087), section 3, with its reference code's settings but for three: weights start
with He's deviations, the last layer's at a tenth; half the learning rate; crops of 96 px, not 128. From the
reference's start, hundreds of iterations pass before anything is learned, and on some pictures the rate
falls before.
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
from hfsr.priors.resampling import Scaling

__all__ = ["Fathers", "Learner", "Recipe", "fresh_network", "should_slow_down", "turned", "turned_back"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How long, from what, and how fast; the defaults are the reference's, but for crop and learning rate.

    Attributes:
        iterations: at most so many, one father each.
        crop: side in px of the piece of a father that is shown at once.
        learning_rate: of Adam, at first.
        smallest_rate: learning ends when the rate has fallen below.
        as_is, rigid: shares of fathers that are the picture itself, and it flipped and turned by right
            angles; the others are also reduced, stretched and sheared.
        smallest, largest: between them lies the scale of those others.
        stretch, shear: standard deviations of the difference between their two scales and of their shear.
        window: the rate depends on the errors of so many iterations.
        check: and is looked at after every so many.
        measure: the reconstruction error is taken after every so many.
        ratio: the rate is divided by ten when the error falls, in a window, by less than its
            standard deviation over this.
    """

    iterations: int = 3000
    crop: int = 96
    learning_rate: float = 5e-4
    smallest_rate: float = 9e-6
    as_is: float = 0.05
    rigid: float = 0.45
    smallest: float = 0.5
    largest: float = 1.0
    stretch: float = 0.25
    shear: float = 0.1
    window: int = 256
    check: int = 60
    measure: int = 50
    ratio: float = 1.5


class Fathers:
    """Draws fathers from pictures.

    Args:
        pictures: RGB in [0, 1], (1, 3, H, W) each; of several, one is drawn first.
        recipe: shares and ranges.
        rng: where the draws come from.
    """

    def __init__(self, pictures: Sequence[Tensor], recipe: Recipe, rng: np.random.Generator) -> None:
        self.pictures = list(pictures)
        self.recipe = recipe
        self.rng = rng

    def draw(self) -> Tensor:
        """One father, or a piece of it, (1, 3, h, w), no side longer than the recipe's crop."""
        picture = self.pictures[int(self.rng.integers(len(self.pictures)))]
        kind = self.rng.random()
        if kind < self.recipe.as_is:
            return self._crop(picture)
        if kind < self.recipe.as_is + self.recipe.rigid:
            return turned(self._crop(picture), int(self.rng.integers(8)))
        return turned(self._warped(picture), int(self.rng.integers(8)))

    def _crop(self, picture: Tensor) -> Tensor:
        height, width = (min(side, self.recipe.crop) for side in picture.shape[2:])
        top = int(self.rng.integers(picture.shape[2] - height + 1))
        left = int(self.rng.integers(picture.shape[3] - width + 1))
        return picture[..., top : top + height, left : left + width]

    def _warped(self, picture: Tensor) -> Tensor:
        """A piece of the picture reduced, stretched and sheared, read by bicubic interpolation."""
        recipe, rng = self.recipe, self.rng
        first = rng.uniform(recipe.smallest, recipe.largest)
        second = np.clip(first + rng.normal(0, recipe.stretch), recipe.smallest, recipe.largest)
        slants = rng.normal(0, recipe.shear, 2)
        # From px of the father to px of the picture, both counted from their middles.
        back = np.linalg.inv(np.diag([first, second]) @ np.array([[1, slants[0]], [slants[1], 1]]))
        size = np.array(picture.shape[2:])
        spread = np.abs(back)
        room = np.minimum(size / spread.sum(1).max(), recipe.crop)  # a square piece always fits
        rows, columns = (max(int(side), 1) for side in room)
        covered = spread @ np.array([rows, columns])
        middle = covered / 2 + rng.random(2) * np.maximum(size - covered, 0)
        y, x = np.meshgrid(
            np.arange(rows) + 0.5 - rows / 2, np.arange(columns) + 0.5 - columns / 2, indexing="ij"
        )
        places = np.einsum("ij,jhw->ihw", back, np.stack([y, x])) + middle[:, None, None]
        grid = 2 * places / size[:, None, None] - 1
        grid = torch.from_numpy(grid[::-1].copy()).float().permute(1, 2, 0)[None].to(picture.device)
        father = F.grid_sample(picture, grid, mode="bicubic", padding_mode="reflection", align_corners=False)
        return father.clamp_(0, 1)


def turned(x: Tensor, which: int) -> Tensor:
    """One of the eight ways to turn and flip, (B, C, H, W)."""
    x = torch.rot90(x, which % 4, (2, 3))
    return x.flip(3) if which >= 4 else x


def turned_back(x: Tensor, which: int) -> Tensor:
    """Undoes `turned`."""
    return torch.rot90(x.flip(3) if which >= 4 else x, -(which % 4), (2, 3))


def should_slow_down(errors: Sequence[float], ratio: float) -> bool:
    """Whether a line through these errors falls too little for what they scatter.

    The scatter is the standard error of the line's slope; fewer than four errors tell nothing.
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


def fresh_network(seed: int, device: torch.device) -> ZSSRNet:
    """A network that has learned nothing yet: what it adds to a picture is small, but not its gradients."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ZSSRNet()
        for p in network.parameters():
            nn.init.kaiming_normal_(p, nonlinearity="relu")
    p.data *= 0.1  # the last layer's
    for p in network.parameters():
        p.data = p.data.to(device, memory_format=torch.channels_last)  # a fifth faster on a CPU
    return network


@dataclass
class Learner:
    """One network learning one enlargement.

    Attributes:
        network: is trained in place.
        scaling: from fathers to sons and back to their size.
        fathers: where they come from.
        picture: RGB in [0, 1], (1, 3, H, W), by whose reconstruction from its own reduction the rate is
            ruled; of a large one, the middle.
        noise: standard deviation, in [0, 1], of what is added to sons.
        dtype: of the convolutions; weights stay float32.
        iteration, rate, error: where learning stands.
    """

    network: ZSSRNet
    scaling: Scaling
    fathers: Fathers
    picture: Tensor
    noise: float
    dtype: torch.dtype
    iteration: int = 0
    error: float = math.inf
    rate: float = field(init=False)

    def __post_init__(self) -> None:
        self.recipe = self.fathers.recipe
        self.rate = self.recipe.learning_rate
        top, left = (max(side - 2 * self.recipe.crop, 0) // 2 for side in self.picture.shape[2:])
        side = 2 * self.recipe.crop
        self.picture = self.picture[..., top : top + side, left : left + side]
        self._generator = torch.Generator().manual_seed(int(self.fathers.rng.integers(1 << 62)))

    def run(self) -> Iterator[float]:
        """Learns until the rate is below the smallest or the iterations are used up; yields losses."""
        optimizer = torch.optim.Adam(self.network.parameters(), lr=self.rate)
        errors: list[float] = []
        changed = 0
        while self.rate > self.recipe.smallest_rate and self.iteration < self.recipe.iterations:
            for group in optimizer.param_groups:
                group["lr"] = self.rate
            loss = self._step(optimizer)
            self.iteration += 1
            if self.iteration % self.recipe.measure == 0:
                self.error = self.reconstruction_error()
                errors.append(self.error)
            if self.iteration % self.recipe.check == 0 and self.iteration - changed >= self.recipe.window:
                recent = errors[-max(self.recipe.window // self.recipe.measure, 1) :]
                if should_slow_down(recent, self.recipe.ratio):
                    self.rate /= 10
                    changed = self.iteration
            yield loss

    def _step(self, optimizer: torch.optim.Optimizer) -> float:
        father = self.fathers.draw()
        son = self._son(father)
        if self.noise:
            drawn = torch.randn(son.shape, generator=self._generator).to(son)
            son = son + self.noise * drawn
        optimizer.zero_grad(set_to_none=True)
        with torch.enable_grad():
            loss = F.l1_loss(self._restored(son, father), father)
            loss.backward()
        optimizer.step()
        return float(loss.detach())

    def _son(self, father: Tensor) -> Tensor:
        return self.scaling.reduce(father, self.scaling.lq_size(*father.shape[2:]))

    def _restored(self, son: Tensor, father: Tensor) -> Tensor:
        enlarged = self.scaling.enlarge(son, (father.shape[2], father.shape[3]))
        enlarged = enlarged.contiguous(memory_format=torch.channels_last)
        with torch.autocast(father.device.type, self.dtype, enabled=self.dtype != torch.float32):
            return self.network.refine(enlarged).float()

    @torch.no_grad()
    def reconstruction_error(self) -> float:
        """Mean squared error of the picture as made from its own reduction."""
        return float(F.mse_loss(self._restored(self._son(self.picture), self.picture), self.picture))
