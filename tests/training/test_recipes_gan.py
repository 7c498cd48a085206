"""Adversarial training: losses are the papers', both networks learn in turn, and a run goes on exactly."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn
from torch.multiprocessing.spawn import start_processes
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import logsigmoid

from hfsr import training
from hfsr.checkpoints import load_checkpoint
from hfsr.errors import OptionsError
from hfsr.training.engine import Engine
from hfsr.training.recipes.distributed_mean import global_mean
from hfsr.training.state.training_state import read_state

from .test_recipes import curve

FEATURES = {"type": "PerceptualLoss", "layer_weights": {"conv1_1": 0.1}, "pretrained": False}
WORDS = (
    "model_type=ESRGANModel",
    "network_d={type: SRGANDiscriminator, num_feat: 2, input_size: 16, num_hidden: 4}",
    "train:optim_d={type: Adam, lr: 1e-3}",
    "train:gan_opt={type: GANLoss, gan_type: vanilla, loss_weight: 5e-3}",
    "train:pixel_opt={type: L1Loss, loss_weight: 1e-2}",
    f"train:perceptual_opt={json.dumps(FEATURES)}",
)


@pytest.fixture
def gan(options):
    return lambda *overrides: options(*WORDS, *overrides)


def built(options, tmp_path):
    engine = Engine(options, tmp_path)
    engine.recipe.prepare(engine.accelerator)
    return engine.recipe


def weights(recipe, name):
    return {key: tensor.clone() for key, tensor in recipe.networks[name].named_parameters()}


def moved(recipe, name, before):
    return any(
        not torch.equal(tensor, before[key]) for key, tensor in recipe.networks[name].named_parameters()
    )


@pytest.fixture
def batch():
    return {"lq": torch.rand(3, 3, 8, 8), "gt": torch.rand(3, 3, 16, 16)}


@pytest.fixture
def scores(monkeypatch):
    """Logits of the ground truth and of the outputs, whatever the discriminator."""
    real, fake = torch.randn(3, 1), torch.randn(3, 1, requires_grad=True)

    def patch(recipe):
        judged = iter([real, fake] if type(recipe).__name__ == "EsrganRecipe" else [fake])
        monkeypatch.setattr(recipe.learners["net_d"], "forward_frozen", lambda _: next(judged))
        return real, fake

    return patch


class TestLosses:
    def test_srgan_is_the_papers(self, gan, tmp_path, scores):
        recipe = built(gan("model_type=SRGANModel"), tmp_path)
        real, fake = scores(recipe)
        none = torch.zeros(0)
        assert torch.allclose(recipe.generator_loss(none, none), -5e-3 * logsigmoid(fake).mean())
        l_real, l_fake = recipe.discriminator_losses(real, fake)
        assert torch.allclose(l_real + l_fake, -logsigmoid(real).mean() - logsigmoid(-fake).mean())

    @pytest.mark.parametrize(("ragan", "share"), [("sum", 1.0), ("half", 0.5)])
    def test_esrgan_is_the_papers_sum_or_basicsrs_half(self, gan, tmp_path, scores, ragan, share):
        recipe = built(gan(f"train:ragan={ragan}"), tmp_path)
        real, fake = scores(recipe)
        ones, zeros, none = torch.ones(3, 1), torch.zeros(3, 1), torch.zeros(0)
        expected = bce(real - fake.mean(), zeros) + bce(fake - real.mean(), ones)
        assert torch.allclose(recipe.generator_loss(none, none), share * 5e-3 * expected)
        real.requires_grad_()
        sum(recipe.discriminator_losses(real, fake)).backward()
        found = real.grad.clone(), fake.grad.clone()
        real.grad = fake.grad = None
        means = (real.mean(), fake.mean()) if ragan == "sum" else (real.mean().detach(), fake.mean().detach())
        (share * (bce(real - means[1], ones) + bce(fake - means[0], zeros))).backward()
        assert torch.allclose(found[0], real.grad)
        assert torch.allclose(found[1], fake.grad)


@pytest.mark.parametrize("model_type", ["SRGANModel", "ESRGANModel"])
def test_each_network_learns_from_its_own_losses_alone(gan, tmp_path, batch, model_type, monkeypatch):
    recipe = built(gan(f"model_type={model_type}"), tmp_path)
    for name, learner in recipe.learners.items():
        monkeypatch.setattr(learner, "update", lambda name=name: gradients.setdefault(name, grads(recipe)))
    gradients = {}

    def grads(recipe):
        return {
            name: [None if p.grad is None else p.grad.clone() for p in network.parameters()]
            for name, network in recipe.networks.items()
        }

    losses = recipe.step([batch], 1)
    assert all(grad is not None for grad in gradients["net_g"]["net_g"])
    assert all(grad is None for grad in gradients["net_g"]["net_d"])
    for now, before in zip(gradients["net_d"]["net_g"], gradients["net_g"]["net_g"], strict=True):
        assert torch.equal(now, before)  # the discriminator's step sends nothing to the network
    names = {"l_g_pix", "l_g_percep", "l_g_gan", "l_d_real", "l_d_fake", "out_d_real", "out_d_fake"}
    assert losses.keys() == names


def test_the_discriminator_may_learn_first_and_more_often(gan, tmp_path, batch):
    recipe = built(gan("train:net_d_init_iters=2", "train:net_d_iters=2"), tmp_path)
    for iteration, learns in ((1, False), (2, False), (3, False), (4, True), (5, False), (6, True)):
        g, d = weights(recipe, "net_g"), weights(recipe, "net_d")
        names = recipe.step([batch], iteration).keys()
        assert moved(recipe, "net_g", g) is learns
        assert moved(recipe, "net_d", d)
    assert "l_g_gan" in names


def test_a_run_saves_both_networks_and_goes_on_exactly(gan, tmp_path):
    folder = training.train(gan(), root=tmp_path)
    saved = {p.name for p in (folder / "models").glob("net_d_*")}
    assert {"net_d_2.pth", "net_d_4.pth", "net_d_6.pth"} <= saved
    assert type(load_checkpoint(folder / "models" / "net_d_6.pth")).__name__ == "SRGANDiscriminator"
    assert float(curve(folder)[-1]["l_g_gan"]) > 0
    whole = read_state(folder / "training_states" / "6.state")
    assert whole["networks"].keys() == whole["optimizers"].keys() == {"net_g", "net_d"}
    assert whole["averages"].keys() == {"net_g"}
    (folder / "training_states" / "6.state").unlink()
    training.train(gan(), auto_resume=True, root=tmp_path)
    again = read_state(folder / "training_states" / "6.state")
    for name in ("net_g", "net_d"):
        for key, tensor in whole["networks"][name].items():
            assert torch.equal(tensor, again["networks"][name][key]), (name, key)


def test_a_discriminator_to_start_from(gan, tmp_path):
    folder = training.train(gan("train:total_iter=2"), root=tmp_path)
    source = folder / "models" / "net_d_2.pth"
    expected = load_checkpoint(source).state_dict()
    network = Engine(gan(f"path:pretrain_network_d={source}"), tmp_path).recipe.networks["net_d"]
    for key, tensor in network.state_dict().items():
        assert torch.equal(tensor, expected[key])


@pytest.mark.parametrize(
    "kind", [("model_type=SRGANModel",), ("train:ragan=half",), ("train:ragan=sum",)], ids=lambda k: k[0]
)
def test_accumulation_is_a_larger_batch_for_both_networks(gan, tmp_path, batch, kind):
    """Also where logits are compared with means: those are over all steps.

    In float64: how the logits' factor of 200 spreads the rounding of float32 depends on the CPU.
    """
    steps, losses = [], []
    batch = {key: value.double() for key, value in batch.items()}
    for parts in (1, 3):
        # Without Adam, for which the size of a gradient hardly matters.
        plain = [f"train:optim_{key}={{type: SGD, lr: 1}}" for key in "gd"]
        recipe = built(gan(*kind, *plain, "train:gan_opt:loss_weight=1"), tmp_path)
        for module in (*recipe.networks.values(), *recipe.criteria):
            module.double()
        for norm in norms_of(recipe.networks["net_d"]):
            norm.eval()  # whose statistics are those of a part
        with torch.no_grad():  # logits far from each other: their means differ from step to step
            recipe.networks["net_d"].linear2.weight *= 200
        chunks = [{key: value[i::parts] for key, value in batch.items()} for i in range(parts)]
        losses.append(recipe.step(chunks, 1))
        steps.append({**weights(recipe, "net_g"), **weights(recipe, "net_d")})
    for key, tensor in steps[0].items():
        assert torch.allclose(tensor, steps[1][key], rtol=1e-9, atol=1e-9), key
    for name, value in losses[0].items():
        assert torch.allclose(value, losses[1][name], rtol=1e-9), name


def norms_of(network):
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


def test_a_glance_at_the_other_steps_leaves_no_trace_in_statistics(gan, tmp_path, batch):
    recipe = built(gan(), tmp_path)
    learner = recipe.learners["net_d"]
    before = [buffer.clone() for buffer in learner.network.buffers()]
    real, fake = learner.forward_no_grad(batch["gt"], batch["gt"])
    assert torch.equal(real, fake)
    assert not real.requires_grad
    assert norms_of(learner.network)
    assert all(torch.equal(a, b) for a, b in zip(before, learner.network.buffers(), strict=True))
    recipe.step([{key: value[:2] for key, value in batch.items()}] * 3, 1)
    # Of each step: twice for the network, once for each kind in the discriminator's turn.
    assert {int(norm.num_batches_tracked) for norm in norms_of(learner.network)} == {3 * 4}


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("network_d=~", r"network_d: is missing; ESRGANModel requires it"),
        ("train:optim_d=~", r"train\.optim_d: is missing"),
        ("train:gan_opt=~", r"train\.gan_opt: is missing"),
        ("datasets:train:scales=[2]", r"datasets\.train\.scales: ESRGANModel trains at one scale"),
    ],
)
def test_what_is_missing_is_named(gan, tmp_path, override, told):
    with pytest.raises(OptionsError, match=told):
        Engine(gan(override), tmp_path)


def loss_of(scores, real):
    """Not linear in the means, unlike in its other input, so that a wrong gradient shows."""
    return bce(scores - global_mean(real), torch.ones_like(scores)) * global_mean(scores).exp()


def one_process_of_two(rank, rendezvous, answers):
    torch.distributed.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=2)
    torch.manual_seed(0)
    network, x, y = nn.Linear(3, 1), torch.randn(6, 3), torch.randn(6, 3)
    mine = slice(3 * rank, 3 * rank + 3)
    ddp = nn.parallel.DistributedDataParallel(_Both(network))
    loss_of(*ddp(x[mine], y[mine])).backward()
    if rank == 0:
        torch.save([p.grad for p in network.parameters()], answers)
    torch.distributed.destroy_process_group()


class _Both(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x, y):
        return self.network(x), self.network(y)


def test_means_and_their_gradients_are_those_of_the_global_batch(tmp_path, server):
    arguments = (f"file://{tmp_path}/rendezvous", str(tmp_path / "answers.pt"))
    start_processes(one_process_of_two, arguments, nprocs=2, start_method=server.get_start_method())
    torch.manual_seed(0)
    network, x, y = nn.Linear(3, 1), torch.randn(6, 3), torch.randn(6, 3)
    loss_of(network(x), network(y)).backward()
    together = [p.grad for p in network.parameters()]
    for found, expected in zip(torch.load(tmp_path / "answers.pt"), together, strict=True):
        assert torch.allclose(found, expected, rtol=1e-5)
    network.zero_grad()
    for part in (slice(0, 3), slice(3, 6)):  # means of each process's own batch are another gradient
        (loss_of(network(x[part]), network(y[part])) / 2).backward()
    assert not torch.allclose(next(network.parameters()).grad, together[0], rtol=1e-2)
