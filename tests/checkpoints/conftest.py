"""What the tests of checkpoints share: small networks, and errors held to one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
import torch
from torch import nn

from hfsr.errors import CheckpointError
from hfsr.model_zoo import create_model


@pytest.fixture
def edsr() -> nn.Module:
    return create_model("edsr_tiny").eval()


@pytest.fixture
def refused() -> Callable[[str], AbstractContextManager[None]]:
    """`with refused(pattern)`: the block raises a CheckpointError of one line that matches."""

    @contextmanager
    def expect(pattern: str) -> Iterator[None]:
        with pytest.raises(CheckpointError, match=pattern) as caught:
            yield
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 600

    return expect


def same_images(first: nn.Module, second: nn.Module) -> bool:
    x = torch.rand(1, 3, 6, 9)
    with torch.no_grad():
        return torch.equal(first(x), second(x))
