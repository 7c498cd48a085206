"""What goes to a GPU and comes back, with a device that is the CPU: order, types, and what is waited for."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import torch

from hfsr.errors import OptionsError
from hfsr.inference.image_io import device_transfer
from hfsr.inference.program.geometry import Region
from hfsr.inference.runtime import precision
from hfsr.inference.runtime.precision import choose_device, disable_tf32

CUDA = torch.device("cuda", 0)


class Told:
    """A stream or an event that tells what is asked of it."""

    def __init__(self, log: list[str], *_: object) -> None:
        self.log = log

    def wait_stream(self, _: object) -> None:
        self.log.append("wait")

    def record(self, _: object) -> None:
        self.log.append("record")

    def synchronize(self) -> None:
        self.log.append("synchronize")


@pytest.fixture
def log(monkeypatch) -> list[str]:
    log: list[str] = []
    monkeypatch.setattr(torch.cuda, "Stream", lambda _: Told(log))
    monkeypatch.setattr(torch.cuda, "Event", lambda: Told(log))
    monkeypatch.setattr(torch.cuda, "stream", lambda _: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: None)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda *_: log.append("held"))
    monkeypatch.setattr(device_transfer, "_pinned", lambda shape, dtype: torch.empty(*shape, dtype=dtype))
    return log


def test_results_are_handed_on_in_order_one_step_behind(log):
    taken = []
    overlapped = device_transfer.OverlappedTransfer(
        CUDA, lambda r, part: taken.append((r.top, part.tolist()))
    )
    for top in range(3):
        overlapped.write(Region(top, top + 1, 0, 2), torch.tensor([top, -top]))
        assert len(taken) == top
    overlapped.finish()
    overlapped.finish()
    assert taken == [(top, [top, -top]) for top in range(3)]
    # The copy waits for the arithmetic, its source is held until it is done, its result is not read before.
    assert log[:3] == ["wait", "held", "record"]
    assert log.count("synchronize") == 3


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_arrays_arrive_as_float32(log, monkeypatch, dtype):
    array = np.random.default_rng(0).integers(0, 256, (6, 5, 3)).astype(dtype)
    array[0, 0] = 255 if dtype is np.uint8 else 65535
    array.setflags(write=False)
    sent = []
    honest = torch.Tensor.to

    def to(self, device, **words):
        sent.append((self.dtype, device, words))
        return honest(self, "cpu")

    monkeypatch.setattr(torch.Tensor, "to", to)
    found = device_transfer.to_device(array[1:, ::2], CUDA)
    assert found.dtype == torch.float32
    np.testing.assert_array_equal(found.numpy(), array[1:, ::2].astype(np.float32))
    narrow = {np.uint8: torch.uint8, np.uint16: torch.int32, np.float32: torch.float32}[dtype]
    assert sent == [(narrow, CUDA, {"non_blocking": True})]


def test_fp32_is_not_shortened_on_a_gpu_and_the_setting_is_given_back():
    settings = precision._tf32_settings()
    before = [getattr(owner, name) for owner, name, _ in settings]
    off = [value for _, _, value in settings]
    assert before != off  # what torch does by itself
    with disable_tf32(torch.float32, CUDA):
        with disable_tf32(torch.float32, CUDA):
            assert [getattr(owner, name) for owner, name, _ in settings] == off
        assert [getattr(owner, name) for owner, name, _ in settings] == off
    assert [getattr(owner, name) for owner, name, _ in settings] == before
    for dtype, device in ((torch.bfloat16, CUDA), (torch.float32, torch.device("cpu"))):
        with disable_tf32(dtype, device):
            assert [getattr(owner, name) for owner, name, _ in settings] == before


def test_a_gpu_has_its_number(monkeypatch):
    """Tensors on it say "cuda:0", and are compared with it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device(None) == choose_device("cuda") == torch.device("cuda", 1)
    assert choose_device("cuda:0") == torch.device("cuda", 0)
    with pytest.raises(OptionsError, match="device 'cuda:2' does not exist; the last is cuda:1"):
        choose_device("cuda:2")
