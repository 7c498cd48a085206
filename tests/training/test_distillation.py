"""Learning from a trained network."""

from __future__ import annotations

import pytest
import torch

from hfsr import create_model, training
from hfsr.checkpoints import write_model_folder
from hfsr.errors import OptionsError
from hfsr.training.recipes.distillation import Distillation, attention
from hfsr.training.setup import build_network

from .test_engine import curve


@pytest.fixture
def teacher(tmp_path):
    torch.manual_seed(1)
    network = create_model("EDSR", num_feat=8, num_block=2, upscale=2)
    write_model_folder(network, tmp_path / "teacher")
    return network.eval(), f"train:distill_opt:teacher={tmp_path / 'teacher'}"


def test_attention_is_the_normalized_mean_square_over_channels():
    maps = torch.rand(2, 5, 4, 3)
    expected = (maps**2).sum(1, keepdim=True)
    expected = torch.stack([one / one.norm() * one.numel() ** 0.5 for one in expected])
    assert torch.allclose(attention(maps), expected, atol=1e-6)
    assert torch.allclose(attention(3 * maps), attention(maps), atol=1e-6)
    assert not attention(torch.zeros(1, 2, 3, 3)).any()


def test_both_terms_are_their_formulas(options, teacher):
    network, named = teacher
    chosen = options(
        named, "train:distill_opt:layers={body.0: body.1}", "train:distill_opt:feature_opt={type: L1Loss}"
    )
    student = build_network(chosen)
    distillation = Distillation(chosen, student)
    lq = torch.rand(2, 3, 8, 8)
    sr, losses = distillation(lq, lambda: student(lq))
    with torch.no_grad():
        assert torch.equal(sr, student(lq))
        assert losses["l_distill"].item() == pytest.approx((student(lq) - network(lq)).abs().mean().item())
        seen = {}
        for name, module in (("student", student.body[0]), ("teacher", network.body[1])):
            module.register_forward_hook(lambda _m, _i, output, name=name: seen.update({name: output}))
        student(lq)
        network(lq)
    expected = (attention(seen["student"]) - attention(seen["teacher"])).abs().mean().item()
    assert losses["l_distill_feat"].item() == pytest.approx(expected, rel=1e-5)
    losses["l_distill_feat"].backward()
    assert student.body[0].conv1.weight.grad.abs().max() > 0
    assert student.conv_last.weight.grad is None
    assert all(parameter.grad is None for parameter in distillation.teacher.parameters())


def test_the_student_comes_closer_to_its_teacher(tmp_path, options, teacher):
    _, named = teacher
    chosen = options(
        named, "train:pixel_opt:loss_weight=0", "train:total_iter=60", "train:scheduler=~", "val:val_freq=60"
    )
    rows = [row for row in curve(training.train(chosen, root=tmp_path)) if row["l_distill"]]
    assert float(rows[-1]["l_distill"]) < 0.5 * float(rows[0]["l_distill"])


@pytest.mark.slow
def test_a_distilled_run_resumes_to_the_same_losses(tmp_path, options, teacher):
    _, named = teacher
    layers = "train:distill_opt:layers={body.0: body.1}"
    whole = curve(training.train(options(named, layers), root=tmp_path / "a"))
    training.train(options(named, layers, "train:total_iter=4"), root=tmp_path / "b")
    resumed = curve(training.train(options(named, layers), root=tmp_path / "b", auto_resume=True))
    assert [row["l_distill_feat"] for row in resumed] == [row["l_distill_feat"] for row in whole]
    assert [row["l_pix"] for row in resumed] == [row["l_pix"] for row in whole]


def test_nothing_of_the_teacher_is_saved(tmp_path, options, teacher):
    folder = training.train(options(teacher[1], "train:total_iter=2"), root=tmp_path)
    saved = torch.load(folder / "models" / "net_g_latest.pth", weights_only=True)
    student = build_network(options())
    assert saved["params_ema" if "params_ema" in saved else "params"].keys() == student.state_dict().keys()


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["scale=4"], "enlarges by 2, network_g by 4"),
        (["train:distill_opt:layers={body.7: body.1}"], r"layers: the student has no layer 'body.7'"),
        (["train:distill_opt:layers={body.0: boddy.1}"], r"layers: the teacher has no layer 'boddy.1'"),
        (["train:distill_opt:layers={conv_last: conv_first}"], "gives maps of 16x16 px, 'conv_first' of 8x8"),
        (
            ["train:distill_opt:output_opt={type: L2Loss}"],
            r"train.distill_opt.output_opt.type: no loss named 'L2Loss'",
        ),
        (["train:distill_opt:lairs={}"], "train.distill_opt.lairs: unknown key; did you mean 'layers'"),
        (
            ["model_type=PyramidModel", "network_g={type: LapSRN}"],
            "distill_opt: PyramidModel does not use it",
        ),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, options, teacher, overrides, told):
    with pytest.raises(OptionsError, match=told):
        training.train(options(teacher[1], *overrides), root=tmp_path)
