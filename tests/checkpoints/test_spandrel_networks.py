"""Weights of families that are none of ours, read by spandrel and run under our contract."""

from __future__ import annotations

import builtins
import copy
import importlib
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import hfsr
from hfsr._compat import import_torchvision
from hfsr.archs import Bicubic, luma
from hfsr.checkpoints import load_run_checkpoint
from hfsr.checkpoints.spandrel_networks import ForeignNetwork
from hfsr.checkpoints.spandrel_value_check import check_values
from hfsr.cli import main
from hfsr.errors import HfsrWarning, MissingDependencyError, OptionsError, install_command
from hfsr.inference import Upscaler
from hfsr.registry import ARCHS

from .layouts import fresh, old_esrgan

if find_spec("spandrel") is None:
    pytest.skip("spandrel is not installed: it comes with hfsr[spandrel]", allow_module_level=True)

FAMILIES: dict[str, dict[str, Any]] = {
    "Compact": {"num_feat": 8, "num_conv": 3, "upscale": 4},
    "SwinIR": {
        "embed_dim": 12,
        "depths": [2],
        "num_heads": [2],
        "window_size": 8,
        "img_size": 64,
        "mlp_ratio": 2,
        "upsampler": "pixelshuffledirect",
        "upscale": 2,
    },
    "DnCNN": {"in_nc": 3, "out_nc": 3, "nc": 8, "nb": 17, "act_mode": "R"},
}
EXACT = ("Compact", "DnCNN")


def theirs(family: str, **arguments: Any) -> nn.Module:
    """A small network of a family with random weights."""
    import_torchvision()
    module = importlib.import_module(f"spandrel.architectures.{family}")
    return getattr(module, family)(**(arguments or FAMILIES[family])).eval()


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    def save(family: str, **arguments: Any) -> Path:
        path = tmp_path / f"{family.lower()}.pth"
        torch.save({"params": theirs(family, **arguments).state_dict()}, path)
        return path

    return save


def by_spandrel(path: Path, x: Tensor) -> Tensor:
    from spandrel import ModelLoader

    return ModelLoader().load_from_file(path)(x.clone())


@pytest.mark.parametrize("family", FAMILIES)
def test_images_are_those_of_spandrel(family: str, saved) -> None:
    path = saved(family)
    model = hfsr.from_pretrained(path)
    assert type(model) is ForeignNetwork
    assert not model.training
    assert model.model_args["architecture"] == family
    for size in ((24, 40), (21, 26), (9, 7)):
        x = torch.rand(1, 3, *size)
        kept = x.clone()
        with torch.no_grad():
            found = model(x)
        assert torch.equal(x, kept)
        assert found.shape == (1, 3, size[0] * model.scale, size[1] * model.scale)
        torch.testing.assert_close(found.clamp(0, 1), by_spandrel(path, x), rtol=0, atol=1e-5)


def test_images_of_a_batch_run_one_by_one(saved) -> None:
    """IPT cannot do otherwise: it cuts an image into parts that it takes for a batch."""
    model = hfsr.load_checkpoint(saved("DnCNN"))
    honest = model._call

    def single(network: nn.Module, x: Tensor) -> Tensor:
        if x.shape[0] != 1:
            raise RuntimeError("the size of tensor a (2) must match the size of tensor b (1)")
        return honest(network, x)

    model._call = single
    x = torch.rand(3, 3, 12, 17)
    with torch.no_grad():
        assert torch.equal(model(x), torch.cat([model(one) for one in x.split(1)]))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_single_px_has_a_image_too(family: str, saved) -> None:
    model = hfsr.load_checkpoint(saved(family))
    with torch.no_grad():
        assert model(torch.rand(1, 3, 1, 1)).shape == (1, 3, model.scale, model.scale)


@pytest.mark.parametrize("family", EXACT)
@pytest.mark.parametrize("tile", [16, 33])
def test_what_traces_is_exact_in_pieces(family: str, tile: int, saved) -> None:
    model = hfsr.load_checkpoint(saved(family))
    x = torch.rand(1, 3, 50, 61)
    up = Upscaler(model, tile=tile, dtype="fp32")
    with torch.no_grad():
        torch.testing.assert_close(up.tensor(x), model(x), rtol=0, atol=1e-5)
        apart = torch.cat([model(x[..., :30]), model(x[..., 30:])], 3)
    assert up.used_tile == tile
    assert (apart - model(x)).abs().max() > 1e-3


