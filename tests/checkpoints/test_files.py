from __future__ import annotations

import json
import os
import pickle

import pytest
import torch
from safetensors.torch import save_file

from hfsr.checkpoints import load_checkpoint, read_state_dict, save_checkpoint
from hfsr.errors import CheckpointError

TENSORS = {"conv.weight": torch.arange(6.0).view(2, 3), "conv.bias": torch.ones(2)}
OTHER = {"conv.weight": torch.zeros(2, 3), "conv.bias": torch.zeros(2)}


def assert_read(path, weights: str | None) -> None:
    tensors, metadata = read_state_dict(path)
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[key], TENSORS[key]) for key in TENSORS)
    assert (metadata["weights"], metadata["config"]) == (weights, None)


@pytest.mark.parametrize(
    ("content", "weights"),
    [
        (TENSORS, None),
        ({"params": TENSORS}, "params"),
        ({"params": OTHER, "params_ema": TENSORS}, "params_ema"),
        ({"state_dict": TENSORS, "epoch": 3}, "state_dict"),
        ({"model": TENSORS, "optimizer": {"lr": 1e-4}}, "model"),
        ({"model": {"state_dict": TENSORS}}, "model.state_dict"),
        ({f"module.{key}": value for key, value in TENSORS.items()}, None),
        ({"params": {f"module._orig_mod.{key}": value for key, value in TENSORS.items()}}, "params"),
    ],
    ids=["bare", "params", "ema", "state_dict", "model", "nested", "parallel", "compiled"],
)
@pytest.mark.parametrize("suffix", [".pth", ".pt"])
def test_wrappers_and_prefixes(tmp_path, content, weights, suffix: str) -> None:
    torch.save(content, tmp_path / f"net{suffix}")
    assert_read(tmp_path / f"net{suffix}", weights)


def test_older_format_of_torch(tmp_path) -> None:
    torch.save({"params": TENSORS}, tmp_path / "net.pth", _use_new_zipfile_serialization=False)
    assert_read(tmp_path / "net.pth", "params")


def test_safetensors_of_others(tmp_path) -> None:
    save_file(TENSORS, tmp_path / "net.safetensors", metadata={"format": "pt", "config": "not ours"})
    assert_read(tmp_path / "net.safetensors", None)


