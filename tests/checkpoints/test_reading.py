"""How a bare checkpoint is read: evidence first, then a check with flat images, and what the user states."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import hfsr
from hfsr.checkpoints import config_of, load_checkpoint
from hfsr.checkpoints.file_evidence import named_scale, scales_in_name
from hfsr.checkpoints.restoration_check import UNFIT, flat_error
from hfsr.errors import HfsrWarning, OptionsError

from . import layouts
from .layouts import EDSR, MDSR, NO_MEAN, RCAN, difference, fresh, mean_layers

EXACT = 1e-5
PA_EDSR = {"num_feat": 16, "num_block": 2, "reduction": 4, "upscale": 2}
OFFICIAL: dict[str, tuple[dict[str, Any], Callable[[nn.Module], dict[str, Tensor]]]] = {
    "EDSR": (EDSR, layouts.official_edsr),
    "RCAN": (RCAN, layouts.official_rcan),
    "MDSR": (MDSR, layouts.official_mdsr),
    "PAEDSR": (PA_EDSR, layouts.official_pa_edsr),
}


def read(tensors: Any, path: Path, **told: Any) -> nn.Module:
    torch.save(tensors, path)
    return load_checkpoint(path, **told)


@pytest.mark.parametrize("wrap", [lambda tensors: tensors, lambda tensors: {"params": tensors}])
@pytest.mark.parametrize("name", OFFICIAL)
def test_the_official_layout_without_mean_layers_works_on_the_unit_range(
    name: str, wrap: Callable[[Any], Any], tmp_path: Path
) -> None:
    arguments, official = OFFICIAL[name]
    model = fresh(name, **arguments, img_range=1.0, rgb_mean=NO_MEAN)
    found = read(wrap(official(model)), tmp_path / "2x_model.pth", scale=2)
    assert difference(found, model) < EXACT
    assert "without sub_mean and add_mean" in vars(found)["evidence"]["img_range"]
    wrong = fresh(name, **arguments, img_range=255.0)
    assert difference(wrong, model) > 0.01


@pytest.mark.parametrize("name", ["EDSR", "RCAN"])
def test_the_layout_of_basicsr_keeps_the_released_range(name: str, tmp_path: Path) -> None:
    model = fresh(name, **OFFICIAL[name][0])
    assert difference(read({"params": model.state_dict()}, tmp_path / "net_g.pth"), model) < EXACT


@pytest.mark.parametrize("img_range", [1.0, 255.0])
@pytest.mark.parametrize("name", OFFICIAL)
def test_mean_layers_tell_the_range(name: str, img_range: float, tmp_path: Path) -> None:
    arguments, official = OFFICIAL[name]
    model = fresh(name, **arguments, img_range=img_range)
    found = read({**official(model), **mean_layers(img_range)}, tmp_path / "model_best.pt", scale=2)
    assert difference(found, model) < EXACT
    assert vars(found)["model_args"]["img_range"] == img_range
    assert vars(found)["evidence"]["img_range"] == f"{img_range:g}: its mean layers"


@pytest.mark.parametrize("img_range", [1.0, 255.0])
def test_drifted_mean_layers_tell_the_range_too(img_range: float, tmp_path: Path) -> None:
    model = fresh("EDSR", **EDSR, img_range=img_range)
    layers = mean_layers(img_range, drift=0.01)
    found = read({**layouts.official_edsr(model), **layers}, tmp_path / "model.pt")

    def through(name: str, x: Tensor) -> Tensor:
        weight, bias = layers[f"{name}.weight"], layers[f"{name}.bias"]
        return nn.functional.conv2d(x, weight, bias)

    def right(x: Tensor) -> Tensor:
        shallow = model.conv_first(through("sub_mean", x * img_range))
        deep = model.conv_after_body(model.body(shallow)) + shallow
        return through("add_mean", model.conv_last(model.upsample(deep))) / img_range

    assert difference(found, right) < EXACT
    assert difference(found, model) > 1e-3


@pytest.mark.parametrize("name", ["drn_tiny", "metardn_tiny"])
@pytest.mark.parametrize("img_range", [1.0, 255.0])
def test_mean_layers_that_stay_layers_tell_the_range(name: str, img_range: float, tmp_path: Path) -> None:
    model = fresh(name, img_range=img_range)
    found = read({f"module.{k}": t for k, t in model.state_dict().items()}, tmp_path / "model.pt")
    assert difference(found, model) < EXACT
    assert vars(found)["model_args"]["img_range"] == img_range


@pytest.mark.parametrize("name", ["EDSR", "RCAN"])
def test_mean_layers_that_subtract_nothing(name: str, tmp_path: Path) -> None:
    arguments, official = OFFICIAL[name]
    model = fresh(name, **arguments, img_range=1.0, rgb_mean=NO_MEAN)
    neutral = {key: torch.zeros_like(t) if "bias" in key else t for key, t in mean_layers(1.0).items()}
    found = read({**official(model), **neutral}, tmp_path / "net.pth")
    assert difference(found, model) < EXACT
    assert "its sub_mean subtracts nothing" in vars(found)["evidence"]["img_range"]


def test_mean_layers_of_another_range(tmp_path: Path) -> None:
    model = fresh("RCAN", **RCAN, img_range=65535.0)
    found = read({**layouts.official_rcan(model), **mean_layers(65535.0)}, tmp_path / "net.pth")
    assert vars(found)["model_args"]["img_range"] == 65535.0
    assert difference(found, model) < EXACT


def test_a_port_of_rdn_with_mean_layers(tmp_path: Path) -> None:
    for img_range in (1.0, 255.0):
        model = fresh("rdn_tiny", img_range=img_range, rgb_mean=layouts.MEAN.tolist())
        found = read({**model.state_dict(), **mean_layers(img_range)}, tmp_path / "rdn.pt")
        assert difference(found, model) < EXACT


# super-image


def super_image(folder: Path, tensors: Any, config: dict[str, Any], scale: int = 2) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"pytorch_model_{scale}x.pt"
    torch.save(tensors, path)
    (folder / "config.json").write_text(json.dumps(config))
    return path


def super_image_edsr(img_range: float = 1.0) -> tuple[nn.Module, dict[str, Tensor], dict[str, Any]]:
    model = fresh("EDSR", **EDSR, img_range=img_range, rgb_mean=NO_MEAN, res_scale=0.5)
    config = {"model_type": "EDSR", "n_resblocks": 2, "n_feats": 16, "res_scale": 0.5, "rgb_range": 255}
    return model, {**layouts.official_edsr(model), **mean_layers(255, drift=0.01)}, config


def test_a_file_of_super_image_is_read_by_its_config(tmp_path: Path) -> None:
    model = fresh("A2N", num_feat=8, num_block=2, num_feat_up=8, upscale=2, img_range=1.0)
    path = super_image(tmp_path / "a2n", model.state_dict(), {"model_type": "A2N", "scale": None})
    assert difference(load_checkpoint(path), model) < EXACT
    assert difference(hfsr.from_pretrained(path, scale=2), model) < EXACT
    assert difference(hfsr.from_pretrained(tmp_path / "a2n"), model) < EXACT


def test_mean_layers_that_super_image_never_calls_are_left_out(tmp_path: Path) -> None:
    model, tensors, config = super_image_edsr()
    path = super_image(tmp_path / "edsr", tensors, config)
    for found in (load_checkpoint(path), load_checkpoint(path.parent), hfsr.from_pretrained(path.parent)):
        assert difference(found, model) < EXACT
        assert "super-image" in vars(found)["evidence"]["img_range"]


def test_a_folder_of_several_scales_asks_which(tmp_path: Path, refused) -> None:
    model, tensors, config = super_image_edsr()
    super_image(tmp_path, tensors, config)
    super_image(tmp_path, tensors, config, scale=4)
    with refused(r"several weights: pytorch_model_2x\.pt, pytorch_model_4x\.pt; select one with scale="):
        load_checkpoint(tmp_path)
    assert difference(load_checkpoint(tmp_path, scale=2), model) < EXACT


def test_a_model_type_without_a_rule_is_refused_on_disk_too(tmp_path: Path, refused) -> None:
    _, tensors, _ = super_image_edsr()
    for config, told in (
        ({"model_type": "CARN"}, "'CARN' according to"),
        ({"model_type": "EDSR", "bam": True}, "'EDSR' with block attention"),
        ({"model_type": "A2N"}, r"EDSR, but its config\.json states 'A2N'"),
    ):
        path = super_image(tmp_path / "net", tensors, config)
        for name in (path, path.parent):
            with refused(told):
                load_checkpoint(name)


def test_a_config_that_does_not_belong_to_the_file_is_left_alone(tmp_path: Path) -> None:
    model = fresh("EDSR", **EDSR)
    (tmp_path / "config.json").write_text('{"img_range": 1, "learning_rate": 0.1}')
    assert difference(read(model.state_dict(), tmp_path / "mine.pth"), model) < EXACT
    (tmp_path / "config.json").write_text("not JSON")
    assert difference(read(model.state_dict(), tmp_path / "mine.pth"), model) < EXACT


def test_the_config_of_another_file_in_the_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "EDSR"}))
    model = fresh("A2N", num_feat=8, num_block=2, num_feat_up=8, upscale=2)
    assert difference(read(model.state_dict(), tmp_path / "a2n_x2.pth"), model) < EXACT
    with pytest.raises(hfsr.HfsrError, match=r"holds the network A2N, but its config\.json states 'EDSR'"):
        read(model.state_dict(), tmp_path / "pytorch_model_2x.pt")


def test_a_config_of_the_same_network_is_named_if_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "EDSR", "n_resblocks": 2}))
    arguments, official = OFFICIAL["EDSR"]
    model = fresh("EDSR", **arguments, img_range=1.0)
    with pytest.warns(HfsrWarning, match=r"without the config\.json next to it, which super-image wrote"):
        found = read({**official(model), **mean_layers(1)}, tmp_path / "model_best.pt")
    assert difference(found, model) < EXACT


def test_a_config_that_belongs_to_the_file_must_be_readable(tmp_path: Path, refused) -> None:
    (tmp_path / "config.json").write_text("not JSON")
    with refused(r"the config next to '.*pytorch_model\.pt' cannot be read"):
        read(fresh("EDSR", **EDSR).state_dict(), tmp_path / "pytorch_model.pt")


# DBPN


def test_files_of_the_pirm_challenge_are_normalized(tmp_path: Path) -> None:
    model = fresh("DBPN", num_feat=8, num_base=4, num_stage=10, upscale=4)

    def constant(*values: float) -> Tensor:
        return torch.tensor(values).view(1, 3, 1, 1)

    def right(x: Tensor) -> Tensor:
        result = model((x - constant(0.485, 0.456, 0.406)) / constant(0.229, 0.224, 0.225))
        return (result - constant(-2.118, -2.036, -1.804)) / constant(4.367, 4.464, 4.444)

    tensors = {f"module.{key}": tensor for key, tensor in model.state_dict().items()}
    found = read(tensors, tmp_path / "PIRM2018_region2.pth")
    assert difference(found, right) < EXACT
    assert "PIRM 2018" in vars(found)["evidence"]["normalized"]
    assert difference(read(tensors, tmp_path / "DBPNLL_x4.pth"), model) < EXACT


def residual_dbpn() -> nn.Module:
    """As trained: the network adds little to the bicubic image."""
    model = fresh("DBPN", num_feat=8, num_base=4, num_stage=3, upscale=4, residual=True)
    with torch.no_grad():
        for parameter in model.output_conv.parameters():
            parameter.mul_(1e-3)
    return model


def test_synthetic_images_tell_the_residual_form_of_dbpn(tmp_path: Path) -> None:
    model = residual_dbpn()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read(model.state_dict(), tmp_path / "DBPN_x4.pth")
    assert difference(found, model) < EXACT
    assert vars(found)["evidence"]["residual"].startswith("true: test images are restored with it")


# the check with synthetic images


@pytest.mark.parametrize("rgb_mean", [NO_MEAN, tuple(layouts.MEAN.tolist())], ids=["no mean", "mean"])
@pytest.mark.parametrize("img_range", [1.0, 255.0])
def test_synthetic_images_choose_the_range_and_the_mean(
    img_range: float, rgb_mean: tuple[float, ...], tmp_path: Path
) -> None:
    """Weights that return flat images in one range only."""
    model = layouts.keep_flat(fresh("EDSR", **EDSR, img_range=img_range, rgb_mean=rgb_mean))
    assert flat_error(model) < 0.0002
    for other in ({"img_range": 256.0 - img_range}, {"rgb_mean": [0.4488 - mean for mean in rgb_mean]}):
        wrong = load_checkpoint(_saved(model, tmp_path / "set.pth"), model_args={**other, "res_scale": 1.0})
        assert flat_error(wrong) > UNFIT
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = load_checkpoint(_saved(model, tmp_path / "net_g.pth"))
    assert vars(found)["model_args"]["img_range"] == img_range
    assert vars(found)["model_args"]["rgb_mean"] == pytest.approx(rgb_mean)


def _saved(model: nn.Module, path: Path) -> Path:
    torch.save({"params": model.state_dict()}, path)
    return path


def test_weights_that_nothing_explains_are_read_as_released_with_a_warning(tmp_path: Path) -> None:
    model = fresh("EDSR", **EDSR)
    path = _saved(model, tmp_path / "net_g.pth")
    pattern = (
        r"net_g\.pth': images of one color .*--set img_range=1, --set res_scale=0.1, --set rgb_mean=0,0,0"
    )
    with pytest.warns(HfsrWarning, match=pattern) as caught:
        found = load_checkpoint(path)
    assert len(caught) == 1
    assert "\n" not in str(caught[0].message)
    assert difference(found, model) < EXACT


def test_models_of_ours_are_not_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: nn.Module) -> float:
        raise AssertionError("a model that states its arguments needs no check")

    monkeypatch.setattr("hfsr.checkpoints.reading.flat_error", refuse)
    model = fresh("EDSR", **EDSR)
    hfsr.save_pretrained(model, tmp_path / "model")
    assert difference(hfsr.from_pretrained(tmp_path / "model"), model) < EXACT
    assert difference(load_checkpoint(tmp_path / "model" / "model.safetensors"), model) < EXACT
    with pytest.raises(AssertionError, match="needs no check"):
        load_checkpoint(_saved(model, tmp_path / "net.pth"))


@pytest.mark.parametrize("preset", ["mirnet_tiny", "panet_tiny", "drn_dual_tiny", "vgg16_minc_tiny"])
def test_networks_that_need_not_keep_flat_images_are_not_checked(preset: str, tmp_path: Path) -> None:
    if preset not in hfsr.list_models(pretrained=False):
        pytest.skip(f"no preset {preset}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_checkpoint(_saved(fresh(preset), tmp_path / "net.pth"))


def test_a_stated_task_decides_whether_flat_images_are_kept(tmp_path: Path) -> None:
    path = _saved(fresh("mirnet_tiny"), tmp_path / "net.pth")
    with pytest.warns(HfsrWarning, match="images of one color"):
        load_checkpoint(path, task="denoising")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_checkpoint(path, task="enhancement")


@pytest.mark.parametrize("name", ["hfsr-x2-small", "hfsr-denoise"])
def test_bundled_models_keep_flat_images(name: str) -> None:
    assert flat_error(hfsr.from_pretrained(name)) < UNFIT / 4


def test_the_check_leaves_the_network_as_it_was() -> None:
    model = fresh("dbpn_tiny")
    x = torch.rand(1, 3, 9, 11)
    with torch.no_grad():
        before = model(x)
        flat_error(model)
        assert torch.equal(model(x), before)


# what the user states


@pytest.mark.parametrize(
    "told", [{"img_range": 1}, {"rgb_mean": [0.5, 0.4, 0.3]}, {"res_scale": 0.1}, {"img_range": 1.0}], ids=str
)
def test_arguments_that_no_tensor_shows_can_be_stated(told: dict[str, Any], tmp_path: Path) -> None:
    model = fresh("EDSR", **EDSR, **told)
    path = _saved(model, tmp_path / "net_g.pth")
    found = load_checkpoint(path, model_args=told)
    assert difference(found, model) < EXACT
    assert difference(hfsr.from_pretrained(path, model_args=told), model) < EXACT
    assert difference(load_checkpoint(path), model) > 1e-3
    (name,) = told
    assert config_of(found)["evidence"][name].endswith(": as stated")
    hfsr.save_pretrained(found, tmp_path / "model")
    again = hfsr.from_pretrained(tmp_path / "model")
    assert difference(again, model) < EXACT
    assert config_of(again)["evidence"] == config_of(found)["evidence"]


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"img_rnge": 1}, "EDSR has no argument 'img_rnge'; did you mean 'img_range'"),
        ({"img_range": "wide"}, "img_range='wide' is of the wrong type: EDSR takes a number"),
        ({"num_block": True}, "num_block=True is of the wrong type: EDSR takes an integer"),
        ({"rgb_mean": 0.5}, "rgb_mean=0.5 is of the wrong type: EDSR takes a list of numbers"),
        ({"num_block": 3}, "num_block=3 contradicts its tensors, which show 2"),
        ({"upscale": 4}, "upscale=4 contradicts its tensors, which show 2"),
    ],
)
def test_what_cannot_be_stated(told: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = _saved(fresh("EDSR", **EDSR), tmp_path / "net.pth")
    with pytest.raises(OptionsError) as caught:
        load_checkpoint(path, model_args=told)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_range_against_the_mean_layers_is_refused(tmp_path: Path) -> None:
    tensors = {**layouts.official_edsr(fresh("EDSR", **EDSR)), **mean_layers(255)}
    with pytest.raises(OptionsError, match=r"img_range=1 contradicts its tensors, which show 255\.0"):
        read(tensors, tmp_path / "edsr.pt", model_args={"img_range": 1})


@pytest.mark.parametrize(
    ("name", "scales"),
    [
        ("rcan_x2.pth", {2}),
        ("EDSR_Mx3_f64b16.pth", {3}),
        ("2x_a2n.pth", {2}),
        ("4x-UltraSharp.pth", {4}),
        ("nets/x2/model.pth", {2}),
        ("pytorch_model_3x.pt", {3}),
        ("RealESRGAN_x4plus.pth", {4}),
        ("fsrcnn_56x12x4.pth", set()),
        ("crop_128x128.pth", set()),
        ("a_x16.pth", set()),
    ],
)
def test_scales_in_names(name: str, scales: set[int]) -> None:
    assert scales_in_name(name) == scales


def test_the_first_name_that_tells_a_scale_decides() -> None:
    assert named_scale((2, 3, 4), ("best.pth", "org/edsr-x3")) == 3
    assert named_scale((2, 3, 4), ("best_x2.pth", "org/edsr-x3")) == 2
    assert named_scale((2, 3, 4), ("x2_to_x3.pth", "org/edsr-x3")) is None


def test_sizes_in_a_name_are_no_scale(tmp_path: Path, refused) -> None:
    with refused("show the scale"):
        read(fresh("FSRCNN", upscale=2).state_dict(), tmp_path / "fsrcnn_56x12x4.pth")
    model = fresh("A2N", num_feat=8, num_block=2, num_feat_up=8, upscale=2)
    assert difference(read(model.state_dict(), tmp_path / "2x_a2n.pth"), model) < EXACT


# Layouts of other trainers


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_mmagic_s_edsr_works_on_the_unit_range(scale: int, tmp_path: Path) -> None:
    model = fresh("EDSR", **{**EDSR, "upscale": scale}, img_range=1.0)
    companions = {"step_counter": torch.zeros(1), "data_preprocessor.mean": torch.zeros(3, 1, 1)}
    tensors = layouts.mmagic_edsr(model) | companions
    assert difference(read({"state_dict": tensors, "meta": {}}, tmp_path / "edsr.pth"), model) == 0


@pytest.mark.parametrize("scale", [2, 4])
def test_torchsr_s_rdn_works_on_the_unit_range(scale: int, tmp_path: Path) -> None:
    model = fresh("rdn_tiny", upscale=scale, img_range=1.0)
    assert difference(read(layouts.torchsr_rdn(model), tmp_path / "rdn.pt"), model) == 0


def test_a_network_of_one_channel_subtracts_no_mean(tmp_path: Path) -> None:
    one = {"num_in_ch": 1, "num_out_ch": 1, "img_range": 1.0, "rgb_mean": [0.0]}
    model = fresh("EDSR", **EDSR, **one)
    found = read({"params": model.state_dict()}, tmp_path / "gray.pth")
    assert found.model_args["rgb_mean"] == [0.0]
    assert difference(found, model) == 0


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_mmagic_s_msrresnet_in_its_trainer(scale: int, tmp_path: Path) -> None:
    model = fresh("MSRResNet", num_feat=8, num_block=2, upscale=scale, upsample_activation=False)
    tensors = layouts.mmagic_msrresnet(model)
    tensors |= {key.replace("generator", "generator_ema"): tensor for key, tensor in tensors.items()}
    tensors |= {"discriminator.conv.weight": torch.ones(2)}
    assert difference(read({"state_dict": tensors}, tmp_path / "srresnet.pth"), model) == 0
