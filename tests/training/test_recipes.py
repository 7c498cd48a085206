"""What a learner does with rates and gradients, and what each single-network recipe minimizes."""

from __future__ import annotations

import csv
import json

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from hfsr import model_zoo, training
from hfsr.archs import Bicubic, luma
from hfsr.checkpoints import read_state_dict
from hfsr.errors import CheckpointError, OptionsError
from hfsr.options import Typed
from hfsr.options.sections import ParameterGroup, TrainingOptions
from hfsr.training.engine import Engine
from hfsr.training.recipes import TrainableNetwork, restore
from hfsr.training.recipes.content_losses import Content
from hfsr.training.recipes.multiscale_targets import at_scales
from hfsr.training.recipes.psnr import mixed_up
from hfsr.training.recipes.scale_adapter import ScaleAdapter, leaves_some_idle
from hfsr.training.state.training_state import read_state


def curve(folder):
    with (folder / "training_curve.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def losses_of(recipe_options, batch, tmp_path, iteration=1):
    """A recipe's losses on a batch, nothing updated."""
    engine = Engine(recipe_options, tmp_path)
    engine.recipe.prepare(engine.accelerator)
    return engine.recipe, engine.recipe.losses(batch, iteration)


@pytest.fixture
def batch():
    return {"lq": torch.rand(6, 3, 6, 6), "gt": torch.rand(6, 3, 12, 12)}


class TestLearner:
    def learner(self, network=None, groups=(), **words):
        train = TrainingOptions(optim_g=Typed(type="SGD", lr=0.1), total_iter=9, **words)
        learner = TrainableNetwork(network or nn.Linear(3, 1), train.optim_g, train, groups=groups)
        learner.prepare(Accelerator(cpu=True))
        return learner

    def stepped(self, learner, gradient):
        before = [p.detach().clone() for p in learner.network.parameters()]
        for parameter in learner.network.parameters():
            parameter.grad = torch.full_like(parameter, gradient)
        learner.update()
        return [p.detach() - b for p, b in zip(learner.network.parameters(), before, strict=True)]

    def test_gradients_are_cleared_after_a_step(self):
        learner = self.learner()
        assert all(torch.allclose(step, torch.tensor(-0.2)) for step in self.stepped(learner, 2.0))
        assert all(p.grad is None for p in learner.network.parameters())

    def test_the_norm_is_limited(self):
        steps = self.stepped(self.learner(clip_grad_norm=1.0), 2.0)
        assert torch.cat([s.flatten() for s in steps]).norm().item() == pytest.approx(0.1, rel=1e-4)

    def test_adjustable_clipping_limits_the_step_whatever_the_rate(self):
        learner = self.learner(clip_grad_step=0.01)
        assert all(torch.allclose(step, torch.tensor(-0.01)) for step in self.stepped(learner, 2.0))
        learner.optimizer.param_groups[0]["lr"] = 0.001  # 0.001 * 2 is below the limit now
        assert all(torch.allclose(step, torch.tensor(-0.002)) for step in self.stepped(learner, 2.0))

    def test_groups_have_rates_of_their_own_or_are_frozen(self):
        network = nn.ModuleDict({"a": nn.Linear(1, 1), "b": nn.Linear(1, 1)})
        groups = [ParameterGroup(match="a.weight", lr_mul=0), ParameterGroup(match="a.*", lr_mul=0.5)]
        learner = self.learner(network, groups)
        assert [group["initial_lr"] for group in learner.optimizer.param_groups] == [0.05, 0.1]
        assert not network["a"].weight.requires_grad
        changes = self.stepped(learner, 1.0)
        assert [change.item() for change in changes] == pytest.approx([0, -0.05, -0.1, -0.1])

    def test_to_judge_leaves_no_gradient_and_passes_it_on(self):
        learner, x = self.learner(), torch.rand(1, 3, requires_grad=True)
        learner.forward_frozen(x).sum().backward()
        assert torch.equal(x.grad, learner.network.weight.detach())
        assert learner.network.weight.grad is None
        assert learner.network.weight.requires_grad


class TestRunning:
    @pytest.mark.parametrize("preset", ["vdsr_tiny", "mdsr_tiny", "mslapsrn_tiny", "metardn_tiny"])
    def test_the_same_weights_at_another_scale(self, preset):
        network, x = model_zoo.create_model(preset), torch.rand(1, 3, 6, 6)
        other = model_zoo.create_model(preset, scale=4)
        other.load_state_dict(network.state_dict())
        running = ScaleAdapter(network)
        sr = running(x, 4)
        assert torch.allclose(sr, other(x), atol=1e-6)
        assert torch.equal(running(x, None), network(x))
        sr.sum().backward()
        shared = [p for p in network.parameters() if p.grad is not None]
        assert shared
        assert len(list(running.parameters())) == len(list(network.parameters()))

    def test_a_network_of_one_scale_is_refused(self):
        with pytest.raises(OptionsError, match="EDSR has weights for one scale, x2"):
            ScaleAdapter(model_zoo.create_model("edsr_tiny"))(torch.rand(1, 3, 4, 4), 3)

    def test_parameters_of_other_scales_are_known_to_be_idle(self):
        assert leaves_some_idle(ScaleAdapter(model_zoo.create_model("mdsr_tiny")))
        assert not leaves_some_idle(ScaleAdapter(model_zoo.create_model("vdsr_tiny")))
        assert not leaves_some_idle(ScaleAdapter(model_zoo.create_model("mslapsrn_tiny"), "pyramid"))


def test_one_scale_per_batch_is_that_of_the_batch(tmp_path, options, batch):
    chosen = options("network_g={type: MetaRDN, num_feat: 4, num_block: 1, num_layer: 1, num_grow_ch: 4}")
    batch |= {"gt": torch.rand(6, 3, 15, 15), "scale": torch.tensor(2.5)}
    recipe, losses = losses_of(chosen, batch, tmp_path)
    network = recipe.networks["net_g"]
    assert torch.allclose(losses["l_pix"], (network(batch["lq"], 2.5) - batch["gt"]).abs().mean())


def test_mixup_blends_pairs_alike(tmp_path, options, batch):
    torch.manual_seed(3)
    lq, gt = mixed_up([batch["lq"], batch["lq"] * 2], 1.2)
    assert torch.allclose(gt, 2 * lq)
    assert torch.allclose(lq.sum(0), batch["lq"].sum(0))
    assert not torch.allclose(lq, batch["lq"])
    shares = []
    for seed in range(400):
        torch.manual_seed(seed)
        mixed, _ = mixed_up([torch.tensor([0.0, 1.0]).view(2, 1, 1, 1), batch["gt"][:2]], 1.2)
        shares.append(mixed[1].item())
    drawn = torch.tensor([share for share in shares if share not in (0.0, 1.0)])
    # Beta(1.2, 1.2): mean 1/2, variance 1 / (4 * 3.4)
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.05)
    assert drawn.var().item() == pytest.approx(1 / 13.6, rel=0.25)
    chosen = options("train:mixup={alpha: 1.2, start_iter: 5}")
    torch.manual_seed(3)
    recipe, before = losses_of(chosen, batch, tmp_path, iteration=5)
    assert torch.allclose(before["l_pix"], (recipe.networks["net_g"](batch["lq"]) - batch["gt"]).abs().mean())
    assert not torch.allclose(recipe.losses(batch, 6)["l_pix"], before["l_pix"])


