"""Containers, prefixes, endings, and files that are something else than their names say."""

from __future__ import annotations

import json
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from hfsr.checkpoints import load_checkpoint, read_state_dict
from hfsr.cli import main
from hfsr.errors import HfsrWarning

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
    with refused(r"names 'model-00002-of-00002\.safetensors', which is not next to it"):
        load_checkpoint(index)
    index.write_text("{}")
    with refused("has no 'weight_map'"):
        load_checkpoint(index)


@pytest.mark.parametrize("name", ["net.pth", "net.safetensors", "net.ckpt"])
def test_pointers_of_git_lfs(name: str, tmp_path: Path, refused) -> None:
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n")
    with refused("is a Git LFS pointer and not the file itself: run git lfs pull"):
        load_checkpoint(tmp_path / name)


def test_torchscript(tmp_path: Path, refused) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit itself
        torch.jit.script(torch.nn.Conv2d(3, 3, 3)).save(str(tmp_path / "scripted.pt"))
    with refused("is a TorchScript program, which hfsr does not run; save the state dict"):
        load_checkpoint(tmp_path / "scripted.pt")


@pytest.mark.parametrize("name", ["sr_model", "my_net", "G", "checkpoint"])
def test_a_wrapper_of_any_name(name: str, tensors: dict[str, Tensor], tmp_path: Path) -> None:
    optimizer = {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 1e-4}]}
    torch.save({name: tensors, "optimizer": optimizer, "epoch": 3}, tmp_path / "net.pth")
    assert_reads(tmp_path / "net.pth")
    torch.save({"outer": {name: {"inner": tensors}}, "epoch": 3}, tmp_path / "net.pth")
    assert_reads(tmp_path / "net.pth")