def test_the_rest_runs_in_tiles_that_say_so(saved) -> None:
    model = hfsr.load_checkpoint(saved("SwinIR"))
    x = torch.rand(1, 3, 48, 90)
    up = Upscaler(model, tile=32, dtype="fp32")
    with torch.no_grad():
        whole = model(x)
    found = up.tensor(x)
    assert up.used_tile == "windowed:32"
    assert up.summary.startswith("SwinIR (spandrel) x2, tile windowed:32")
    assert 0 < (found - whole).abs().mean() < 0.01 * whole.abs().max()
    plan = up.plan(400, 300)
    assert plan.parts.endswith("an approximation")
    assert plan.flops > 0
    assert torch.equal(Upscaler(model, dtype="fp32").tensor(x), whole)


def test_tiles_begin_on_the_grid_of_the_network(saved, monkeypatch) -> None:
    """A window transformer cuts what it sees from its first px on: elsewhere its windows would be others."""
    path = saved("DnCNN")
    model = hfsr.load_checkpoint(path)
    starts = set()
    monkeypatch.setattr("hfsr.inference.runner.is_exact", lambda _: False)
    object.__setattr__(model.spec, "size_multiple", lambda _: 8)
    up = Upscaler(model, tile=20, dtype="fp32")
    rows, columns = up._runner._overlapping.windows(type(up.result_size((1, 1)))(100, 130), 20)
    starts = {span.start for span in (*rows, *columns)}
    assert len(starts) > 4
    assert all(start % 8 == 0 for start in starts)


def test_a_network_that_tracing_would_break_is_left_whole() -> None:
    from hfsr.inference.program.tracing import is_exact

    class Keeper(nn.Module):
        scale, model_args = 1, {}

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)
            self.mean: Any = torch.zeros(1)

        def core(self, x: Tensor) -> Tensor:
            self.mean = x * 0
            return self.conv(x) + self.mean

        def forward(self, x: Tensor) -> Tensor:
            return self.core(x)

    class Chooser(Keeper):
        def core(self, x: Tensor) -> Tensor:
            return self.conv(x) * (1 if isinstance(x, Tensor) else 2)

    for kind in (Keeper, Chooser):
        model = kind().eval()
        assert not is_exact(model)
        assert model(torch.rand(1, 3, 4, 4)).shape == (1, 3, 4, 4)


def test_gray_networks_make_the_luma(tmp_path) -> None:
    net = theirs("DnCNN", in_nc=1, out_nc=1, nc=8, nb=17, act_mode="R")
    torch.save(net.state_dict(), tmp_path / "gray.pth")
    model = hfsr.load_checkpoint(tmp_path / "gray.pth")
    x = torch.rand(1, 3, 20, 24)
    with torch.no_grad():
        torch.testing.assert_close(luma(model(x)), net(luma(Bicubic(1)(x))), rtol=0, atol=1e-5)
        torch.testing.assert_close(Upscaler(model, tile=16).tensor(x), model(x), rtol=0, atol=1e-5)


def test_ours_come_first(tmp_path, edsr) -> None:
    torch.save(edsr.state_dict(), tmp_path / "net.pth")
    assert type(hfsr.from_pretrained(tmp_path / "net.pth")) is type(edsr)
    assert all(spec.cls is not ForeignNetwork for spec in ARCHS.values())


def test_nobody_s_tensors(tmp_path, refused) -> None:
    torch.save({"a.weight": torch.ones(3, 3)}, tmp_path / "net.pth")
    with refused(r"net\.pth': no registered network has these tensors \(a\.weight\), and no family"):
        hfsr.load_checkpoint(tmp_path / "net.pth")
    with refused("are not those of EDSR"):
        hfsr.load_checkpoint(tmp_path / "net.pth", arch="EDSR")


