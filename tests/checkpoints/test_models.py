from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from torch import nn

from hfsr import __version__
from hfsr.checkpoints import (
    config_of,
    load_checkpoint,
    read_model_folder,
    save_checkpoint,
    write_model_folder,
)
from hfsr.errors import CheckpointError, HfsrWarning, OptionsError
from hfsr.model_zoo import create_model

from .conftest import same_images


def test_folder_round_trip(tmp_path, edsr) -> None:
    write_model_folder(edsr, tmp_path / "new" / "folder")
    again = read_model_folder(tmp_path / "new" / "folder")
    assert same_images(edsr, again)
    assert not again.training
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == [
        "config.json",
        "model.safetensors",
    ]


def test_folder_s_config(tmp_path) -> None:
    model = create_model("rcan_tiny", scale=4)
    write_model_folder(model, tmp_path, task="denoising")
    config = json.loads((tmp_path / "config.json").read_text())
    assert list(config) == ["architecture", "model_args", "scale", "task", "library", "hfsr_version"]
    assert config == json.loads(json.dumps(config_of(model, task="denoising")))
    assert config["architecture"] == "RCAN"
    assert config["model_args"]["upscale"] == 4
    assert (config["scale"], config["task"]) == (4, "denoising")
    assert (config["library"], config["hfsr_version"]) == ("hfsr", __version__)
    assert config_of(model)["task"] == "super-resolution"


def test_folder_is_bit_identical_in_another_process(tmp_path, edsr) -> None:
    write_model_folder(edsr, tmp_path)
    x = torch.rand(1, 3, 7, 9)
    with torch.no_grad():
        torch.save({"x": x, "y": edsr(x)}, tmp_path / "pair.pt")
    program = (
        "import sys, torch\n"
        "from hfsr.checkpoints import read_model_folder\n"
        "pair = torch.load(sys.argv[1] + '/pair.pt', weights_only=True)\n"
        "with torch.no_grad(): y = read_model_folder(sys.argv[1])(pair['x'])\n"
        "sys.exit(0 if torch.equal(y, pair['y']) else 1)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False).returncode == 0


def test_folder_replaces_an_older_model(tmp_path, edsr) -> None:
    write_model_folder(create_model("rcan_tiny"), tmp_path)
    write_model_folder(edsr, tmp_path)
    assert same_images(read_model_folder(tmp_path), edsr)


def test_dtype_of_a_folder_s_model(tmp_path, edsr) -> None:
    write_model_folder(edsr, tmp_path)
    model = read_model_folder(tmp_path, dtype=torch.bfloat16, device="cpu")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert model.shift.mean.dtype == torch.bfloat16


@pytest.mark.parametrize("place", ["folder", "file"])
def test_load_checkpoint_rebuilds_ours(tmp_path, refused, place: str) -> None:
    model = create_model("edsr_tiny", res_scale=0.3, scale=3).eval()
    write_model_folder(model, tmp_path)
    path = tmp_path if place == "folder" else tmp_path / "model.safetensors"
    again = load_checkpoint(path, arch="EDSR", scale=3)
    assert again.model_args == {**model.model_args, "rgb_mean": list(model.model_args["rgb_mean"])}
    assert same_images(model, again)
    with refused("holds the network EDSR, not RCAN"):
        load_checkpoint(path, arch="RCAN")
    with refused("enlarges by 3, not by 2"):
        load_checkpoint(path, scale=2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"config\.json' is not JSON"),
        ("[" * 100_000, r"config\.json' is not JSON"),
        ("[]", r"config\.json' holds a list instead of a JSON object"),
        ("{}", r"config\.json' does not state the network: it needs 'architecture' and 'model_args'"),
        ('{"architecture": 3, "model_args": {}}', "does not state the network"),
        ('{"architecture": "EDSR", "model_args": []}', "does not state the network"),
        (
            '{"architecture": "SwinIR", "model_args": {}}',
            r"names the architecture 'SwinIR', which hfsr does not know; known are .*EDSR.*register_arch",
        ),
        (
            '{"architecture": "EDSR", "model_args": {"num_blok": 2}}',
            r"EDSR cannot be built \(EDSR has no argument 'num_blok'; did you mean 'num_block'",
        ),
        ('{"architecture": "EDSR", "model_args": {"num_block": "two"}}', "'two' is of the wrong type"),
        ('{"architecture": "EDSR", "model_args": {"num_feat": -1}}', "EDSR cannot be built"),
        ('{"architecture": "EDSR", "model_args": {"upscale": 5}}', r"scale 5 is not supported"),
        (
            '{"architecture": "EDSR", "model_args": {"num_feat": 8, "upscale": 2}, "scale": 4}',
            "states scale 4, but its model_args build x2",
        ),
        (
            '{"architecture": "EDSR", "model_args": {"num_feat": 8, "num_block": 3, "upscale": 2}}',
            r"model\.safetensors' does not fit this EDSR: missing keys body\.2\.conv1\.weight",
        ),
    ],
)
def test_broken_config(tmp_path, refused, edsr, text: str, message: str) -> None:
    write_model_folder(edsr, tmp_path)
    (tmp_path / "config.json").write_text(text)
    with refused(message):
        read_model_folder(tmp_path)


