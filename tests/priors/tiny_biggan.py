"""A tiny BigGAN pair that is trained in seconds to draw simple shapes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from hfsr.archs.biggan import BigGANDiscriminator, BigGANGenerator

SIDE = 128


def draw(z: Tensor, classes: Tensor) -> Tensor:
    """Draws discs on a plain background; z sets position and brightness, the class sets the hue.

    Args:
        z: (B, 12): two numbers enter at each resolution; the first two set the position.
        classes: 0 or 1, (B,).

    Returns:
        RGB in [0, 1], (B, 3, 128, 128).
    """
    t = torch.tanh(z)[..., None, None]
    line = torch.linspace(-1, 1, SIDE)
    x, y = line[None, None], line[None, :, None]
    distance = ((x - 0.2 * t[:, 0]) ** 2 + (y - 0.2 * t[:, 1]) ** 2).sqrt()
    inside = torch.sigmoid((0.7 - distance) * 8)[:, None]
    hue = torch.tensor([[0.2, 0.5, 0.8], [0.8, 0.5, 0.2]])[classes][..., None, None]
    disc = hue * (0.95 + 0.25 * t[:, 2])[:, None]
    background = (0.5 + 0.25 * t[:, 4])[:, None].expand(-1, 3, SIDE, SIDE)
    return inside * disc + (1 - inside) * background


def train_pair(steps: int = 120, batch: int = 4) -> tuple[BigGANGenerator, BigGANDiscriminator]:
    """Trains both networks and returns them in evaluation mode."""
    torch.manual_seed(0)
    generator = BigGANGenerator(num_feat=8, z_chunk=2, shared_dim=8, num_class=2)
    optimizer = torch.optim.Adam(generator.parameters(), lr=4e-3, betas=(0.5, 0.99))
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps)
    for _ in range(steps):
        z, classes = torch.randn(batch, generator.dim_z), torch.randint(0, 2, (batch,))
        loss = F.mse_loss(generator(z, generator.shared(classes)), draw(z, classes))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
    generator.eval()
    return generator, train_discriminator(generator)


def train_discriminator(generator: BigGANGenerator, steps: int = 10, batch: int = 4) -> BigGANDiscriminator:
    """Trains a discriminator between drawn and generated images."""
    discriminator = BigGANDiscriminator(num_feat=8, num_class=2)
    optimizer = torch.optim.Adam(discriminator.parameters(), lr=1e-3, betas=(0.0, 0.99))
    for _ in range(steps):
        z, classes = torch.randn(batch, generator.dim_z), torch.randint(0, 2, (batch,))
        with torch.no_grad():
            generated = generator(z, generator.shared(classes))
        real = F.relu(1 - discriminator(draw(z, classes), classes)).mean()
        fake = F.relu(1 + discriminator(generated, classes)).mean()
        optimizer.zero_grad()
        (real + fake).backward()
        optimizer.step()
    return discriminator.eval()
