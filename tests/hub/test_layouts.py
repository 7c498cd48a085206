"""`from_pretrained` for what others saved on the Hub: super-image, PyTorchModelHubMixin, bare checkpoints."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import Tensor, nn

from hfsr.errors import CheckpointError
from hfsr.hub.layouts import choose_weights, read_fetched
from hfsr.zoo import create_model

from .client import Client
from .server import HubServer

OUTPUT = """
import hfsr, torch
def run(name, **words):
    model = hfsr.from_pretrained(name, **words)
    x = torch.linspace(0, 1, 3 * 7 * 9).reshape(1, 3, 7, 9)
    with torch.no_grad():
        return [model.scale, model(x).flatten().tolist()]
"""


def x() -> Tensor:
    return torch.linspace(0, 1, 3 * 7 * 9).reshape(1, 3, 7, 9)


def output(model: nn.Module) -> list[Any]:
    with torch.no_grad():
        return [model.scale, model.eval()(x()).flatten().tolist()]


def pth(state_dict: dict[str, Tensor]) -> bytes:
    file = io.BytesIO()
    torch.save(state_dict, file)
    return file.getvalue()


def edsr_of_super_image(scale: int) -> tuple[nn.Module, dict[str, Tensor], dict[str, Any]]:
    """Our EDSR on [0, 1] without a mean; its tensors and config as super-image 0.2.0 writes them."""
    torch.manual_seed(scale)
    model = create_model(
        "edsr_tiny", upscale=scale, res_scale=0.1, img_range=1.0, rgb_mean=[0.0, 0.0, 0.0]
    ).eval()
    rules = {"conv_first": "head.0", "conv_after_body": "body.2", "upsample": "tail.0", "conv_last": "tail.1"}
    keys = {}
    for key, tensor in model.state_dict().items():
        first, _, rest = key.partition(".")
        rest = rest.replace("conv1", "body.0").replace("conv2", "body.2")
        keys[f"{rules.get(first, first)}.{rest}"] = tensor
    for name, sign in (("sub_mean", -1), ("add_mean", 1)):  # saved, and never called
        keys[f"{name}.weight"] = torch.eye(3).view(3, 3, 1, 1)
        keys[f"{name}.bias"] = sign * 255 * torch.tensor([0.4488, 0.4371, 0.404])
    config = {
        "data_parallel": False,
        "model_type": "EDSR",
        "n_colors": 3,
        "n_feats": 8,
        "n_resblocks": 2,
        "no_upsampling": False,
        "res_scale": 0.1,
        "rgb_range": 255,
        "scale": scale,
    }
    return model, keys, config


def test_super_image_by_scale(hub: HubServer, stranger: Client) -> None:
    models = {scale: edsr_of_super_image(scale) for scale in (2, 4)}
    contents = {f"pytorch_model_{scale}x.pt": pth(keys) for scale, (_, keys, _) in models.items()}
    contents["config.json"] = json.dumps(models[2][2]).encode()
    hub.create("eugenesiow/edsr-tiny", contents=contents)
    for scale, (model, _, _) in models.items():
        with hub.recorded() as calls:
            assert stranger.ok(OUTPUT + "result = run('eugenesiow/edsr-tiny', scale=s)", s=scale) == output(
                model
            )
        fetched = [call for call in calls if call.method == "GET" and call.path.endswith("/config.json")]
        assert len(fetched) == (1 if scale == 2 else 0)
    message = stranger.error("hfsr.from_pretrained('eugenesiow/edsr-tiny')")
    assert "holds several weights: pytorch_model_2x.pt, pytorch_model_4x.pt; say scale=" in message
    assert "several weights" in stranger.error("hfsr.from_pretrained('eugenesiow/edsr-tiny', scale=3)")


def test_super_image_a2n_keeps_its_range(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = create_model("a2n_tiny", img_range=1.0).eval()
    config = {"model_type": "A2N", "nf": 16, "unf": 8, "nb": 2, "scale": 2}
    torch.save(model.state_dict(), tmp_path / "pytorch_model_2x.pt")
    weights = choose_weights(["config.json", "pytorch_model_2x.pt"], config, None, repo_id="org/a2n")
    assert output(read_fetched(tmp_path, weights, config, None)) == output(model)


def test_super_image_networks_that_are_not_ours(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "pytorch_model_2x.pt")
    for config, told in (
        ({"model_type": "CARN"}, "'CARN', which is none"),
        ({"model_type": "EDSR", "bam": True}, "'EDSR' with block attention"),
    ):
        with pytest.raises(CheckpointError, match=told):
            read_fetched(tmp_path, "pytorch_model_2x.pt", config, 2)


def test_hub_mixin(hub: HubServer, stranger: Client) -> None:
    """The class's arguments in config.json; those that shapes do not show must arrive."""
    torch.manual_seed(1)
    words = {"num_feat": 8, "num_block": 2, "upscale": 2, "res_scale": 0.5, "img_range": 1.0}
    model = create_model("EDSR", **words)
    contents = {
        "config.json": json.dumps({**words, "not_ours": 1}).encode(),
        "model.safetensors": save(model.state_dict()),
    }
    hub.create("org/mixin", contents=contents)
    assert stranger.ok(OUTPUT + "result = run('org/mixin')") == output(model)
    assert "enlarges by 2, not by 3" in stranger.error("hfsr.from_pretrained('org/mixin', scale=3)")
    torch.manual_seed(2)
    words = {**words, "num_feat": 16}
    hub.create("org/mixed-up", contents={**contents, "config.json": json.dumps(words).encode()})
    assert "does not fit this EDSR" in stranger.error("hfsr.from_pretrained('org/mixed-up')")


@pytest.mark.parametrize("name", ["RealTiny_x2.pth", "nets/x2/best.safetensors"])
def test_one_bare_checkpoint(hub: HubServer, stranger: Client, name: str) -> None:
    torch.manual_seed(3)
    model = create_model("rcan_tiny")
    data = save(model.state_dict()) if name.endswith("s") else pth({"params_ema": model.state_dict()})
    repo_id = f"org/bare-{name[-3:]}"
    hub.create(repo_id, contents={name: data, "demo.png": b"picture"})
    ours = output(model)
    assert stranger.ok(OUTPUT + "result = run(name)", name=repo_id) == ours
    assert stranger.ok(OUTPUT + "result = run(name, local_files_only=True)", name=repo_id) == ours
    with hub.fault("*", "", "cut"):
        assert stranger.ok(OUTPUT + "result = run(name)", name=repo_id) == ours


def test_a_damaged_checkpoint_is_not_kept(hub: HubServer, stranger: Client) -> None:
    model = create_model("rcan_tiny")
    hub.create("org/damaged", contents={"rcan_x2.pth": pth(model.state_dict())})
    for kind, told in (("wrong", "arrived damaged"), ("short", "ended early")):
        with hub.fault("GET", "/objects/", kind):
            assert told in stranger.error("hfsr.from_pretrained('org/damaged')")
    assert stranger.ok(OUTPUT + "result = run('org/damaged')") == output(model)


@pytest.mark.parametrize(
    ("names", "scale", "chosen"),
    [
        (["a_x2.pth", "a_x4.pth"], 4, "a_x4.pth"),
        (["2x/a.pt", "4x/a.pt"], 2, "2x/a.pt"),
        (["a_x2.pth", "model.safetensors"], 4, "model.safetensors"),
        (["a_x16.pth"], 2, "a_x16.pth"),
    ],
)
def test_the_file_is_chosen_by_its_name(names: list[str], scale: int, chosen: str) -> None:
    assert choose_weights(names, {}, scale, repo_id="org/name") == chosen


def test_several_files_that_nothing_tells_apart() -> None:
    with pytest.raises(CheckpointError, match=r"several weights: best.pth, last.pth; download one of them"):
        choose_weights(["best.pth", "last.pth"], {}, 2, repo_id="org/name")
