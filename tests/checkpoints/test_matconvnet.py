"""MATLAB files as MatConvNet's `DagNN.saveobj` leaves them."""

from __future__ import annotations

import builtins

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hfsr.checkpoints import read_state_dict
from hfsr.errors import MissingDependencyError

from .matlab import save_dagnn

FILTER = np.arange(3 * 5 * 2 * 4, dtype=np.float32).reshape(3, 5, 2, 4)  # height, width, inputs, outputs
BIAS = np.ones((1, 4), np.float32)


def test_axes_come_in_the_order_of_pytorch(tmp_path) -> None:
    save_dagnn(tmp_path / "net.mat", {"c_f": FILTER, "c_b": BIAS}, [("c", ["c_f", "c_b"]), ("relu", [])])
    tensors, metadata = read_state_dict(tmp_path / "net.mat")
    assert (metadata["weights"], metadata["config"]) == (None, None)
    assert {key: tuple(tensor.shape) for key, tensor in tensors.items()} == {
        "c.c_f": (4, 2, 3, 5),
        "c.c_b": (4,),
    }
    assert tensors["c.c_f"][3, 1, 2, 4] == FILTER[2, 4, 1, 3]
    F.conv2d(torch.rand(1, 2, 8, 8), tensors["c.c_f"], tensors["c.c_b"])


@pytest.mark.parametrize(("size", "expected"), [((3, 3, 1, 1), (1, 1, 3, 3)), ((3, 3, 6, 1), (1, 6, 3, 3))])
def test_axes_that_matlab_drops_come_back(tmp_path, size, expected) -> None:
    value = np.random.rand(*size).astype(np.float32)
    while value.ndim > 2 and value.shape[-1] == 1:
        value = value[..., 0]
    save_dagnn(tmp_path / "net.mat", {"f": value}, [("c", ["f"])])
    assert tuple(read_state_dict(tmp_path / "net.mat")[0]["c.f"].shape) == expected


def test_a_shared_parameter_stands_under_every_layer_and_an_unused_one_alone(tmp_path) -> None:
    save_dagnn(tmp_path / "net.mat", {"f": FILTER, "left": BIAS}, [("a", ["f"]), ("b", ["f"])])
    tensors = read_state_dict(tmp_path / "net.mat")[0]
    assert list(tensors) == ["a.f", "b.f", "left"]
    assert tensors["a.f"] is tensors["b.f"]


def test_layers_that_name_what_is_not_there(tmp_path, refused) -> None:
    save_dagnn(tmp_path / "net.mat", {"f": FILTER}, [("a", ["f"]), ("b", ["g"])])
    with refused("its layers name 'g', which it does not hold"):
        read_state_dict(tmp_path / "net.mat")


def test_another_matlab_file(tmp_path, refused) -> None:
    io = pytest.importorskip("scipy.io")
    io.savemat(tmp_path / "image.mat", {"im_gt_y": np.zeros((4, 4))})
    with refused("holds no MatConvNet network"):
        read_state_dict(tmp_path / "image.mat")


@pytest.mark.parametrize("content", [b"", b"not MATLAB's" * 40, bytes(300)], ids=["empty", "text", "zeros"])
def test_not_a_matlab_file(tmp_path, refused, content) -> None:
    pytest.importorskip("scipy")
    (tmp_path / "net.mat").write_bytes(content)
    with refused("is not an intact MATLAB file|holds no network"):
        read_state_dict(tmp_path / "net.mat")


def test_truncated(tmp_path, refused) -> None:
    save_dagnn(tmp_path / "net.mat", {"f": FILTER}, [("a", ["f"])])
    whole = (tmp_path / "net.mat").read_bytes()
    for share in (0.3, 0.7, 0.95):
        (tmp_path / "net.mat").write_bytes(whole[: int(share * len(whole))])
        with refused("is not an intact MATLAB file"):
            read_state_dict(tmp_path / "net.mat")


def test_version_7_3_is_told_apart(tmp_path, refused) -> None:
    pytest.importorskip("scipy")
    header = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    (tmp_path / "net.mat").write_bytes(header + bytes(512))
    with refused("version 7.3"):
        read_state_dict(tmp_path / "net.mat")


def test_without_scipy_it_says_what_to_install(tmp_path, monkeypatch) -> None:
    (tmp_path / "net.mat").write_bytes(b"MATLAB 5.0 MAT-file")
    real = builtins.__import__

    def without_scipy(name, *args, **kwargs):
        if name.partition(".")[0] == "scipy":
            raise ModuleNotFoundError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_scipy)
    with pytest.raises(MissingDependencyError, match=r"reading a \.mat file needs scipy"):
        read_state_dict(tmp_path / "net.mat")