def test_config_that_is_no_text(tmp_path, refused, edsr) -> None:
    write_model_folder(edsr, tmp_path)
    (tmp_path / "config.json").write_bytes(b"\xff\xfe\x00")
    with refused(r"cannot read '.*config\.json'"):
        read_model_folder(tmp_path)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_missing_file(tmp_path, refused, edsr, missing: str) -> None:
    write_model_folder(edsr, tmp_path)
    (tmp_path / missing).unlink()
    with refused(missing.replace(".", r"\.")):
        load_checkpoint(tmp_path)


def test_missing_folder(tmp_path, refused) -> None:
    with refused("is not a model folder"):
        read_model_folder(tmp_path / "gone")


def test_unregistered_network_is_not_written(tmp_path, refused) -> None:
    with refused("Linear is not a registered network: add it with hfsr.register_arch first"):
        write_model_folder(nn.Linear(1, 1), tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


def test_folder_that_cannot_be_made(tmp_path, refused, edsr) -> None:
    (tmp_path / "file").touch()
    with refused("cannot create the folder"):
        write_model_folder(edsr, tmp_path / "file" / "folder")


def test_file_of_another_kind_is_not_written(tmp_path, refused, edsr) -> None:
    with refused(r"must end in \.safetensors"):
        save_checkpoint(edsr, tmp_path / "net.pth")
    assert not list(tmp_path.iterdir())


def test_failing_to_write_keeps_what_was_there(tmp_path, monkeypatch, edsr) -> None:
    write_model_folder(edsr, tmp_path)

    def full_disk(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("hfsr.checkpoints.files.save_file", full_disk)
    with pytest.raises(CheckpointError, match=r"cannot be written \(no space left on device\)"):
        write_model_folder(create_model("rcan_tiny"), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    assert same_images(read_model_folder(tmp_path), edsr)


def test_a_network_of_one_channel_is_a_luma_network(tmp_path) -> None:
    net = create_model("rrdbnet_tiny", num_in_ch=1, num_out_ch=1).eval()
    torch.save({"params": net.state_dict()}, tmp_path / "gray_x4.pth")
    with pytest.warns(HfsrWarning, match="the weights are untrained"):
        model = load_checkpoint(tmp_path / "gray_x4.pth")
    gray, x = torch.rand(1, 1, 7, 9), torch.rand(1, 3, 7, 9)
    with torch.no_grad():
        assert torch.equal(model(gray), net(gray))
        assert model(x).shape == (1, 3, 28, 36)
    write_model_folder(model, tmp_path / "folder")
    assert same_images(read_model_folder(tmp_path / "folder"), net)


@pytest.mark.parametrize("channels", [(4, 4), (1, 3), (2, 2)])
def test_other_channels_are_refused(tmp_path, refused, channels: tuple[int, int]) -> None:
    net = create_model("rrdbnet_tiny", num_in_ch=channels[0], num_out_ch=channels[1])
    torch.save({"params": net.state_dict()}, tmp_path / "net_x4.pth")
    message = f"is a RRDBNet network from {channels[0]} to {channels[1]} channels; hfsr runs RGB"
    with refused(message):
        load_checkpoint(tmp_path / "net_x4.pth")
    write_model_folder(net, tmp_path / "folder")
    with refused(message):
        read_model_folder(tmp_path / "folder")


def test_a_scale_of_what_restores_no_image(tmp_path) -> None:
    save_checkpoint(create_model("drn_dual_tiny"), tmp_path / "dual.safetensors")
    with pytest.raises(OptionsError, match="DRNDual is a generator, which restores no image"):
        load_checkpoint(tmp_path / "dual.safetensors", scale=2)


@pytest.mark.parametrize("value", [None, "1", [1.0], True])
def test_an_argument_of_another_type_in_a_config_is_refused(tmp_path, value):
    write_model_folder(create_model("edsr_tiny"), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["model_args"]["res_scale"] = value
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"res_scale=.* is of the wrong type: EDSR takes a number"):
        read_model_folder(tmp_path)