def test_a_prefix_that_only_some_keys_have_stays(tmp_path) -> None:
    torch.save({"module.a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "net.pth")
    assert list(read_state_dict(tmp_path / "net.pth")[0]) == ["module.a", "b"]


def test_config_beside_the_weights_of_a_training(tmp_path, edsr) -> None:
    config = {"architecture": "EDSR", "model_args": {**edsr.model_args, "res_scale": 0.3}}
    torch.save({"params": edsr.state_dict(), "config": config}, tmp_path / "net.pth")
    assert read_state_dict(tmp_path / "net.pth")[1]["config"] == config
    assert load_checkpoint(tmp_path / "net.pth").model_args["res_scale"] == 0.3


def test_no_such_file(tmp_path, refused) -> None:
    with refused(r"there is no checkpoint file '.*gone\.pth'"):
        load_checkpoint(tmp_path / "gone.pth")


def test_another_kind_of_file(tmp_path, refused) -> None:
    (tmp_path / "photo.png").write_bytes(b"\x89PNG")
    with refused(r"is not a checkpoint: hfsr reads \.safetensors, \.pth, \.pt, \.mat, its own \.onnx files"):
        load_checkpoint(tmp_path / "photo.png")


@pytest.mark.parametrize(
    "content",
    [b"", b"this is a text, not a checkpoint\n" * 50, b"PK\x03\x04" + bytes(100), b"\x80\x02}", bytes(1000)],
    ids=["empty", "text", "zip", "pickle", "zeros"],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_not_a_checkpoint(tmp_path, refused, content: bytes, suffix: str) -> None:
    (tmp_path / f"net{suffix}").write_bytes(content)
    with refused("is not an intact (PyTorch checkpoint|safetensors file) .*download or save it again"):
        load_checkpoint(tmp_path / f"net{suffix}")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_truncated(tmp_path, refused, edsr, suffix: str, share: float) -> None:
    path = tmp_path / f"net{suffix}"
    if suffix == ".pth":
        torch.save(edsr.state_dict(), path)
    else:
        save_checkpoint(edsr, path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with refused("is not an intact"):
        load_checkpoint(path)


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("zipped", [True, False])
def test_malicious_pickle_is_refused_and_does_nothing(tmp_path, refused, zipped: bool) -> None:
    trace = tmp_path / "it_ran"
    content = {"params": TENSORS, "extra": Payload(f"touch {trace}")}
    torch.save(content, tmp_path / "evil.pth", _use_new_zipfile_serialization=zipped)
    with refused(
        r"evil\.pth' is refused: it holds '\w+\.system' beside tensors, and loading that could run code"
    ):
        load_checkpoint(tmp_path / "evil.pth")
    assert not trace.exists()


def test_malicious_plain_pickle_does_nothing(tmp_path, refused) -> None:
    trace = tmp_path / "it_ran"
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Payload(f"touch {trace}")))
    with refused(r"evil\.pt' is (refused|not an intact PyTorch checkpoint)"):
        load_checkpoint(tmp_path / "evil.pt")
    assert not trace.exists()


def test_a_list_of_state_dicts_is_numbered(tmp_path) -> None:
    torch.save([TENSORS, OTHER], tmp_path / "nets.pt")
    tensors, _ = read_state_dict(tmp_path / "nets.pt")
    assert sorted(tensors) == ["0.conv.bias", "0.conv.weight", "1.conv.bias", "1.conv.weight"]
    assert torch.equal(tensors["1.conv.weight"], OTHER["conv.weight"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([*TENSORS.values()], "holds a list: save the network's state_dict"),
        (torch.ones(3), "holds a Tensor: save the network's state_dict"),
        ({}, "holds no weights"),
        ({"params": {}}, "holds no weights"),
        ({**TENSORS, "iter": 5}, "holds entries that are not weights: iter"),
        ({"epoch": 5, "lr": 1.0}, "holds entries that are not weights: epoch, lr"),
    ],
    ids=["list", "tensor", "nothing", "no params", "mixed", "state"],
)
def test_pickle_without_weights(tmp_path, refused, content, message: str) -> None:
    torch.save(content, tmp_path / "net.pth")
    with refused(message):
        load_checkpoint(tmp_path / "net.pth")


def test_safetensors_without_weights(tmp_path, refused) -> None:
    save_file({}, tmp_path / "net.safetensors")
    with refused("holds no weights"):
        load_checkpoint(tmp_path / "net.safetensors")


@pytest.mark.parametrize("config", ["{", "[]", "null", '{"architecture": "EDSR"}', '{"model_args": {}}'])
def test_broken_config_in_the_metadata(tmp_path, refused, config: str) -> None:
    save_file(TENSORS, tmp_path / "net.safetensors", metadata={"hfsr_config": config})
    with refused(r"net\.safetensors' (is not JSON|holds a|does not state the network)"):
        load_checkpoint(tmp_path / "net.safetensors")


def test_config_is_repeated_in_the_metadata(tmp_path, edsr) -> None:
    from safetensors import safe_open

    save_checkpoint(edsr, tmp_path / "net.safetensors", task="denoising")
    with safe_open(tmp_path / "net.safetensors", framework="pt") as file:
        stored = file.metadata()
    assert stored["format"] == "pt"
    config = json.loads(stored["hfsr_config"])
    assert config == read_state_dict(tmp_path / "net.safetensors")[1]["config"]
    assert (config["architecture"], config["task"]) == ("EDSR", "denoising")


def test_written_files_are_as_readable_as_any_other(tmp_path, edsr) -> None:
    (tmp_path / "ordinary").touch()
    save_checkpoint(edsr, tmp_path / "net.safetensors")
    assert (tmp_path / "net.safetensors").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_shared_and_channels_last_tensors_are_written(tmp_path, edsr) -> None:
    edsr.to(memory_format=torch.channels_last)
    edsr.body[1].conv1.weight = edsr.body[0].conv1.weight
    save_checkpoint(edsr, tmp_path / "net.safetensors")
    tensors, _ = read_state_dict(tmp_path / "net.safetensors")
    assert torch.equal(tensors["body.1.conv1.weight"], tensors["body.0.conv1.weight"])
    assert all(torch.equal(tensors[key], value) for key, value in edsr.state_dict().items())


def test_error_is_a_value_error_too() -> None:
    assert issubclass(CheckpointError, ValueError)


def test_same_weights_are_the_same_file(tmp_path, edsr) -> None:
    for i in range(4):
        save_checkpoint(edsr, tmp_path / f"{i}.safetensors")
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
