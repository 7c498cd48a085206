"""Networks that compete with EDSR for the bundled models; `architectures.py` trains them.

Their convolutions are reparameterized while they train: the kernel of each is the sum of a 3x3 kernel, a 1x1
kernel and the identity, as in RepVGG (https://arxiv.org/abs/2101.03697). Training and inference run the one
convolution that results, so that the branches cost no time.
"""

from __future__ import annotations

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn
from torch.nn import functional as F


class ReparameterizedConv(nn.Module):
    """3x3 convolution whose kernel is the sum of three branches."""

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.pointwise = nn.Conv2d(num_feat, num_feat, 1, bias=False)
        self.identity = nn.Parameter(torch.ones(num_feat))

    def forward(self, x: Tensor) -> Tensor:
        center = self.pointwise.weight + torch.diag(self.identity)[:, :, None, None]
        return F.conv2d(x, self.conv.weight + F.pad(center, (1, 1, 1, 1)), self.conv.bias, padding=1)


class AttentionBlock(nn.Module):
    """Three convolutions, and attention by their own result, without parameters (SPAN).

    Source: https://arxiv.org/abs/2311.12770
    """

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(ReparameterizedConv(num_feat) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        first, second, third = self.convs
        y = third(F.silu(second(F.silu(first(x)))))
        return (y + x) * (y.sigmoid() - 0.5)


class Enlargement(nn.Module):
    """The last convolution and pixel shuffle of both networks, on top of the enlarged input."""

    def __init__(self, num_feat: int, upscale: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(num_feat, 3 * upscale**2, 3, padding=1)
        self.upscale = upscale

    def forward(self, x: Tensor, image: Tensor) -> Tensor:
        nearest = F.interpolate(image, scale_factor=float(self.upscale))
        return F.pixel_shuffle(self.conv(x), self.upscale) + nearest


@ARCH_REGISTRY.register()
class SpanLike(nn.Module):
    """Attention blocks; the first, the second and the last one are joined before the enlargement."""

    def __init__(self, num_feat: int = 48, num_block: int = 6, upscale: int = 2) -> None:
        super().__init__()
        self.conv_first = nn.Conv2d(3, num_feat, 3, padding=1)
        self.blocks = nn.ModuleList(AttentionBlock(num_feat) for _ in range(num_block))
        self.conv_after_body = ReparameterizedConv(num_feat)
        self.fusion = nn.Conv2d(4 * num_feat, num_feat, 1)
        self.enlarge = Enlargement(num_feat, upscale)

    def forward(self, x: Tensor) -> Tensor:
        head = y = self.conv_first(x)
        found = []
        for block in self.blocks:
            y = block(y)
            found.append(y)
        joined = torch.cat([head, self.conv_after_body(y), found[0], found[-2]], 1)
        return self.enlarge(self.fusion(joined), x)


@ARCH_REGISTRY.register()
class PlainReparameterized(nn.Module):
    """A plain chain of convolutions with PReLU, without any skip but the reparameterized ones."""

    def __init__(self, num_feat: int = 48, num_conv: int = 32, upscale: int = 2) -> None:
        super().__init__()
        self.conv_first = nn.Conv2d(3, num_feat, 3, padding=1)
        self.body = nn.Sequential(
            *(
                nn.Sequential(ReparameterizedConv(num_feat), nn.PReLU(num_feat, init=0.1))
                for _ in range(num_conv)
            )
        )
        self.enlarge = Enlargement(num_feat, upscale)

    def forward(self, x: Tensor) -> Tensor:
        return self.enlarge(self.body(self.conv_first(x)), x)