def test_what_restores_nothing_is_refused(monkeypatch, tmp_path, refused) -> None:
    import spandrel

    torch.save({"a.weight": torch.ones(3, 3)}, tmp_path / "net.pth")
    for purpose, channels, message in (
        ("FaceSR", 3, r"is a Thing network \(FaceSR\), which does not restore images by itself"),
        ("SR", 4, r"is a Thing network from 4 to 4 channels; hfsr runs RGB"),
    ):
        found = SimpleNamespace(
            architecture=SimpleNamespace(name="Thing"),
            purpose=purpose,
            input_channels=channels,
            output_channels=channels,
        )
        monkeypatch.setattr(spandrel, "MAIN_REGISTRY", SimpleNamespace(load=lambda _, found=found: found))
        with refused(message):
            hfsr.load_checkpoint(tmp_path / "net.pth")


def test_without_the_extra_it_says_what_to_install(saved, monkeypatch) -> None:
    path, real = saved("Compact"), builtins.__import__

    def without_spandrel(name, *args, **kwargs):
        if name.partition(".")[0] == "spandrel":
            raise ModuleNotFoundError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_spandrel)
    with pytest.raises(MissingDependencyError) as caught:
        hfsr.from_pretrained(path)
    assert str(caught.value).startswith(f"'{path}': no registered network has these tensors (body.0.weight")
    assert str(caught.value).endswith(f"run: {install_command('spandrel')}")
    assert "\n" not in str(caught.value)


def test_its_scale_is_its_own(saved, refused) -> None:
    assert hfsr.load_checkpoint(saved("Compact"), scale=4).scale == 4
    with refused("enlarges by 4, not by 2"):
        hfsr.from_pretrained(saved("Compact"), scale=2)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_folder_is_read_back_by_spandrel(family: str, saved, tmp_path) -> None:
    model = hfsr.load_checkpoint(saved(family))
    hfsr.save_pretrained(model, tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["architecture"] == f"spandrel/{family}"
    assert config["scale"] == model.scale
    again = hfsr.from_pretrained(tmp_path / "model")
    assert type(again) is ForeignNetwork
    assert again.model_args == model.model_args
    x = torch.rand(1, 3, 20, 24)
    with torch.no_grad():
        assert torch.equal(again(x), model(x))
        lone = hfsr.from_pretrained(tmp_path / "model" / "model.safetensors")
        assert torch.equal(lone(x), model(x))
    card = (tmp_path / "model" / "README.md").read_text()
    assert "pip install 'hfsr[spandrel]'" in card
    assert f"`{family}(" in card
    assert "hfsr's own implementation" not in card


def test_conversion_writes_a_model_folder(saved, tmp_path, capsys) -> None:
    assert main(["convert", str(saved("Compact")), str(tmp_path / "model")]) == 0
    assert "Compact (spandrel)" in capsys.readouterr().out
    assert hfsr.from_pretrained(tmp_path / "model").scale == 4


def test_a_model_folder_without_the_extra_says_what_it_holds(saved, monkeypatch, tmp_path) -> None:
    hfsr.save_pretrained(hfsr.load_checkpoint(saved("Compact")), tmp_path / "model")
    real = builtins.__import__

    def without_spandrel(name, *args, **kwargs):
        if name.partition(".")[0] == "spandrel":
            raise ModuleNotFoundError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_spandrel)
    with pytest.raises(MissingDependencyError, match="holds a Compact network, and running it needs"):
        hfsr.from_pretrained(tmp_path / "model")


def test_a_config_of_another_family_or_scale_is_refused(saved, tmp_path, refused) -> None:
    hfsr.save_pretrained(hfsr.load_checkpoint(saved("Compact")), tmp_path / "model")
    file = tmp_path / "model" / "config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps(config | {"architecture": "spandrel/SwinIR"}))
    with refused("states a SwinIR network, but its tensors are of"):
        hfsr.from_pretrained(tmp_path / "model")
    file.write_text(json.dumps(config | {"scale": 3}))
    with refused("states scale 3, but its weights are for x4"):
        hfsr.from_pretrained(tmp_path / "model")


