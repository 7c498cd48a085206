"""BigGAN's generator and discriminator: what they promise, and their released layout by hand."""

from __future__ import annotations

import itertools
import json

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hfsr.archs._biggan_layers import SNConv2d, SNEmbedding, SNLinear
from hfsr.archs.biggan import BigGANDiscriminator, BigGANGenerator
from hfsr.checkpoints import identify, load_checkpoint, save_checkpoint
from hfsr.errors import OptionsError
from hfsr.model_zoo import build, create_model
from hfsr.registry import ARCHS

GENERATORS = {
    "biggan_generator_128": (70_433_988, 70_448_772, 120, (16, 16, 8, 4, 2, 1)),
    "biggan_generator_256": (82_108_548, 82_126_404, 119, (16, 16, 8, 8, 4, 2, 1)),
    "biggan_generator_256_ch64": (37_240_580, 37_252_484, 119, (16, 16, 8, 8, 4, 2, 1)),
}
DISCRIMINATORS = {
    "biggan_discriminator_128": 87_982_370,
    "biggan_discriminator_256": 99_225_890,
    "biggan_discriminator_256_ch64": 44_445_890,
}
TINY = {"num_feat": 8, "num_class": 3}


def on_meta(preset: str) -> torch.nn.Module:
    with torch.device("meta"):
        return create_model(preset)


def generator(resolution: int = 128) -> BigGANGenerator:
    return BigGANGenerator(resolution=resolution, z_chunk=2, shared_dim=4, **TINY)


def scattered(model: torch.nn.Module) -> torch.nn.Module:
    """Numbers of ordinary size in every tensor, so that no part of the wiring is hidden."""
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("stored_var"):
                tensor.uniform_(0.5, 2)
            else:
                tensor.normal_(0, 0.5)
    return model.double().eval()


# Facts


@pytest.mark.parametrize("preset", GENERATORS)
def test_generator_counts(preset: str) -> None:
    model = on_meta(preset)
    own, in_a_prior, dim_z, factors = GENERATORS[preset]
    widths = [factor * model.model_args["num_feat"] for factor in factors]
    assert sum(p.numel() for p in model.parameters()) == own
    # A prior's code has an instance norm (gain and bias) beside each of a block's two norms; no file has it.
    assert own + sum(2 * (a + b) for a, b in itertools.pairwise(widths)) == in_a_prior
    assert model.dim_z == dim_z
    assert [parts[0].conv1.in_channels for parts in model.blocks] == widths[:-1]
    assert [parts[0].conv1.out_channels for parts in model.blocks] == widths[1:]
    assert [len(parts) for parts in model.blocks] == [1, 1, 1, 2, 1, 1][: len(widths) - 1]  # attention at 64
    assert all(t.is_meta for t in [*model.parameters(), *model.buffers()])
    assert ARCHS["BigGANGenerator"].role == "generator"


@pytest.mark.parametrize("preset", DISCRIMINATORS)
def test_discriminator_counts(preset: str) -> None:
    model = on_meta(preset)
    assert sum(p.numel() for p in model.parameters()) == DISCRIMINATORS[preset]
    attends = 0 if "128" in preset else 1
    assert [len(parts) for parts in model.blocks] == [1 + (i == attends) for i in range(len(model.blocks))]
    assert all(t.is_meta for t in [*model.parameters(), *model.buffers()])
    assert ARCHS["BigGANDiscriminator"].role == "discriminator"


def test_released_keys() -> None:
    normalized = ["bias", "sv0", "u0", "weight"]
    state = on_meta("biggan_generator_128").state_dict()
    assert sorted(key for key in state if not key.startswith("blocks.")) == [
        *(f"linear.{name}" for name in normalized),
        *(f"output_layer.0.{name}" for name in ("bias", "gain", "stored_mean", "stored_var")),
        *(f"output_layer.2.{name}" for name in normalized),
        "shared.weight",
    ]
    assert sorted(
        key.removeprefix("blocks.3.1.") for key in state if key.startswith("blocks.3.1.")
    ) == sorted(
        [
            "gamma",
            *(f"{part}.{name}" for part in ("theta", "phi", "g", "o") for name in ("sv0", "u0", "weight")),
        ]
    )
    norm = [f"{part}.{name}" for part in ("bias", "gain") for name in ("sv0", "u0", "weight")]
    norm += ["stored_mean", "stored_var"]
    assert sorted(
        key.removeprefix("blocks.4.0.") for key in state if key.startswith("blocks.4.0.")
    ) == sorted(
        [f"bn{i}.{name}" for i in (1, 2) for name in norm]
        + [f"{conv}.{name}" for conv in ("conv1", "conv2", "conv_sc") for name in normalized]
    )
    assert state["shared.weight"].shape == (1000, 128)
    assert state["linear.weight"].shape == (16 * 96 * 16, 20)
    assert state["blocks.0.0.bn1.gain.weight"].shape == (16 * 96, 148)
    assert state["blocks.0.0.conv1.u0"].shape == (1, 16 * 96)

    state = on_meta("biggan_discriminator_256").state_dict()
    assert {key.split(".")[0] for key in state} == {"blocks", "embed", "linear"}
    assert {key for key in state if key.startswith("embed")} == {"embed.weight", "embed.u0", "embed.sv0"}
    assert state["embed.u0"].shape == (1, 1000)
    assert any(key.startswith("blocks.1.1.theta") for key in state)
    assert not any(key.startswith("blocks.6.0.conv_sc") for key in state)  # the last block keeps its size