@pytest.mark.parametrize("other", ["D", "netD", "net_d", "discriminator", "disc"])
def test_a_discriminator_beside_the_network(other: str, tensors: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({"gen": tensors, other: {"conv.weight": torch.ones(3)}}, tmp_path / "net.pth")
    assert_reads(tmp_path / "net.pth")


def test_an_average_under_a_name_of_its_own(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    other = {key: torch.zeros_like(tensor) for key, tensor in tensors.items()}
    torch.save({"gen": other, "gen_ema": tensors}, tmp_path / "net.pth")
    assert_reads(tmp_path / "net.pth")


def test_several_networks_of_unknown_names(tensors: dict[str, Tensor], tmp_path: Path, refused) -> None:
    torch.save({"first": tensors, "second": tensors}, tmp_path / "net.pth")
    with refused(r"net\.pth': it holds several networks \(first, second\), and their names do not show"):
        load_checkpoint(tmp_path / "net.pth")


@pytest.mark.parametrize(
    "companions",
    [
        ("discriminator.conv.weight", "perceptual_loss.vgg.features.0.weight", "step_counter"),
        ("net_d.conv.weight", "loss_fn.lpips.lin0.weight", "val_metrics.psnr.total"),
        ("criterion.vgg.0.weight",),
    ],
)
def test_companions_of_the_network_are_left_out(
    companions: tuple[str, ...], tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    content = {f"generator.{key}": tensor for key, tensor in tensors.items()}
    content |= dict.fromkeys(companions, torch.ones(2))
    torch.save({"state_dict": content}, tmp_path / "net.pth")
    assert_reads(tmp_path / "net.pth")
    assert set(read_state_dict(tmp_path / "net.pth")[1]["left_out"]) == set(companions)


@pytest.mark.parametrize("names", [("generator", "generator_ema"), ("online_model", "ema_model")])
def test_an_averaged_network_inside_a_state_dict(
    names: tuple[str, str], tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    content = {f"{names[0]}.{key}": torch.zeros_like(tensor) for key, tensor in tensors.items()}
    content |= {f"{names[1]}.{key}": tensor for key, tensor in tensors.items()}
    torch.save({**content, "initted": torch.tensor(True), "step": torch.tensor(3)}, tmp_path / "net.pth")
    assert_reads(tmp_path / "net.pth")


@pytest.mark.parametrize("wrapper", ["_orig_mod", "module", "_checkpoint_wrapped_module"])
def test_wrappers_inside_a_network(wrapper: str, tensors: dict[str, Tensor], tmp_path: Path) -> None:
    """`net.body = torch.compile(net.body)`, and the same of DataParallel and activation checkpointing."""
    inside = {key.replace("first_part.", f"first_part.{wrapper}."): t for key, t in tensors.items()}
    assert set(inside) != set(tensors)
    torch.save(inside, tmp_path / "net_x2.pth")
    assert_reads(tmp_path / "net_x2.pth")
    torch.save({f"_fsdp_wrapped_module.{key}": t for key, t in inside.items()}, tmp_path / "net_x2.pth")
    assert_reads(tmp_path / "net_x2.pth")


def test_averages_without_names(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    """torch_ema and diffusers store the averaged parameters as a list."""
    plain = {key: torch.zeros_like(tensor) for key, tensor in tensors.items()}
    average = {"decay": 0.99, "num_updates": 3, "collected_params": None}
    content = {"model": plain, "ema": {**average, "shadow_params": list(tensors.values())}}
    torch.save(content, tmp_path / "net_x2.pth")
    assert_reads(tmp_path / "net_x2.pth")
    content = {"model": tensors, "ema": {**average, "shadow_params": [torch.zeros(2)]}}
    torch.save(content, tmp_path / "net_x2.pth")
    with pytest.warns(HfsrWarning, match="under 'ema' have no names and do not fit those under 'model'"):
        assert_reads(tmp_path / "net_x2.pth")


def test_averages_whose_names_have_no_dots(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    """LitEma of latent diffusion."""
    content = {f"model.{key}": torch.zeros_like(tensor) for key, tensor in tensors.items()}
    content |= {f"model_ema.{key.replace('.', '')}": tensor for key, tensor in tensors.items()}
    content |= {"model_ema.decay": torch.tensor(0.99), "model_ema.num_updates": torch.tensor(3)}
    torch.save({"state_dict": content}, tmp_path / "net_x2.ckpt")
    assert_reads(tmp_path / "net_x2.ckpt")


def test_conversion_says_what_was_left_out(tensors: dict[str, Tensor], tmp_path: Path, capsys) -> None:
    torch.save({**tensors, "total_ops": torch.zeros(1)}, tmp_path / "espcn_x2.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert main(["convert", str(tmp_path / "espcn_x2.pth"), str(tmp_path / "out")]) == 0
    assert "left out" in (out := capsys.readouterr().out)
    assert "total_ops: not tensors of the network" in out


def test_a_folder_of_parts(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    sharded(tensors, tmp_path)
    assert_reads(tmp_path)


def test_parts_as_pickles(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(tensors, tmp_path / "pytorch_model-00001-of-00001.bin")
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": dict.fromkeys(tensors, "pytorch_model-00001-of-00001.bin")}))
    assert_reads(index)


# Files that are something else than their names say


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html><html><body>Not found</body></html>", r"a web page \(HTML\).*raw link"),
        (b"\n<html>", "a web page"),
        (b'{"error": "Repository not found"}', "JSON text, which servers send for errors; download"),
        (b"<?xml version='1.0'?><Error/>", "an XML document"),
        (b"GGUF" + bytes(90), "a GGUF file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(90), "an HDF5 file"),
        (b"\x93NUMPY" + bytes(90), "an array of NumPy"),
        (b"\x89PNG\r\n\x1a\n" + bytes(90), "a PNG image"),
        (b"\x1f\x8b" + bytes(90), "a gzip archive; unpack it"),
        (b"7767517\n3 2\n", "the graph of an ncnn network"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".ckpt"])
def test_other_content(content: bytes, message: str, suffix: str, tmp_path: Path, refused) -> None:
    (tmp_path / f"net{suffix}").write_bytes(content)
    with refused(rf"net{suffix}' is not the checkpoint that its name suggests but {message}"):
        load_checkpoint(tmp_path / f"net{suffix}")


def test_a_checkpoint_under_another_ending(tensors: dict[str, Tensor], tmp_path: Path, refused) -> None:
    torch.save(tensors, tmp_path / "net.safetensors")
    with refused(r"is not the checkpoint that its name suggests but a PyTorch checkpoint; name it \.pth"):
        load_checkpoint(tmp_path / "net.safetensors")
    torch.save(tensors, tmp_path / "net.weights")
    with refused(r"is not a checkpoint: hfsr reads .* it is a PyTorch checkpoint; name it \.pth"):
        load_checkpoint(tmp_path / "net.weights")
    save_file(tensors, tmp_path / "net.data")
    with refused(r"it is a safetensors file; name it \.safetensors"):
        load_checkpoint(tmp_path / "net.data")


def test_an_archive_around_a_checkpoint(tmp_path: Path, refused) -> None:
    with zipfile.ZipFile(tmp_path / "net.pth", "w") as archive:
        archive.writestr("release/model_x2.pth", b"weights")
    with refused(r"a ZIP archive; unpack it and name the checkpoint in it \('release/model_x2\.pth'\)"):
        load_checkpoint(tmp_path / "net.pth")


def test_the_weights_of_an_ncnn_network(tmp_path: Path, refused) -> None:
    (tmp_path / "net.bin").write_bytes(bytes(100))
    (tmp_path / "net.param").write_text("7767517\n")
    with refused("is not the checkpoint that its name suggests but the weights of an ncnn network"):
        load_checkpoint(tmp_path / "net.bin")