def test_arguments_that_no_tensor_shows_are_kept(saved, tmp_path, refused) -> None:
    """SwinIR's range is in no tensor: an option file states it, and the folder remembers it."""
    arguments = {**FAMILIES["SwinIR"], "img_range": 255.0}
    path = saved("SwinIR", **arguments)
    model = load_run_checkpoint(path, "SwinIR", {**arguments, "in_chans": 3, "img_size": 16}, scale=2)
    hfsr.save_pretrained(model, tmp_path / "model")
    again = hfsr.from_pretrained(tmp_path / "model")
    net = theirs("SwinIR", **arguments)
    net.load_state_dict(model.network.state_dict())
    x = torch.rand(1, 3, 16, 24)
    with torch.no_grad():
        for found in (model, again):
            torch.testing.assert_close(found(x), net(x.clone()), rtol=0, atol=1e-6)
        assert not torch.allclose(hfsr.load_checkpoint(path)(x), net(x.clone()), atol=1e-3)
    with refused("the weights do not fit the network with embed_dim=24, img_range=255.0; check"):
        load_run_checkpoint(path, "SwinIR", {**arguments, "embed_dim": 24})


def test_the_tensors_of_a_registered_network_in_a_run_of_another_package(tmp_path) -> None:
    model = fresh("EDSR", num_feat=8, num_block=1, upscale=2, img_range=1.0)
    torch.save({"params": model.state_dict()}, tmp_path / "net_g_best.pth")
    found = load_run_checkpoint(
        tmp_path / "net_g_best.pth", "EDSR_basicsr", {"img_range": 1.0, "upscale": 2}, scale=2
    )
    assert type(found) is type(model)
    assert found.model_args["img_range"] == 1.0


@pytest.mark.parametrize(
    ("family", "kind", "told"),
    [("Compact", "local", "tiles of 24 px"), ("SwinIR", "windowed", "an approximation")],
)
def test_info_and_doctor(family: str, kind: str, told: str, saved, capsys) -> None:
    path = str(saved(family))
    assert main(["info", path, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["architecture"], facts["tiling"]) == (f"{family} (spandrel)", kind)
    assert facts["radius"] == (5 if family == "Compact" else 0)
    assert main(["info", path]) == 0
    assert "paper" not in capsys.readouterr().out
    assert main(["doctor", path, "--size", "48", "--tile", "24"]) == 0
    assert told in capsys.readouterr().out


def old_network() -> dict[str, Tensor]:
    """An ESRGAN of one enlargement in the layout before BasicSR: x2 and x3 have the same tensors."""
    model = fresh("RRDBNet", num_feat=64, num_block=1, num_grow_ch=32, scale=4)
    return old_esrgan(model.state_dict(), stages=1)


def enlarged_once(tensors: dict[str, Tensor], x: Tensor, factor: int) -> Tensor:
    """What an old ESRGAN makes, written out."""

    def conv(name: str, x: Tensor) -> Tensor:
        return F.conv2d(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"], padding=1)

    shallow = conv("model.0", x)
    trunk = shallow
    for m in (1, 2, 3):
        grown = [trunk]
        for i in range(1, 5):
            grown.append(F.leaky_relu(conv(f"model.1.sub.0.RDB{m}.conv{i}.0", torch.cat(grown, 1)), 0.2))
        trunk = trunk + 0.2 * conv(f"model.1.sub.0.RDB{m}.conv5.0", torch.cat(grown, 1))
    features = shallow + conv("model.1.sub.1", shallow + 0.2 * trunk)
    features = F.leaky_relu(conv("model.3", F.interpolate(features, scale_factor=factor)), 0.2)
    return conv("model.7", F.leaky_relu(conv("model.5", features), 0.2))


@pytest.mark.parametrize(
    ("name", "scale", "expected"),
    [
        ("3x_foo.pth", None, 3),
        ("foo_x3.pth", None, 3),
        ("2x_foo.pth", None, 2),
        ("foo.pth", 3, 3),
        ("foo.pth", 2, 2),
    ],
)
def test_one_enlargement_is_by_the_scale_asked_for_or_named(
    name: str, scale: int | None, expected: int, tmp_path
) -> None:
    tensors = old_network()
    torch.save(tensors, tmp_path / name)
    model = hfsr.load_checkpoint(tmp_path / name, scale=scale)
    x = torch.rand(1, 3, 9, 11)
    with torch.no_grad():
        right = enlarged_once(tensors, x, expected)
        assert right.shape == (1, 3, 9 * expected, 11 * expected)
        assert (model(x) - right).abs().max() < 1e-5 * (right.max() - right.min())


def test_a_scale_that_nothing_tells_is_a_guess_with_a_warning(tmp_path) -> None:
    torch.save(old_network(), tmp_path / "foo.pth")
    with pytest.warns(HfsrWarning, match=r"foo\.pth': read as x2, though x3 has the same tensors") as caught:
        assert hfsr.load_checkpoint(tmp_path / "foo.pth").scale == 2
    assert len(caught) == 1


def test_esrgan_plus_is_read_exactly(tmp_path) -> None:
    tensors = old_network()
    tensors |= {f"model.1.sub.0.RDB{m}.conv1x1.weight": torch.randn(32, 64, 1, 1) * 0.1 for m in (1, 2, 3)}
    torch.save(tensors, tmp_path / "2x_plus.pth")
    model = hfsr.load_checkpoint(tmp_path / "2x_plus.pth")

    def conv(name: str, x: Tensor) -> Tensor:
        weight = tensors[f"{name}.weight"]
        return F.conv2d(x, weight, tensors.get(f"{name}.bias"), padding=weight.shape[-1] // 2)

    x = torch.rand(1, 3, 7, 8)
    with torch.no_grad():
        shallow = conv("model.0", x)
        trunk = shallow
        for m in (1, 2, 3):
            block = f"model.1.sub.0.RDB{m}"
            grown = [trunk]
            for i in range(1, 5):
                made = F.leaky_relu(conv(f"{block}.conv{i}.0", torch.cat(grown, 1)), 0.2)
                if i == 2:
                    made = made + conv(f"{block}.conv1x1", trunk)
                if i == 4:
                    made = made + grown[2]
                grown.append(made)
            trunk = trunk + 0.2 * conv(f"{block}.conv5.0", torch.cat(grown, 1))
        features = shallow + conv("model.1.sub.1", shallow + 0.2 * trunk)
        features = F.leaky_relu(conv("model.3", F.interpolate(features, scale_factor=2)), 0.2)
        right = conv("model.7", F.leaky_relu(conv("model.5", features), 0.2))
        assert (model(x) - right).abs().max() < 1e-5 * (right.max() - right.min())


def test_tensors_that_would_be_dropped_are_refused(tmp_path, refused) -> None:
    """spandrel reads ESRGAN+ in the layout of BasicSR as ESRGAN, without what sets it apart."""
    model = fresh("RRDBNet", num_feat=64, num_block=1, num_grow_ch=32, scale=4)
    extra = {f"body.0.rdb{m}.conv1x1.weight": torch.randn(32, 64, 1, 1) for m in (1, 2, 3)}
    torch.save({**model.state_dict(), **extra}, tmp_path / "plus.pth")
    with refused(r"does not use: body\.0\.rdb1\.conv1x1\.weight, body\.0\.rdb2\.conv1x1\.weight"):
        hfsr.load_checkpoint(tmp_path / "plus.pth")


class Recomputing(nn.Module):
    """A convolution, an index, and a kernel that is merged from two branches."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.merged = nn.Module()
        self.merged.register_parameter("kernel", nn.Parameter(torch.ones(2, 2)))
        self.register_buffer("table", torch.ones(3), persistent=False)


def test_tensors_that_the_network_computes_are_noted(refused) -> None:
    network = Recomputing()
    conv = {f"conv.{name}": tensor.detach() for name, tensor in network.conv.named_parameters()}
    assert check_values(conv, network, source="'net.pth'") == ()
    assert (
        check_values({"other.name": conv["conv.weight"].half().float()}, _rounded(network), source="") == ()
    )
    derived = {"layer.attn_mask": torch.zeros(4), "layer.index": torch.arange(5), "table": torch.zeros(3)}
    (note,) = check_values({**conv, **derived}, network, source="'net.pth'")
    assert (
        note == "3 tensors follow from sizes and are computed: layer.attn_mask, layer.index, ... (3 in all)"
    )
    branches = {"merged.first.weight": torch.rand(2, 2), "merged.second.weight": torch.rand(2, 2)}
    (note,) = check_values({**conv, **branches}, network, source="'net.pth'")
    assert note.startswith("2 tensors are merged into other convolutions: merged.first.weight")
    with refused(r"^'net\.pth' holds tensors .* does not use: stray\.weight;"):
        check_values({**conv, "stray.weight": torch.rand(2, 2)}, network, source="'net.pth'")


def _rounded(network: nn.Module) -> nn.Module:
    return copy.deepcopy(network).half().float()


def test_arguments_of_other_families(saved) -> None:
    with pytest.raises(OptionsError, match="spandrel's Compact has no argument img_range; leave it out"):
        hfsr.load_checkpoint(saved("Compact"), model_args={"img_range": 1})
    path = saved("SwinIR")
    model = hfsr.load_checkpoint(path, model_args={"img_range": 255.0})
    x = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        assert not torch.allclose(model(x), hfsr.load_checkpoint(path)(x))


@pytest.mark.parametrize("rgb_range", [1, 255])
@pytest.mark.parametrize("scale", [1, 2])
def test_mean_layers_tell_the_range(tmp_path, rgb_range: int, scale: int) -> None:
    """spandrel's RCAN folds its input, which ours does not, and takes any mean layers for those of 255."""
    arguments = {"n_resgroups": 1, "n_resblocks": 1, "n_feats": 16, "unshuffle_mod": True}
    network = theirs("RCAN", **arguments, scale=scale, rgb_range=rgb_range)
    torch.save(network.state_dict(), tmp_path / "net.pth")
    x = torch.rand(1, 3, 8, 12)
    with torch.no_grad():
        found = hfsr.load_checkpoint(tmp_path / "net.pth")(x)
        torch.testing.assert_close(found, network(x.clone()), rtol=0, atol=1e-5)


def test_the_noise_level_is_stated_or_announced(tmp_path, saved) -> None:
    path = saved("DnCNN", in_nc=4, out_nc=3, nc=8, nb=17, act_mode="R", mode="FDnCNN")
    network = theirs("DnCNN", in_nc=4, out_nc=3, nc=8, nb=17, act_mode="R", mode="FDnCNN")
    network.load_state_dict(torch.load(path)["params"])
    x = torch.rand(1, 3, 8, 12)

    def expected(level: float) -> Tensor:
        return network(torch.cat([x, torch.full_like(x[:, :1], level / 255)], 1))

    with torch.no_grad():
        with pytest.warns(HfsrWarning, match="takes the noise level as input: 15 of 255 is assumed"):
            assumed = hfsr.load_checkpoint(path)
        assert torch.equal(assumed(x), expected(15))
        stated = hfsr.load_checkpoint(path, model_args={"noise_level": 40})
        assert torch.equal(stated(x), expected(40))
        hfsr.save_pretrained(stated, tmp_path / "folder")
        assert torch.equal(hfsr.from_pretrained(tmp_path / "folder")(x), expected(40))
    with pytest.raises(OptionsError, match="noise_level 300 is not allowed; give a number from 0 to 255"):
        hfsr.load_checkpoint(path, model_args={"noise_level": 300})


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        (("features.0.weight", "features.28.weight", "classifier.0.weight"), "a VGG network"),
        (("conv1.weight", "layer1.0.conv1.weight", "layer4.0.conv1.weight", "fc.weight"), "a ResNet class"),
        (("conv0.weight", "conv1.weight_orig", "conv9.weight"), "a U-Net discriminator"),
        (("unet.down.0.lora_up.weight", "unet.down.0.lora_down.weight"), "a LoRA"),
    ],
)
def test_other_networks_are_named(tmp_path, refused, keys, kind) -> None:
    torch.save({key: torch.ones(3, 3) for key in keys}, tmp_path / "net.pth")
    with refused(rf"net\.pth' holds {kind}.*, which does not restore images by itself"):
        hfsr.load_checkpoint(tmp_path / "net.pth")