@pytest.mark.parametrize(
    ("kind", "sizes"), [(SNConv2d, (5, 7, 3)), (SNLinear, (6, 4)), (SNEmbedding, (9, 5))]
)
def test_spectral_norm_steps_in_training_only(kind: type[nn.Module], sizes: tuple[int, ...]) -> None:
    layer = kind(*sizes).double()
    start = layer.u0.clone()
    with torch.no_grad():
        layer.weight.mul_(30)
    matrix = layer.weight.detach().flatten(1)
    v = F.normalize(start @ matrix)
    u = F.normalize(v @ matrix.T)
    layer.eval()
    value = (u @ matrix @ v.T).item()
    torch.testing.assert_close(layer.normalized(), layer.weight / value)
    assert torch.equal(layer.u0, start)
    layer.train()
    for _ in range(200):
        layer.normalized()
    largest = torch.linalg.svdvals(matrix)[0]
    torch.testing.assert_close(layer.sv0, largest[None])
    torch.testing.assert_close(
        torch.linalg.svdvals(layer.normalized().detach().flatten(1))[0], largest.new_tensor(1)
    )


def test_gradients_see_the_weight_in_its_singular_value() -> None:
    layer = SNLinear(3, 3).double().eval()
    layer.normalized().square().sum().backward()
    # A function that does not change when the weight is scaled has a gradient across the weight.
    torch.testing.assert_close((layer.weight.grad * layer.weight).sum().item(), 0.0, atol=1e-12, rtol=0)


def test_statistics_are_learned_in_training_and_used_in_evaluation() -> None:
    model = generator()
    z, y = torch.randn(4, model.dim_z), model.shared(torch.tensor([0, 1, 2, 0]))
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with torch.no_grad():
        model(z, y)
    moved = {key for key, tensor in model.state_dict().items() if not torch.equal(tensor, before[key])}
    assert {key.rsplit(".", 1)[-1] for key in moved} == {"stored_mean", "stored_var", "u0", "sv0"}
    model.eval()
    learned = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with torch.no_grad():
        singles = torch.cat([model(z[i : i + 1], y[i : i + 1]) for i in range(4)])
        torch.testing.assert_close(model(z, y), singles, rtol=0, atol=1e-5)
    assert all(torch.equal(tensor, learned[key]) for key, tensor in model.state_dict().items())


# The released layout by hand


def weight(t: dict[str, Tensor], name: str) -> Tensor:
    matrix = t[f"{name}.weight"].flatten(1)
    v = F.normalize(t[f"{name}.u0"] @ matrix)
    u = F.normalize(v @ matrix.T)
    return t[f"{name}.weight"] / (v @ matrix.T @ u.T).squeeze()


