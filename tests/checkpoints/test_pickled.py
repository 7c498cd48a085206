"""Networks that were pickled whole give their tensors, and nothing of such a file runs."""

from __future__ import annotations

import argparse
import copy
import os
import pickle
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import hfsr
from hfsr.archs.lapsrn import LapSRN
from hfsr.archs.vdsr import VDSR
from hfsr.checkpoints import load_checkpoint, read_state_dict

from .conftest import same_images

PORT = """
from torch import nn

class Conv_ReLU_Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(64, 64, 3, padding=1, bias=False)
        self.relu = nn.ReLU(inplace=True)

class VDSR(nn.Module):
    def __init__(self):
        super().__init__()
        self.residual_layer = nn.Sequential(*(Conv_ReLU_Block() for _ in range(18)))
        self.input = nn.Conv2d(1, 64, 3, padding=1, bias=False)
        self.output = nn.Conv2d(64, 1, 3, padding=1, bias=False)
        self.relu = nn.ReLU(inplace=True)

class _Conv_Block(nn.Module):
    def __init__(self):
        super().__init__()
        layers = []
        for _ in range(10):
            layers += [nn.Conv2d(64, 64, 3, padding=1, bias=False), nn.LeakyReLU(0.2, inplace=True)]
        layers += [nn.ConvTranspose2d(64, 64, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True)]
        self.cov_block = nn.Sequential(*layers)

    def forward(self, x):
        return self.cov_block(x)

class LapSRN(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv_input = nn.Conv2d(1, 64, 3, padding=1, bias=False)
        self.relu = nn.LeakyReLU(0.2, inplace=True)
        for i in (1, 2):
            setattr(self, f"convt_I{i}", nn.ConvTranspose2d(1, 1, 4, 2, 1, bias=False))
            setattr(self, f"convt_R{i}", nn.Conv2d(64, 1, 3, padding=1, bias=False))
            setattr(self, f"convt_F{i}", nn.Sequential(_Conv_Block()))

    def forward(self, x):
        features, images = self.relu(self.conv_input(x)), []
        for i in (1, 2):
            features = getattr(self, f"convt_F{i}")(features)
            x = getattr(self, f"convt_I{i}")(x) + getattr(self, f"convt_R{i}")(features)
            images.append(x)
        return images
"""


@pytest.fixture
def port() -> Any:
    """The classes of the common PyTorch ports of VDSR and LapSRN, importable while a file is written."""
    module = ModuleType("port_of_a_paper")
    sys.modules[module.__name__] = module
    exec(PORT, vars(module))
    for value in vars(module).values():
        if isinstance(value, type):
            value.__module__ = module.__name__
    yield module
    sys.modules.pop(module.__name__, None)


