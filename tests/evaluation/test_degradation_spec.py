"""Degradations as the command line and cards describe them."""

from __future__ import annotations

import pytest

from hfsr.errors import OptionsError
from hfsr.evaluation import DegradationSpec
from hfsr.evaluation.degradation_spec import TASKS, task_key


def test_a_strength_states_the_task() -> None:
    assert DegradationSpec().stated_task is None
    assert DegradationSpec(sigma=(15,)).stated_task == "denoise"
    assert DegradationSpec(quality=(40,)).stated_task == "jpeg"
    assert DegradationSpec(task="sr", sigma=(15,)).stated_task == "sr"


@pytest.mark.parametrize(
    ("spec", "task", "stated"),
    [
        (DegradationSpec(), "sr", [{"resize": "MATLAB bicubic, antialiased, 8 bit"}]),
        (DegradationSpec(sigma=(15, 50), seed=3), "denoise", [{"sigma": 15, "seed": 3}, {"sigma": 50}]),
        (DegradationSpec(), "denoise", [{"sigma": 25, "noise": "Gaussian, clamped and rounded to 8 bit"}]),
        (DegradationSpec(unclipped=True), "denoise", [{"noise": "Gaussian, neither clamped nor rounded"}]),
        (DegradationSpec(quality=(10, 40)), "jpeg", [{"quality": 10}, {"quality": 40}]),
        (DegradationSpec(pattern="GRBG"), "demosaic", [{"mosaic": "Bayer GRBG, missing colours 0"}]),
        (DegradationSpec(steps="{type: Jpeg, quality: 30}"), "sr", [{"quality": 30}]),
    ],
)
def test_one_degradation_for_each_strength(spec: DegradationSpec, task: str, stated: list[dict]) -> None:
    scale = 2 if stated[0].get("resize") else 1
    protocols = [degradation.protocol() for degradation in spec.build(task, scale)]
    assert len(protocols) == len(stated)
    for protocol, expected in zip(protocols, stated, strict=True):
        assert expected.items() <= protocol.items()


@pytest.mark.parametrize(
    ("spec", "task"),
    [
        (DegradationSpec(sigma=(15,), seed=3), "denoise"),
        (DegradationSpec(sigma=(15,), unclipped=True), "denoise"),
        (DegradationSpec(quality=(10,)), "jpeg"),
        (DegradationSpec(pattern="GRBG"), "demosaic"),
    ],
)
def test_a_protocol_leads_back_to_its_degradation(spec: DegradationSpec, task: str) -> None:
    [made] = spec.build(task, 1)
    again = DegradationSpec().with_protocol(made.protocol())
    assert again.task == task
    [repeated] = again.build(task, 1)
    assert repeated.protocol() == made.protocol()


@pytest.mark.parametrize(
    ("spec", "task"),
    [(DegradationSpec(quality=(75, 30)), "jpeg"), (DegradationSpec(task="sr", quality=(75, 30)), "sr")],
)
def test_with_a_quality_a_model_that_enlarges_gets_reduced_and_compressed_images(
    spec: DegradationSpec, task: str
) -> None:
    protocols = [degradation.protocol() for degradation in spec.build(task, 2)]
    assert [protocol["quality"] for protocol in protocols] == [75, 30]
    for protocol in protocols:
        assert protocol["resize"].startswith("MATLAB bicubic")
        again = DegradationSpec(quality=(10,)).with_protocol(protocol)
        assert (again.task, again.quality) == ("sr", (protocol["quality"],))
        assert [repeated.protocol() for repeated in again.build("sr", 2)] == [protocol]


def test_the_protocol_of_images_that_were_only_reduced_removes_the_quality() -> None:
    [reduced] = DegradationSpec().build("sr", 2)
    again = DegradationSpec(quality=(10,)).with_protocol(reduced.protocol())
    assert (again.task, again.quality) == ("sr", ())


def test_a_protocol_that_no_option_describes_changes_nothing_but_the_seed() -> None:
    spec = DegradationSpec(steps="{type: GaussianBlur, sigma: 1.6}")
    assert spec.with_protocol({"blur": "Gaussian", "seed": 4}) == DegradationSpec(steps=spec.steps, seed=4)
    assert spec.with_protocol({"noise": "Gaussian", "sigma": "10 to 20"}) == spec


def test_the_model_decides_what_is_left_open() -> None:
    asked = []

    def model_task() -> str:
        asked.append("task")
        return "denoising"

    def build(spec: DegradationSpec, scale: float) -> dict:
        return spec.build_for_model(scale=scale, model_task=model_task, name="model").protocol()

    assert "resize" in build(DegradationSpec(), 2)
    assert build(DegradationSpec(quality=(40,)), 1)["quality"] == 40
    assert asked == []
    assert build(DegradationSpec(), 1)["sigma"] == 25
    assert asked == ["task"]
    with pytest.raises(OptionsError, match="for models of scale 1, this one enlarges x2"):
        build(DegradationSpec(task="denoise"), 2)
    with pytest.raises(OptionsError, match="'model' is for deblurring, for which no degradation is known"):
        task_key("deblurring", name="model")
    assert [task_key(task, name="m") for task in TASKS.values()] == list(TASKS)
