from __future__ import annotations

from typing import Any

import pytest
import torch

import hfsr
from hfsr.checkpoints import interpolate


@pytest.mark.parametrize("other", [{"img_range": 1.0}, {"res_scale": 0.1}, {"rgb_mean": (0.5, 0.5, 0.5)}])
def test_other_arguments_are_refused(other: dict[str, Any], refused) -> None:
    """The tensors have the same shapes, but no weights between them fit both networks."""
    a, b = hfsr.create_model("edsr_tiny"), hfsr.create_model("edsr_tiny", **other)
    with refused(f"'A' and 'B' were built with other values of {next(iter(other))}; interpolation needs"):
        interpolate(a, b, 0.5)


def test_lists_and_tuples_are_equal_arguments() -> None:
    mean = (0.4488, 0.4371, 0.4040)
    a = hfsr.create_model("edsr_tiny", rgb_mean=mean)
    b = hfsr.create_model("edsr_tiny", rgb_mean=list(mean))
    mixed = interpolate(a, b, 1.0)
    assert torch.equal(mixed.state_dict()["conv_first.weight"], b.state_dict()["conv_first.weight"])
