"""What is done to a GT picture when no LQ picture is given, and how the protocol states it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from numpy.typing import NDArray

from hfsr.degradations import bicubic_down, gaussian_noise, jpeg, seed_of
from hfsr.errors import OptionsError

__all__ = ["Bicubic", "Degradation", "Jpeg", "Noise"]


class Degradation(Protocol):
    """Makes the LQ picture of a GT picture."""

    def __call__(self, gt: NDArray, name: str) -> NDArray:
        """Degrades uint8 RGB (H, W, 3) or gray (H, W); the same name gives the same result."""
        ...

    def protocol(self) -> dict[str, str | int | float]:
        """What a reader needs to repeat it."""
        ...


@dataclass(frozen=True)
class Bicubic:
    """MATLAB's bicubic reduction; at scale 1, nothing."""

    scale: float

    def __call__(self, gt: NDArray, name: str) -> NDArray:
        return bicubic_down(gt, self.scale)

    def protocol(self) -> dict[str, str | int | float]:
        return {"resize": "MATLAB bicubic, antialiased, 8 bit"}


@dataclass(frozen=True)
class Noise:
    """White Gaussian noise of `sigma` grey levels, clamped and rounded to 8 bit; each name has its own."""

    sigma: float
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.sigma <= 255:
            raise OptionsError(f"sigma {self.sigma:g} is out of range; choose 0 to 255 grey levels")

    def __call__(self, gt: NDArray, name: str) -> NDArray:
        return gaussian_noise(gt, self.sigma, seed=seed_of(name, self.seed))

    def protocol(self) -> dict[str, str | int | float]:
        return {"noise": "Gaussian, clamped and rounded to 8 bit", "sigma": self.sigma, "seed": self.seed}


@dataclass(frozen=True)
class Jpeg:
    """JPEG of one quality, 4:2:0 chroma."""

    quality: int

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise OptionsError(f"JPEG quality {self.quality} is out of range; choose 1 to 100")

    def __call__(self, gt: NDArray, name: str) -> NDArray:
        return jpeg(gt, self.quality)

    def protocol(self) -> dict[str, str | int | float]:
        return {"jpeg": "libjpeg, 4:2:0", "quality": self.quality}
