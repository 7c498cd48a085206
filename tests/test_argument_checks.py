"""Arguments of public functions of the wrong kind: one line, never an error from deep inside."""

from __future__ import annotations

import pytest
import torch

import hfsr
from hfsr.errors import HfsrError

MODEL = hfsr.create_model("espcn_tiny").eval()
UP = hfsr.Upscaler(MODEL, device="cpu")

CALLS = {
    "from_pretrained, no name": (lambda: hfsr.from_pretrained(None), "name is of type NoneType"),
    "from_pretrained, scale": (
        lambda: hfsr.from_pretrained("hfsr-x2", scale="2"),
        "scale '2' is not allowed",
    ),
    "from_pretrained, model_args": (
        lambda: hfsr.from_pretrained("hfsr-x2", model_args=3),
        "model_args is of type int; use a dictionary",
    ),
    "load_checkpoint": (lambda: hfsr.load_checkpoint(None), "path is of type NoneType; use a text or a path"),
    "load_checkpoint, scale": (lambda: hfsr.load_checkpoint("a.pth", scale=-1), "scale -1 is not allowed"),
    "create_model": (lambda: hfsr.create_model(3), "name is of type int; use a text"),
    "save_pretrained": (lambda: hfsr.save_pretrained(MODEL, None), "folder is of type NoneType"),
    "register_arch": (lambda: hfsr.register_arch(3), "spec is of type int; use an ArchSpec"),
    "push_to_hub": (lambda: hfsr.push_to_hub(MODEL, 4), "repo_id is of type int; use a text"),
    "ZeroShot": (lambda: hfsr.ZeroShot(scale="x"), "scale 'x' is not allowed; use a number from 1 to 8"),
    "ZeroShot, three": (lambda: hfsr.ZeroShot(scale=(1, 2, 3)), "scale (1, 2, 3) is not allowed"),
    "plan, text": (lambda: UP.plan("3", 3), "width and height ('3', 3) are not allowed"),
    "plan, nothing": (lambda: UP.plan(0, 3), "use two whole numbers of px above 0"),
    "plan, bits": (lambda: UP.plan(3, 3, "x"), "bits 'x' are not allowed; use 8, 16 or 32"),
    "forecast": (lambda: UP.forecast(-1, 3), "width and height (-1, 3) are not allowed"),
    "forecast, result": (lambda: UP.forecast(8, 8, result=3), "result 3 are not allowed"),
    "result_size": (lambda: UP.result_size(3), "size 3 are not allowed"),
    "Upscaler, a list": (lambda: hfsr.Upscaler([MODEL, 3]), "model is of type int; give a network"),
    "tensor": (lambda: UP.tensor(torch.zeros(3, 4, 5)), "need floats in [0, 1], shape (B, 3, H, W)"),
}


@pytest.mark.parametrize("name", CALLS)
def test_it_is_one_line(name):
    call, message = CALLS[name]
    with pytest.raises(HfsrError) as caught:
        call()
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
