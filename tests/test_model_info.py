"""Facts of networks, held against the papers' own counts."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from hfsr.errors import CheckpointError
from hfsr.model_info import inspect_model
from hfsr.model_zoo import create_model


@pytest.mark.parametrize(
    ("preset", "parameters", "giga"),
    [
        ("edsr_baseline_x2", 1_369_859, 316.25),  # 316.3 G in the literature
        ("edsr_baseline_x4", 1_517_571, 114.23),  # 114.0 G
        ("a2n_x2", 1_036_443, 247.47),  # 247.5 G
        ("metardn_x2", 22_419_096, 5062.22),
    ],
)
def test_counts(preset: str, parameters: int, giga: float) -> None:
    with torch.device("meta"):
        facts = inspect_model(create_model(preset))
    assert facts.parameters == parameters
    assert facts.multiply_adds / 1e9 == pytest.approx(giga, abs=0.01)


@pytest.mark.parametrize("preset", ["msrresnet_tiny", "panet_tiny"])  # the first takes luma, the other RGB
def test_networks_of_one_channel_are_counted(preset: str) -> None:
    one = {"num_in_ch": 1} if preset == "panet_tiny" else {"num_in_ch": 1, "num_out_ch": 1}
    gray, color = (inspect_model(create_model(preset, **told)).multiply_adds for told in (one, {}))
    assert 0 < gray < color


def test_facts_are_the_specs() -> None:
    facts = inspect_model(create_model("edsr_tiny"), task="denoising")
    assert (facts.architecture, facts.scale, facts.tiling, facts.task) == ("EDSR", 2, "local", "denoising")
    assert facts.year == "2017"
    assert facts.radius == 8
    json.dumps(facts.to_json())


def test_a_stranger_has_no_facts() -> None:
    with pytest.raises(CheckpointError, match="not a registered network"):
        inspect_model(nn.Conv2d(3, 3, 1))
