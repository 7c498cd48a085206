"""Fixtures for the tests of priors."""

from __future__ import annotations

import pytest

from hfsr.archs.biggan import BigGANDiscriminator, BigGANGenerator

from .tiny_biggan import train_pair


@pytest.fixture(scope="session")
def pair() -> tuple[BigGANGenerator, BigGANDiscriminator]:
    return train_pair()