@pytest.mark.parametrize(
    ("model_type", "network", "method"),
    [
        ("SRModel", "{type: VDSR, num_feat: 4, num_block: 1}", None),
        ("PyramidModel", "{type: LapSRN, num_feat: 4, num_conv: 1}", "pyramid"),
        ("RecursiveModel", "{type: DRCN, num_feat: 4, num_recursion: 1}", "predictions"),
    ],
)
def test_networks_of_luma_learn_from_luma(tmp_path, options, batch, model_type, network, method):
    chosen = options(
        *(f"model_type={model_type}", f"network_g={network}", "train:pixel_y_channel=true"),
        "train:pixel_opt={type: MSELoss, reduction: sum}",
    )
    recipe, losses = losses_of(chosen, batch, tmp_path)
    net_g = recipe.networks["net_g"]
    images = [net_g(batch["lq"])] if method is None else getattr(net_g, method)(batch["lq"])
    expected = (luma(images[0]) - luma(batch["gt"])).square().sum()
    assert torch.allclose(sum(losses.values()), expected)
    # What the colors of the ground truth are does not matter, as long as its luma stays.
    weights = torch.tensor([65.481, 128.553, 24.966]).view(1, 3, 1, 1)
    other = torch.cat([batch["gt"][:, :1] + 0.1, batch["gt"][:, 1:]], 1)
    other[:, 1] -= 0.1 * weights[0, 0] / weights[0, 1]
    again = recipe.losses({**batch, "gt": other}, 1)
    assert torch.allclose(sum(again.values()), expected, rtol=1e-4)


