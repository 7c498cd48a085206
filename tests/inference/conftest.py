"""What the exactness tests share: weights that make global pools matter, and the independent tiles others
cut.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn


def loud(model: nn.Module, gain: float = 1.7) -> nn.Module:
    """Scales every convolution: a freshly made deep trunk fades out, and with it what pools do."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.mul_(gain)
    return model


def uneven_image(height: int, width: int) -> Tensor:
    """A dark flat half and a bright noisy half: every part has other statistics than the whole."""
    generator = torch.Generator().manual_seed(7)
    image = torch.rand(1, 3, height, width, generator=generator)
    image[..., : width // 2] *= 0.05
    return image


def independent_tiles(model: nn.Module, image: Tensor, tile: int, pad: int = 10) -> Tensor:
    """Upscales tile by tile with some padding, forgetting the rest of the image."""
    scale, (height, width) = int(model.scale), image.shape[-2:]  # type: ignore[arg-type]
    result = torch.empty(1, 3, height * scale, width * scale)
    for y in range(0, height, tile):
        for x in range(0, width, tile):
            top, left = max(0, y - pad), max(0, x - pad)
            bottom, right = min(height, y + tile), min(width, x + tile)
            part = model(image[..., top : min(height, bottom + pad), left : min(width, right + pad)])
            result[..., y * scale : bottom * scale, x * scale : right * scale] = part[
                ...,
                (y - top) * scale : (bottom - top) * scale,
                (x - left) * scale : (right - left) * scale,
            ]
    return result


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield
