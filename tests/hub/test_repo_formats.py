"""`from_pretrained` for what others saved on the Hub: super-image, PyTorchModelHubMixin, bare checkpoints."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import Tensor, nn

from hfsr.checkpoints import choose_weights
from hfsr.errors import CheckpointError
from hfsr.hub.download.repo_formats import load_downloaded
from hfsr.model_zoo import create_model

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


SUPER_IMAGE = Path(__file__).parent / "super_image"
"""Networks with random weights as super-image 0.2.0 itself saved them, and what it made of `x()`."""


def saved_by_super_image(name: str, scale: int) -> tuple[dict[str, bytes], Tensor]:
    """The files of a repository of `eugenesiow/*`, and super-image's own output at a scale."""
    folder = SUPER_IMAGE / name
    files = [folder / "config.json", *folder.glob("pytorch_model_*.pt")]
    output = torch.from_numpy(np.load(folder / f"output_{scale}x.npy"))
    return {path.name: path.read_bytes() for path in files}, output


@pytest.mark.parametrize(("name", "scale"), [("edsr", 2), ("edsr", 4), ("a2n", 2)])
def test_what_super_image_saved_gives_its_output(
    hub: HubServer, stranger: Client, name: str, scale: int
) -> None:
    contents, expected = saved_by_super_image(name, scale)
    repo_id = f"eugenesiow/{name}"
    if repo_id not in hub.repos:
        hub.create(repo_id, contents=contents)
    with hub.recorded() as calls:
        made = stranger.ok(OUTPUT + "result = run(name, scale=s)", name=repo_id, s=scale)
    assert made[0] == scale
    assert torch.tensor(made[1]) == pytest.approx(expected.flatten(), abs=2e-6)
    assert expected.std() > 0.05
    configs = [call for call in calls if call.method == "GET" and call.path.endswith("/config.json")]
    assert len(configs) <= 1


def test_super_image_wants_a_scale_where_it_holds_several(hub: HubServer, stranger: Client) -> None:
    hub.create("eugenesiow/several", contents=saved_by_super_image("edsr", 2)[0])
    message = stranger.error("import hfsr\nhfsr.from_pretrained('eugenesiow/several')")
    assert "holds several weights: pytorch_model_2x.pt, pytorch_model_4x.pt; select one with" in message
    assert "several weights" in stranger.error("hfsr.from_pretrained('eugenesiow/several', scale=3)")


def test_super_image_networks_that_are_not_ours(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "pytorch_model_2x.pt")
    for config, told in (
        ({"model_type": "CARN"}, "'CARN' according to"),
        ({"model_type": "EDSR", "bam": True}, "'EDSR' with block attention"),
    ):
        with pytest.raises(CheckpointError, match=told):
            load_downloaded(tmp_path, "pytorch_model_2x.pt", config, 2)


MIXIN = """
import torch
from huggingface_hub import PyTorchModelHubMixin
from hfsr.archs.edsr import EDSR

class Published(EDSR, PyTorchModelHubMixin):
    def __init__(self, num_feat=64, num_block=16, upscale=4, res_scale=1.0, img_range=255.0):
        super().__init__(
            num_feat=num_feat, num_block=num_block, upscale=upscale, res_scale=res_scale, img_range=img_range
        )

torch.manual_seed(1)
model = Published(num_feat=8, num_block=2, upscale=2, res_scale=0.5, img_range=1.0).eval()
model.push_to_hub("org/by-mixin")
x = torch.linspace(0, 1, 3 * 7 * 9).reshape(1, 3, 7, 9)
with torch.no_grad():
    result = [model.scale, model(x).flatten().tolist()]
"""


def test_what_the_mixin_itself_pushed(hub: HubServer, publisher: Client, stranger: Client) -> None:
    """The client's own class saves; arguments that shapes do not show must arrive."""
    pushed = publisher.ok(MIXIN)
    assert stranger.ok(OUTPUT + "result = run('org/by-mixin')") == pushed


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
    assert choose_weights(names, {}, scale, source="'org/name'") == chosen


def test_several_files_that_nothing_tells_apart() -> None:
    with pytest.raises(CheckpointError, match=r"several weights: best.pth, last.pth; download one of them"):
        choose_weights(["best.pth", "last.pth"], {}, 2, source="'org/name'")