class _OldPickler(pickle.Pickler):
    """Writes tensors and parameters as PyTorch 0.3 wrote them."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, nn.Parameter):
            return nn.Parameter, (value.data,), (True, False, OrderedDict())
        if isinstance(value, Tensor):
            typed = value._typed_storage()
            arguments = (typed, value.storage_offset(), tuple(value.shape), value.stride())
            return torch._utils._rebuild_tensor, arguments
        return NotImplemented


OLD = SimpleNamespace(Pickler=_OldPickler, dump=pickle.dump, __name__="pickle")
WAYS: dict[str, dict[str, Any]] = {
    "zip": {},
    "legacy": {"_use_new_zipfile_serialization": False},
    "0.3": {"_use_new_zipfile_serialization": False, "pickle_module": OLD},
}


def write(content: Any, path: Path, way: str, module: ModuleType) -> Path:
    torch.save(content, path, **WAYS[way])
    sys.modules.pop(module.__name__)  # whoever reads the file does not have its classes
    return path


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code:UserWarning")  # torch, of an exec'd class
@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_vdsr_as_its_port_saves_it(tmp_path, port, way: str, parallel: bool) -> None:
    net = port.VDSR()
    kept = {key: value.clone() for key, value in net.state_dict().items()}
    content = {"epoch": 50, "model": nn.DataParallel(net) if parallel else net}
    path = write(content, tmp_path / "model_epoch_50.pth", way, port)
    for scale in (2, 3, 4):
        model = hfsr.from_pretrained(path, scale=scale)
        assert type(model) is VDSR
        assert model.model_args == {"num_feat": 64, "num_block": 18, "bias": False, "upscale": scale}
        assert all(torch.equal(kept[key], value) for key, value in model.state_dict().items())
    assert "port_of_a_paper" not in sys.modules


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code:UserWarning")
@pytest.mark.parametrize("way", WAYS)
def test_lapsrn_as_its_port_saves_it(tmp_path, port, way: str) -> None:
    net = port.LapSRN()
    y = torch.rand(1, 1, 6, 8)
    with torch.no_grad():
        expected = net(y)
    model = load_checkpoint(write({"epoch": 100, "model": net}, tmp_path / "net.pth", way, port))
    assert (type(model), model.scale) == (LapSRN, 4)
    with torch.no_grad():
        rgb = (y.repeat(1, 3, 1, 1) * 255 - 16) / 219  # gray of that luma
        for found, one in zip(model.lumas(rgb), expected, strict=True):
            torch.testing.assert_close(found, one, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["net", "generator", "model", None])
def test_wherever_it_stands_in_the_file(tmp_path, edsr, name: str | None) -> None:
    edsr.register_buffer("seen", torch.ones(2), persistent=False)
    content = (
        edsr if name is None else {name: edsr, "epoch": 3, "loss": np.float64(0.5), "size": torch.Size([2])}
    )
    torch.save(content, tmp_path / "net.pth")
    tensors, metadata = read_state_dict(tmp_path / "net.pth")
    assert list(tensors) == list(edsr.state_dict())
    assert metadata["weights"] == name
    assert type(load_checkpoint(tmp_path / "net.pth")) is type(edsr)


def test_other_objects_beside_a_state_dict_do_not_matter(tmp_path, edsr) -> None:
    from argparse import Namespace

    content = {"state_dict": edsr.state_dict(), "args": Namespace(lr=1e-4), "best": np.float32(3)}
    torch.save(content, tmp_path / "net.pth")
    assert type(load_checkpoint(tmp_path / "net.pth")) is type(edsr)


@pytest.mark.parametrize(
    "names", [("ema", "model"), ("params_ema", "model"), ("state_dict", "teacher"), ("net", "criterion")]
)
def test_a_whole_network_does_not_replace_a_state_dict(tmp_path, edsr, names: tuple[str, str]) -> None:
    other = copy.deepcopy(edsr)
    nn.init.zeros_(other.conv_last.weight)
    torch.save({names[0]: edsr.state_dict(), names[1]: other}, tmp_path / "net.pth")
    tensors, metadata = read_state_dict(tmp_path / "net.pth")
    assert torch.equal(tensors["conv_last.weight"], edsr.conv_last.weight)
    assert metadata["weights"] == names[0]


@pytest.mark.parametrize("criterion", [nn.L1Loss(), nn.Sequential(nn.Conv2d(3, 8, 3))])
def test_losses_that_are_modules(tmp_path, edsr, criterion: nn.Module) -> None:
    for name in ("state_dict", "restorer"):
        torch.save({name: edsr.state_dict(), "perceptual": criterion}, tmp_path / "net.pth")
        assert list(read_state_dict(tmp_path / "net.pth")[0]) == list(edsr.state_dict())


def test_parameters_with_attributes_beside_settings(tmp_path, edsr) -> None:
    weights = OrderedDict(edsr.named_parameters())
    for parameter in weights.values():
        parameter.no_decay = True
    content = {"state_dict": weights, "torch": torch.__version__, "args": argparse.Namespace(lr=1)}
    torch.save(content, tmp_path / "net.pth")
    tensors = read_state_dict(tmp_path / "net.pth")[0]
    assert all(torch.equal(tensors[name], parameter) for name, parameter in weights.items())


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_state_dicts_that_pickle_saved(tmp_path, edsr, protocol: int) -> None:
    with (tmp_path / "net.pth").open("wb") as file:
        pickle.dump({"params": edsr.state_dict(), "epoch": 3}, file, protocol=protocol)
    tensors = read_state_dict(tmp_path / "net.pth")[0]
    assert all(torch.equal(tensors[name], tensor) for name, tensor in edsr.state_dict().items())


class Reducing:
    """An object that is what a call gives."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


