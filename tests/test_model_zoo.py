"""Tests of listing, building and registering networks."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest
from torch import nn

from hfsr import model_zoo
from hfsr.archs import ArchSpec
from hfsr.archs.edsr import EDSR, SPEC
from hfsr.errors import OptionsError, UnknownNameError
from hfsr.registry import ARCHS


@pytest.fixture
def archs(monkeypatch):
    """Registry of networks; restored after the test."""
    monkeypatch.setattr(ARCHS, "_items", ARCHS.own())
    return ARCHS


def third_party(name: str = "Plain", presets: dict | None = None) -> ArchSpec:
    cls = type(name, (nn.Module,), {})
    return dataclasses.replace(SPEC, name=name, cls=cls, presets=presets or {f"{name.lower()}_tiny": {}})


def test_create_model_builds_a_preset():
    model = model_zoo.create_model("edsr_tiny")
    assert isinstance(model, EDSR)
    assert model.scale == 2
    assert model.model_args["num_feat"] == 8


@pytest.mark.parametrize("key", ["scale", "upscale"])
def test_arguments_override_the_preset(key):
    model = model_zoo.create_model("edsr_tiny", num_block=1, **{key: 4})
    assert model.scale == 4
    assert model.model_args["num_feat"] == 8
    assert len(model.body) == 1


def test_whole_scale_is_converted_to_int():
    model = model_zoo.create_model("edsr_tiny", scale=3.0)
    assert repr(model.scale) == repr(model.model_args["upscale"]) == "3"


def test_create_model_builds_by_class_name():
    model = model_zoo.create_model("EDSR", scale=3, num_feat=4, num_block=1)
    assert (type(model).__name__, model.scale) == ("EDSR", 3)


def test_unknown_name_suggests_a_preset_or_network():
    with pytest.raises(
        UnknownNameError, match="no preset or network named 'edsr_tinny'; did you mean 'edsr_tiny'"
    ):
        model_zoo.create_model("edsr_tinny")
    with pytest.raises(UnknownNameError, match="no network named 'EDRS'; did you mean 'EDSR'"):
        model_zoo.build("EDRS")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_blok": 1}, "EDSR has no argument 'num_blok'; did you mean 'num_block'"),
        ({"scale": 2, "upscale": 3}, "scale=2 and upscale=3 differ; give one"),
        ({"scale": 5}, "scale 5 is not supported"),
        ({"num_feat": "many"}, "EDSR cannot be built with num_feat='many': "),
        ({"num_feat": -1}, "EDSR cannot be built with num_feat=-1: "),
    ],
)
@pytest.mark.parametrize("name", ["EDSR", "edsr_tiny"])
def test_invalid_arguments(name, arguments, message):
    if name == "edsr_tiny":
        message = message.split(":")[0].split(" with")[0]  # the message lists the arguments of the preset too
    with pytest.raises(OptionsError, match=message):
        model_zoo.create_model(name, **arguments)


def test_network_without_a_scale_has_scale_1(archs):
    class Denoiser(nn.Module):
        def __init__(self, *, width: int = 1) -> None:
            super().__init__()

    archs.register(dataclasses.replace(SPEC, name="Denoiser", cls=Denoiser, presets={"denoiser_tiny": {}}))
    assert isinstance(model_zoo.create_model("denoiser_tiny", scale=1), Denoiser)
    with pytest.raises(
        OptionsError, match="Denoiser does not change the size of an image: its scale is 1, not 2"
    ):
        model_zoo.create_model("Denoiser", scale=2)


def test_registered_network_is_listed_and_built(archs):
    spec = third_party()
    assert model_zoo.register_arch(spec) is spec
    assert "Plain" in model_zoo.list_archs()
    assert "plain_tiny" in model_zoo.list_models(pretrained=False)
    assert isinstance(model_zoo.create_model("plain_tiny"), spec.cls)
    assert model_zoo.register_arch(spec) is spec


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (third_party("EDSR", presets={"edsr_own_tiny": {}}), "named 'EDSR' is already registered"),
        (third_party(presets={"plain_tiny": {}, "edsr_x2": {}}), "preset 'edsr_x2' is already registered"),
        (dataclasses.replace(third_party(), name="Other"), "must have the name of its class, 'Plain'"),
    ],
)
def test_rejected_network_changes_nothing(archs, spec, message):
    before = archs.own()
    with pytest.raises(ValueError, match=message):
        model_zoo.register_arch(spec)
    assert archs.own() == before


def test_lists_are_sorted_and_presets_unique():
    assert model_zoo.list_archs() == sorted(ARCHS)
    names = model_zoo.list_models(pretrained=False)
    assert names == sorted(names)
    counts = Counter(preset for spec in ARCHS.values() for preset in spec.presets)
    assert max(counts.values()) == 1
    assert not set(counts) & set(ARCHS)


def test_presets_have_a_supported_scale():
    restorers = {name: spec for name, spec in model_zoo.presets().items() if spec.role == "restorer"}
    assert "edsr_tiny" in restorers
    for name, spec in restorers.items():
        assert spec.scale_of(spec.presets[name]) in spec.scales, name
