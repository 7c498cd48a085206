"""Containers, prefixes, endings, and files that are something else than their names say."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from hfsr.checkpoints import load_checkpoint, read_state_dict

from .layouts import difference, fresh


@pytest.fixture
def tensors() -> dict[str, Tensor]:
    return fresh("ESPCN", upscale=2).state_dict()


def assert_reads(path: Path) -> None:
    assert difference(load_checkpoint(path), fresh("ESPCN", upscale=2)) == 0


@pytest.mark.parametrize("ending", [".pth.tar", ".ckpt", ".bin", ".PTH", ".Pt", ".pth"])
def test_endings(ending: str, tensors: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({"state_dict": tensors}, tmp_path / f"espcn_x2{ending}")
    assert_reads(tmp_path / f"espcn_x2{ending}")


CONTAINERS = [
    "net",
    "netG",
    "net_g",
    "model_state_dict",
    "params-ema",
    "generator",
    "state_dict_ema",
    "weights",
]


@pytest.mark.parametrize("container", CONTAINERS)
def test_containers(container: str, tensors: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({container: tensors, "epoch": 3, "optimizer": {}}, tmp_path / "net.pth")
    assert_reads(tmp_path / "net.pth")


@pytest.mark.parametrize("averaged", ["params_ema", "params-ema", "state_dict_ema", "netG_ema", "ema"])
@pytest.mark.parametrize("plain", ["params", "state_dict", "netG", "model"])
def test_averaged_weights_come_first(
    averaged: str, plain: str, tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    other = {key: torch.zeros_like(tensor) for key, tensor in tensors.items()}
    torch.save({plain: other, averaged: tensors}, tmp_path / "net.pth")
    assert_reads(tmp_path / "net.pth")
    assert read_state_dict(tmp_path / "net.pth")[1]["weights"] == averaged


PREFIXES = ["net_g.", "netG.", "generator.", "model.", "net.", "_orig_mod.module.", "module.model._orig_mod."]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefixes(prefix: str, tensors: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({"state_dict": {prefix + key: t for key, t in tensors.items()}}, tmp_path / "net.pth")
    assert_reads(tmp_path / "net.pth")


def test_a_prefix_of_numbers_is_a_network_s_own(tmp_path: Path) -> None:
    torch.save({"model.0.weight": torch.ones(2), "model.1.sub.0.weight": torch.ones(2)}, tmp_path / "old.pth")
    assert list(read_state_dict(tmp_path / "old.pth")[0]) == ["model.0.weight", "model.1.sub.0.weight"]


def test_an_averaged_model_of_torch(tmp_path: Path) -> None:
    model = fresh("ESPCN", upscale=2)
    averaged = torch.optim.swa_utils.AveragedModel(model)
    torch.save(averaged.state_dict(), tmp_path / "net.pth")
    assert "n_averaged" in averaged.state_dict()
    assert_reads(tmp_path / "net.pth")


def test_counters_of_thop_are_dropped(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    counters = {"total_ops": torch.zeros(1), "first_part.0.total_params": torch.zeros(1)}
    torch.save({**tensors, **counters}, tmp_path / "net.pth")
    assert_reads(tmp_path / "net.pth")


def test_tensors_without_values(tensors: dict[str, Tensor], tmp_path: Path, refused) -> None:
    torch.save({key: tensor.to("meta") for key, tensor in tensors.items()}, tmp_path / "meta.pth")
    with refused("holds tensors without values"):
        load_checkpoint(tmp_path / "meta.pth")


def test_safetensors_under_another_name(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(tensors, tmp_path / "net.safetensors")
    (tmp_path / "net.safetensors").rename(tmp_path / "net.pth")
    assert_reads(tmp_path / "net.pth")


def sharded(tensors: dict[str, Tensor], folder: Path) -> Path:
    keys = list(tensors)
    places = {key: f"model-0000{1 if key in keys[:2] else 2}-of-00002.safetensors" for key in keys}
    for name in set(places.values()):
        save_file({key: tensors[key] for key in keys if places[key] == name}, folder / name)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return index


def test_weights_in_several_parts(tensors: dict[str, Tensor], tmp_path: Path, refused) -> None:
    index = sharded(tensors, tmp_path)
    assert_reads(index)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with refused(r"names 'model-00002-of-00002\.safetensors', which is not beside it"):
        load_checkpoint(index)
    index.write_text("{}")
    with refused("has no 'weight_map'"):
        load_checkpoint(index)


@pytest.mark.parametrize("name", ["net.pth", "net.safetensors", "net.ckpt"])
def test_pointers_of_git_lfs(name: str, tmp_path: Path, refused) -> None:
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n")
    with refused("is a pointer of Git LFS and not the file itself: run git lfs pull"):
        load_checkpoint(tmp_path / name)


def test_torchscript(tmp_path: Path, refused) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit itself
        torch.jit.script(torch.nn.Conv2d(3, 3, 3)).save(str(tmp_path / "scripted.pt"))
    with refused("is a TorchScript program, which hfsr does not run; save the state dict"):
        load_checkpoint(tmp_path / "scripted.pt")