class Disguised(nn.Module):
    """A network that wants a call while it is filled."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1)
        self.inner = inner


def attacks(trace: Path) -> dict[str, Any]:
    command = f"touch {trace}"
    return {
        "os.system": Reducing(os.system, command),
        "eval": Reducing(eval, f"open({str(trace)!r}, 'w')"),
        "exec": Reducing(exec, f"open({str(trace)!r}, 'w')"),
        "subprocess": Reducing(subprocess.call, ["touch", str(trace)]),
        "getattr": Reducing(getattr, "a text", "upper"),
        "import": Reducing(__import__, "antigravity"),
        "open": Reducing(open, str(trace), "w"),
        "torch.load": Reducing(torch.load, str(trace)),
        "torch.hub": Reducing(torch.hub.load, "a/b", "c"),
        "a class with arguments": Reducing(Disguised, Reducing(os.system, command)),
        "without arguments": Reducing(os.getcwd),
        "nested": {"state": [(1, {"deep": Reducing(os.system, command)})]},
    }


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("attack", attacks(Path("x")))
@pytest.mark.parametrize("inside", [True, False], ids=["in a module", "beside weights"])
def test_what_wants_to_be_called_is_refused(
    tmp_path, refused, attack: str, zipped: bool, inside: bool
) -> None:
    trace = tmp_path / "it_ran"
    payload = attacks(trace)[attack]
    content = {"model": Disguised(payload)} if inside else {"params": {"a": torch.ones(1)}, "extra": payload}
    torch.save(content, tmp_path / "evil.pth", _use_new_zipfile_serialization=zipped)
    with refused(r"evil\.pth' is refused: it holds '[\w.]+' beside tensors, and loading that could run code"):
        load_checkpoint(tmp_path / "evil.pth")
    assert not trace.exists()


def test_a_network_that_contains_itself(tmp_path, refused) -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, 1))
    net._modules["again"] = net
    torch.save({"model": net}, tmp_path / "net.pth")
    with refused("contains itself"):
        load_checkpoint(tmp_path / "net.pth")


def test_an_object_that_is_no_network(tmp_path, refused) -> None:
    from argparse import Namespace

    torch.save(Namespace(a=1), tmp_path / "net.pth")
    with refused("holds an object that is not a network"):
        load_checkpoint(tmp_path / "net.pth")


def test_attributes_cannot_replace_what_reads_them(tmp_path, refused) -> None:
    """State that looks like methods stays state."""
    net = nn.Conv2d(1, 1, 1)
    vars(net).update({"__setstate__": os.system, "__class__": os.system, "state": 3, "items": os.system})
    torch.save({"model": net}, tmp_path / "net.pth")
    assert list(read_state_dict(tmp_path / "net.pth")[0]) == ["weight", "bias"]


def test_settings_of_trainers_are_left_alone(tmp_path, edsr) -> None:
    """Paths, dates, partial functions and the objects of known trainers, as Lightning stores them."""
    import datetime
    import functools
    from collections import Counter, defaultdict

    steps: dict[str, list[int]] = defaultdict(list)
    steps["epoch"].append(3)
    content = {
        "state_dict": {f"net.{key}": tensor for key, tensor in edsr.state_dict().items()},
        "pytorch-lightning_version": "2.4.0",
        "hyper_parameters": {
            "root": Path("data"),
            "started": datetime.datetime(2025, 1, 2),
            "took": datetime.timedelta(seconds=3),
            "activation": functools.partial(nn.ReLU, inplace=True),
            "array": np.arange(3),
            "counts": Counter("aab"),
            "steps": steps,
        },
        "callbacks": {"ModelCheckpoint": {"best_model_path": Path("best.ckpt")}},
    }
    torch.save(content, tmp_path / "epoch=3.ckpt")
    assert same_images(load_checkpoint(tmp_path / "epoch=3.ckpt"), edsr)


def test_objects_of_a_trainer_are_built_by_nobody(tmp_path, edsr, monkeypatch) -> None:
    """Classes of a known package stay names: neither imported nor called, whatever the file gives them."""
    import sys
    import types

    class Settings(dict):
        def __init__(self, *values: Any) -> None:
            raise AssertionError("it was built")

        def __reduce__(self) -> Any:
            return Settings, ("a", 1), None, None, iter({"lr": 1e-4}.items())

    Settings.__module__, Settings.__qualname__ = "omegaconf.dictconfig", "Settings"
    for name in ("omegaconf", "omegaconf.dictconfig"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["omegaconf.dictconfig"].Settings = Settings
    content = {"state_dict": edsr.state_dict(), "hyper_parameters": Settings.__new__(Settings)}
    torch.save(content, tmp_path / "net.ckpt")
    assert same_images(load_checkpoint(tmp_path / "net.ckpt"), edsr)
