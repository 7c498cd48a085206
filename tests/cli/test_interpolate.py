"""`hfsr interpolate`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hfsr import model_zoo
from hfsr.checkpoints import load_checkpoint, save_checkpoint, write_model_folder
from hfsr.cli import main
from hfsr.hub import from_pretrained


@pytest.fixture
def pair(tmp_path, monkeypatch):
    """Two trainings of one network: a folder and a file."""
    monkeypatch.chdir(tmp_path)
    a, b = (model_zoo.create_model("srresnet_tiny").eval() for _ in range(2))
    for model in (a, b):
        for tensor in (t for t in model.state_dict().values() if t.is_floating_point()):
            tensor.uniform_(0.1, 1)
    b.state_dict()["body.0.bn1.num_batches_tracked"].fill_(7)
    write_model_folder(a, "a")
    save_checkpoint(b, "b.safetensors")
    return a.state_dict(), b.state_dict()


@pytest.mark.parametrize("out", ["mixed", "mixed.pth", "mixed.safetensors"])
def test_every_weight_lies_between(pair, capsys, tmp_path, out):
    a, b = pair
    assert main(["interpolate", "a", "b.safetensors", "--alpha", "0.8", "-o", out]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "0.2 × `a` + 0.8 × `b.safetensors`" in captured.out
    mixed = from_pretrained(out).state_dict()
    for key, tensor in mixed.items():
        if tensor.is_floating_point():
            assert torch.allclose(tensor, 0.2 * a[key] + 0.8 * b[key], rtol=1e-6), key
        else:
            assert torch.equal(tensor, a[key])
    assert not list(tmp_path.rglob("*.partial"))


def test_the_card_says_so(pair):
    assert main(["interpolate", "a", "b.safetensors", "--alpha", "0.25", "-o", "mixed"]) == 0
    card = Path("mixed/README.md").read_text(encoding="utf-8")
    assert "| interpolated | 0.75 × `a` + 0.25 × `b.safetensors`, weight by weight |" in card


@pytest.mark.parametrize(("alpha", "which"), [("0", 0), ("1", 1)])
def test_the_ends_are_the_two_themselves(pair, alpha, which):
    assert main(["interpolate", "a", "b.safetensors", "--alpha", alpha, "-o", "end.pth"]) == 0
    for key, tensor in load_checkpoint("end.pth").state_dict().items():
        assert not tensor.is_floating_point() or torch.equal(tensor, pair[which][key])


@pytest.mark.parametrize(
    ("other", "alpha", "told"),
    [
        ("edsr_tiny", "0.5", "'a' is SRResNet x2 and 'other' is EDSR x2; interpolation needs"),
        ("wider", "0.5", "whose tensors differ: conv_first.weight"),
        ("same", "1.5", "alpha 1.5 is not between 0 (the first) and 1 (the second)"),
        (None, "0.5", "no model 'other'"),
    ],
)
def test_what_cannot_be_mixed_is_one_line(pair, capsys, tmp_path, other, alpha, told):
    if other == "edsr_tiny":
        write_model_folder(model_zoo.create_model(other), "other")
    elif other is not None:
        words = {"num_feat": 12} if other == "wider" else {}
        write_model_folder(model_zoo.create_model("srresnet_tiny", **words), "other")
    assert main(["interpolate", "a", "other", "--alpha", alpha, "-o", "out"]) == 1
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert told in error
    assert not (tmp_path / "out").exists()