def test_luma_may_count_beside_color(tmp_path, options, batch):
    chosen = options("train:pixel_opt={type: L1Loss}", "train:luma_opt={type: MSELoss, loss_weight: 3}")
    recipe, losses = losses_of(chosen, batch, tmp_path)
    sr = recipe.networks["net_g"](batch["lq"])
    assert torch.allclose(losses["l_pix"], (sr - batch["gt"]).abs().mean())
    assert torch.allclose(losses["l_luma"], 3 * (luma(sr) - luma(batch["gt"])).square().mean())


def test_reductions_may_count_beside_the_images(tmp_path, options, batch):
    loop = "train:consistency_opt={type: L1Loss, loss_weight: 2}"
    recipe, losses = losses_of(options("train:pixel_opt={type: L1Loss}", loop), batch, tmp_path)
    sr, gt = recipe.networks["net_g"](batch["lq"]), batch["gt"]
    reduce = Bicubic(1, gt.shape[-1] // batch["lq"].shape[-1])
    assert torch.allclose(losses["l_consistency"], 2 * (reduce(sr) - reduce(gt)).abs().mean())

    several = options("train:pixel_opt={type: L1Loss}", loop, "datasets:train:scales=[2, 3]")
    with pytest.raises(OptionsError, match=r"takes one scale; leave it or datasets\.train\.scales out"):
        Content(several)


class TestTargets:
    def test_are_matlabs_reduction_to_8_bit(self):
        gt = torch.rand(1, 3, 24, 24)
        small, middle, whole = at_scales(gt, [1, 2, 4], 4)
        assert whole is gt
        assert torch.equal(middle, (Bicubic(1, 2)(gt).clamp(0, 1) * 255).round() / 255)
        assert small.shape[-1] == 6
        assert at_scales(gt, [2], 3)[0].shape[-1] == 16

    def test_pyramid_sums_every_level(self, tmp_path, options):
        chosen = options(
            "model_type=PyramidModel",
            "scale=4",
            "network_g={type: LapSRN, num_feat: 4, num_conv: 1}",
            "datasets:train:gt_size=24",
            "train:pixel_opt={type: CharbonnierLoss, eps: 1e-6}",
        )
        batch = {"lq": torch.rand(2, 3, 6, 6), "gt": torch.rand(2, 3, 24, 24)}
        recipe, losses = losses_of(chosen, batch, tmp_path)
        levels = recipe.networks["net_g"].pyramid(batch["lq"])
        targets = at_scales(batch["gt"], [2, 4], 4)
        expected = sum(((a - b) ** 2 + 1e-6).sqrt().mean() for a, b in zip(levels, targets, strict=True))
        assert torch.allclose(losses["l_pix"], expected)


def test_recursions_count_less_and_less(tmp_path, options, batch):
    chosen = options(
        "model_type=RecursiveModel",
        "network_g={type: DRCN, num_feat: 4, num_recursion: 2}",
        "train:pixel_opt={type: MSELoss}",
        "train:recursion={alpha: 0.8, decay_iter: 4}",
    )
    recipe, first = losses_of(chosen, batch, tmp_path)
    *states, final = recipe.networks["net_g"].predictions(batch["lq"])
    mean = torch.stack([(state - batch["gt"]).square().mean() for state in states]).mean()
    last = (final - batch["gt"]).square().mean()
    for iteration, alpha in ((1, 0.8), (3, 0.4), (5, 0.0), (99, 0.0)):
        losses = recipe.losses(batch, iteration)
        assert torch.allclose(losses["l_recursions"], alpha * mean)
        assert torch.allclose(losses["l_pix"], (1 - alpha) * last)
    assert first.keys() == losses.keys()


def test_supervision_needs_a_network_that_shows_its_images(tmp_path, options):
    with pytest.raises(OptionsError, match=r"PyramidModel needs a network with a method 'pyramid'.*EDSR"):
        Engine(options("model_type=PyramidModel"), tmp_path)
    with pytest.raises(OptionsError, match=r"train: has no loss against the ground truth"):
        Engine(options("train:pixel_opt=~"), tmp_path)


def test_features_and_texture_train_too(tmp_path, options):
    words = {"layer_weights": {"relu1_1": 0.1}, "pretrained": False}
    chosen = options(
        f"train:perceptual_opt={json.dumps({'type': 'PerceptualLoss', 'style_weight': 1.0, **words})}",
        f"train:texture_opt={json.dumps({'type': 'TextureLoss', **words})}",
        "train:total_iter=2",
    )
    rows = curve(training.train(chosen, root=tmp_path))
    assert all(float(rows[-1][name]) > 0 for name in ("l_pix", "l_percep", "l_style", "l_texture"))


def test_frozen_parts_stay_through_a_run_and_its_resumption(tmp_path, options):
    frozen = options(
        "train:param_groups=[{match: 'conv_first.*', lr_mul: 0}, {match: '*.bias', lr_mul: 0.1}]"
    )
    folder = training.train(frozen, root=tmp_path)
    first, last = (read_state_dict(folder / "models" / f"net_g_{i}.pth", entry="params")[0] for i in (2, 6))
    assert torch.equal(first["conv_first.weight"], last["conv_first.weight"])
    assert not torch.equal(first["conv_last.weight"], last["conv_last.weight"])
    state = read_state(folder / "training_states" / "6.state")
    (folder / "training_states" / "6.state").unlink()
    training.train(frozen, auto_resume=True, root=tmp_path)
    again = read_state(folder / "training_states" / "6.state")
    for key, tensor in state["networks"]["net_g"].items():
        assert torch.equal(tensor, again["networks"]["net_g"][key]), key
    with pytest.raises(OptionsError, match=r"'tail\.\*' matches no parameter of EDSR"):
        Engine(options("train:param_groups=[{match: 'tail.*', lr_mul: 0}]"), tmp_path)


def test_other_groups_go_on_where_the_same_parameters_learn(tmp_path, options):
    """What the optimizer knows of each parameter stays with it, in whatever order the groups put them."""
    folder = training.train(options("train:total_iter=4"), root=tmp_path)
    state = read_state(folder / "training_states" / "4.state")
    groups = "train:param_groups=[{match: '*.bias', lr_mul: 0.1}, {match: 'conv_last.*', lr_mul: 0.5}]"
    recipe = Engine(options(groups), tmp_path).recipe
    learner = recipe.learners["net_g"]
    assert learner.learning != state["learning"]["net_g"]
    assert sorted(learner.learning) == sorted(state["learning"]["net_g"])
    restore(recipe, state, source="the state")
    parameters = dict(learner.network.named_parameters())
    for number, name in enumerate(state["learning"]["net_g"]):
        found = learner.optimizer.state[parameters[name]]
        assert torch.equal(found["exp_avg"], state["optimizers"]["net_g"][number]["exp_avg"]), name
    assert [group["initial_lr"] for group in learner.optimizer.param_groups] == [1e-3, 1e-4, 5e-4]
    training.train(options(groups), auto_resume=True, root=tmp_path)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("[]", "[{match: 'conv_first.*', lr_mul: 0}]", r"trained conv_first\.weight, conv_first\.bias too"),
        ("[{match: 'conv_last.bias', lr_mul: 0}]", "[]", r"did not train conv_last\.bias of net_g"),
    ],
)
def test_a_state_that_trained_other_parameters_is_refused(tmp_path, options, before, after, told):
    training.train(options(f"train:param_groups={before}", "train:total_iter=2"), root=tmp_path)
    with pytest.raises(CheckpointError, match=told) as caught:
        training.train(options(f"train:param_groups={after}"), auto_resume=True, root=tmp_path)
    assert "set train.param_groups back" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_timms_optimizers_train(tmp_path, options):
    folder = training.train(
        options("train:optim_g={type: lamb, lr: 1e-3}", "train:total_iter=2"), root=tmp_path
    )
    assert len(curve(folder)) == 3
    with pytest.raises(OptionsError, match=r"train.optim_g.lrr: unknown key; did you mean 'lr'"):
        options("train:optim_g={type: lamb, lrr: 1e-3}")


def test_lpips_is_a_perceptual_loss(tmp_path, options):
    chosen = options(
        "train:perceptual_opt={type: LPIPSLoss, net: squeeze, pretrained: false, loss_weight: 0.1}",
        "datasets:train:gt_size=32",
        "train:total_iter=1",
    )
    row = curve(training.train(chosen, root=tmp_path))[-1]
    assert float(row["l_percep"]) > 0
    assert "l_style" not in row
    with pytest.raises(OptionsError, match="CharbonnierLoss does not fit this section; use PerceptualLoss"):
        options("train:perceptual_opt={type: CharbonnierLoss}")