def conv(t: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    kernel = weight(t, name)
    return F.conv2d(x, kernel, t.get(f"{name}.bias"), padding=kernel.shape[-1] // 2)


def attention(t: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    theta = conv(t, f"{name}.theta", x).reshape(b, c // 8, h * w)
    phi = F.max_pool2d(conv(t, f"{name}.phi", x), 2).reshape(b, c // 8, h * w // 4)
    g = F.max_pool2d(conv(t, f"{name}.g", x), 2).reshape(b, c // 2, h * w // 4)
    shares = torch.einsum("bci,bcj->bij", theta, phi).softmax(2)
    found = torch.einsum("bcj,bij->bci", g, shares).reshape(b, c // 2, h, w)
    return x + t[f"{name}.gamma"] * conv(t, f"{name}.o", found)


def norm(t: dict[str, Tensor], name: str, x: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
    mean, var = t[f"{name}.stored_mean"], t[f"{name}.stored_var"]
    normalized = (x - mean[:, None, None]) / (var[:, None, None] + 1e-5).sqrt()
    return normalized * gain[..., None, None] + bias[..., None, None]


def conditional(t: dict[str, Tensor], name: str, x: Tensor, y: Tensor) -> Tensor:
    return norm(t, name, x, 1 + y @ weight(t, f"{name}.gain").T, y @ weight(t, f"{name}.bias").T)


def doubled(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def generator_by_hand(t: dict[str, Tensor], z: Tensor, y: Tensor, chunk: int, blocks: int) -> Tensor:
    h = z[:, :chunk] @ weight(t, "linear").T + t["linear.bias"]
    h = h.reshape(len(z), -1, 4, 4)
    for i in range(blocks):
        name, condition = f"blocks.{i}.0", torch.cat([y, z[:, (i + 1) * chunk : (i + 2) * chunk]], 1)
        inner = conv(t, f"{name}.conv1", doubled(conditional(t, f"{name}.bn1", h, condition).relu()))
        inner = conv(t, f"{name}.conv2", conditional(t, f"{name}.bn2", inner, condition).relu())
        h = inner + conv(t, f"{name}.conv_sc", doubled(h))
        if i == 3:
            h = attention(t, "blocks.3.1", h)
    h = norm(t, "output_layer.0", h, t["output_layer.0.gain"], t["output_layer.0.bias"]).relu()
    return conv(t, "output_layer.2", h).tanh()


def features_by_hand(t: dict[str, Tensor], x: Tensor, blocks: int, attends: int) -> list[Tensor]:
    h, found = x, []
    for i in range(blocks):
        name = f"blocks.{i}.0"
        inner = conv(t, f"{name}.conv1", h if i == 0 else h.relu()).relu()
        inner, short = conv(t, f"{name}.conv2", inner), h
        if f"{name}.conv_sc.weight" in t:
            short = F.avg_pool2d(conv(t, f"{name}.conv_sc", short), 2)
            inner = F.avg_pool2d(inner, 2)
        h = inner + short
        found.append(h)
        if i == attends:
            h = attention(t, f"blocks.{i}.1", h)
            found.append(h)
    found[-1] = found[-1].relu()  # the activation in place reaches into the list
    return [*found, found[-1].sum((2, 3))]


@pytest.mark.parametrize("resolution", [128, 256])
def test_generator_by_hand(resolution: int) -> None:
    model = scattered(generator(resolution))
    z = torch.randn(2, model.dim_z, dtype=torch.float64)
    y = model.shared(torch.tensor([2, 0]))
    with torch.no_grad():
        expected = generator_by_hand(model.state_dict(), z, y, 2, len(model.blocks))
        found = model(z, y)
    assert found.shape == (2, 3, resolution, resolution)
    assert expected.std() > 0.1
    torch.testing.assert_close(found, (expected + 1) / 2, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("resolution", "count"), [(128, 8), (256, 9)])
def test_discriminator_by_hand(resolution: int, count: int) -> None:
    model = scattered(BigGANDiscriminator(resolution=resolution, **TINY))
    t = model.state_dict()
    x = torch.rand(2, 3, resolution, resolution, dtype=torch.float64)
    classes = torch.tensor([1, 2])
    with torch.no_grad():
        expected = features_by_hand(t, 2 * x - 1, len(model.blocks), 0 if resolution == 128 else 1)
        found = model.features(x)
        logits = expected[-1] @ weight(t, "linear").T + t["linear.bias"]
        projected = (weight(t, "embed")[classes] * expected[-1]).sum(1, keepdim=True)
        torch.testing.assert_close(model(x), logits)
        torch.testing.assert_close(model(x, classes), logits + projected)
    assert len(found) == count
    for ours, other in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, other)


# What every network here promises


@pytest.mark.parametrize("resolution", [128, 256])
def test_tensors_tell_the_networks(resolution: int, tmp_path) -> None:
    for model in (generator(resolution), BigGANDiscriminator(resolution=resolution, **TINY)):
        released = {f"module.{key}": tensor for key, tensor in model.state_dict().items()}
        torch.save(released, tmp_path / "released.pth")
        loaded = load_checkpoint(tmp_path / "released.pth")
        assert type(loaded) is type(model)
        assert loaded.model_args == model.model_args
        spec, arguments, renamed = identify(model.state_dict())
        assert arguments == model.model_args
        again = build(spec.name, **json.loads(json.dumps(arguments)))
        again.load_state_dict(renamed, strict=True)
        save_checkpoint(model, tmp_path / "ours.safetensors")
        state = load_checkpoint(tmp_path / "ours.safetensors").state_dict()
        assert all(torch.equal(state[key], tensor) for key, tensor in model.state_dict().items())


def test_every_parameter_gets_a_gradient() -> None:
    model, judge = generator(), BigGANDiscriminator(**TINY)
    with torch.no_grad():
        model.blocks[3][1].gamma.fill_(0.5)
        judge.blocks[0][1].gamma.fill_(0.5)
    classes = torch.tensor([0, 1, 2])
    images = model(torch.randn(3, model.dim_z), model.shared(classes))
    assert images.min() >= 0
    assert images.max() <= 1
    judge(images, classes).sum().backward()
    for network in (model, judge):
        idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
        assert idle == []


def test_attention_starts_closed() -> None:
    layer = generator().blocks[3][1]
    x = torch.rand(1, 16, 8, 8)
    assert torch.equal(layer(x), x)


@pytest.mark.parametrize("cls", [BigGANGenerator, BigGANDiscriminator])
@pytest.mark.parametrize("wrong", [{"resolution": 64}, {"num_feat": 12}, {"num_feat": 0}])
def test_other_sizes_are_refused(cls, wrong: dict[str, int]) -> None:
    with pytest.raises(OptionsError):
        cls(**wrong)
