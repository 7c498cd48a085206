"""`hfsr convert`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch

from hfsr.cli import main
from hfsr.hub import from_pretrained
from hfsr.model_zoo import create_model


def test_a_released_checkpoint_becomes_a_model_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = create_model("edsr_tiny").eval()
    torch.save({"params": model.state_dict()}, "released.pth")
    assert main(["convert", "released.pth", "out/edsr", "--licence", "mit"]) == 0
    captured = capsys.readouterr()
    (warning,) = captured.err.splitlines()  # of random weights
    assert "images of one color come back wrong" in warning
    lines = [line.split(None, 1) for line in captured.out.splitlines()]
    assert ["network", "EDSR"] in lines
    assert ["scale", "2"] in lines
    assert ["parameters", "5,699"] in lines
    assert sorted(path.name for path in Path("out/edsr").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    assert json.loads(Path("out/edsr/config.json").read_text())["architecture"] == "EDSR"
    card = Path("out/edsr/README.md").read_text()
    assert hashlib.sha256(Path("released.pth").read_bytes()).hexdigest() in card
    assert "license: mit" in card
    assert 'from_pretrained("out/edsr")' in card
    x = torch.rand(1, 3, 7, 9)
    with torch.no_grad():
        assert torch.equal(from_pretrained("out/edsr")(x), model(x))


def test_weights_stored_in_half_come_back_in_fp32(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = create_model("edsr_tiny").eval()
    torch.save(model.state_dict(), "released.pth")
    assert main(["convert", "released.pth", "half", "--dtype", "fp16"]) == 0
    assert main(["convert", "released.pth", "full"]) == 0
    sizes = [Path(folder, "model.safetensors").stat().st_size for folder in ("half", "full")]
    assert sizes[0] < 0.6 * sizes[1]
    assert "the weights are rounded to float16." in Path("half/README.md").read_text()
    assert "the weights are unchanged." in Path("full/README.md").read_text()
    again = from_pretrained("half")
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor.half().float())
    assert not torch.equal(again.body[0].conv1.weight, model.body[0].conv1.weight)


def test_weights_too_large_for_half_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = create_model("edsr_tiny")
    with torch.no_grad():
        model.body[0].conv1.weight[0, 0, 0, 0] = 7e4
    torch.save(model.state_dict(), tmp_path / "large.pth")
    assert main(["convert", str(tmp_path / "large.pth"), str(tmp_path / "out"), "--dtype", "fp16"]) == 1
    (_, line) = capsys.readouterr().err.splitlines()  # after the warning about random weights
    assert "beyond float16's 65504, as in 'body.0.conv1.weight'" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("preset", "role"), [("biggan_discriminator_tiny", "discriminator"), ("drn_dual_tiny", "generator")]
)
def test_what_restores_nothing_is_converted_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], preset: str, role: str
) -> None:
    model = create_model(preset)
    torch.save(model.state_dict(), tmp_path / "released.pth")
    assert main(["convert", str(tmp_path / "released.pth"), str(tmp_path / "out")]) == 0
    lines = [line.split(None, 1) for line in capsys.readouterr().out.splitlines()]
    assert ["role", role] in lines
    again = from_pretrained(str(tmp_path / "out"))
    assert type(again) is type(model)
    assert again.model_args == model.model_args


def test_the_scale_is_asked_for_where_tensors_hide_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A2N at x2 and at x3 has the same tensors."""
    path = tmp_path / "weights.pt"
    torch.save(create_model("a2n_tiny").state_dict(), path)
    assert main(["convert", str(path), str(tmp_path / "out")]) == 1
    assert "show the scale" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main(["convert", str(path), str(tmp_path / "out"), "-s", "3", "--arch", "A2N"]) == 0
    assert from_pretrained(tmp_path / "out").scale == 3


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_what_is_no_checkpoint_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (tmp_path / "bad.pth").write_bytes(content)
    assert main(["convert", str(tmp_path / "bad.pth"), str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(["convert", "only-one"])
    assert error.value.code == 2


def test_what_a_network_of_several_uses_is_for_is_told(tmp_path: Path) -> None:
    torch.save(create_model("mirnet_tiny").state_dict(), tmp_path / "lol.pth")
    out = tmp_path / "out"
    for words, task, does in (
        ([], "denoising", "removes noise from images"),
        (["--task", "enhancement"], "enhancement", "corrects the light and the colors of images"),
    ):
        assert main(["convert", str(tmp_path / "lol.pth"), str(out), *words]) == 0
        assert json.loads((out / "config.json").read_text())["task"] == task
        assert does in (out / "README.md").read_text()


def test_what_no_tensor_shows_is_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    stated = {"img_range": 1, "rgb_mean": [0.5, 0.5, 0.25]}
    model = create_model("edsr_tiny", **stated).eval()
    torch.save({"params": model.state_dict()}, "net_g.pth")
    settings = ["--set", "img_range=1", "--set", "rgb_mean=0.5,0.5,0.25"]
    assert main(["convert", "net_g.pth", "out", *settings]) == 0
    lines = [line.split(None, 1) for line in capsys.readouterr().out.splitlines()]
    assert ["img_range", "1: as stated"] in lines
    assert ["rgb_mean", "0.5,0.5,0.25: as stated"] in lines
    evidence = json.loads(Path("out/config.json").read_text())["evidence"]
    assert evidence["img_range"] == "1: as stated"
    x = torch.rand(1, 3, 7, 9)
    with torch.no_grad():
        assert torch.equal(from_pretrained("out")(x), model(x))


def test_truth_values_are_set_too(tmp_path: Path) -> None:
    model = create_model("dbpn_tiny", residual=True)
    torch.save(model.state_dict(), tmp_path / "dbpn.pth")
    assert main(["convert", str(tmp_path / "dbpn.pth"), str(tmp_path / "out"), "--set", "residual=true"]) == 0
    assert from_pretrained(tmp_path / "out").model_args["residual"] is True


@pytest.mark.parametrize(
    ("setting", "code", "message"),
    [
        ("img_rnge=1", 1, "EDSR has no argument 'img_rnge'; did you mean 'img_range'?"),
        ("img_range=wide", 1, "EDSR takes a number"),
        ("num_feat=32", 1, "num_feat=32 contradicts its tensors, which show 8"),
        ("img_range", 2, "is not NAME=VALUE"),
        ("=1", 2, "is not NAME=VALUE"),
        ("img_range=", 2, "is not NAME=VALUE"),
    ],
)
def test_settings_that_cannot_be(
    setting: str, code: int, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(create_model("edsr_tiny").state_dict(), tmp_path / "net.pth")
    assert main(["convert", str(tmp_path / "net.pth"), str(tmp_path / "out"), "--set", setting]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "out").exists()


def test_two_values_of_one_setting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(create_model("edsr_tiny").state_dict(), tmp_path / "net.pth")
    words = ["--set", "img_range=1", "--set", "img_range=255"]
    assert main(["convert", str(tmp_path / "net.pth"), str(tmp_path / "out"), *words]) == 2
    assert "--set gives img_range twice" in capsys.readouterr().err


def test_what_was_concluded_and_from_what(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The warning about random weights is one line."""
    torch.save({"params": create_model("edsr_tiny").state_dict()}, tmp_path / "net.pth")
    assert main(["convert", str(tmp_path / "net.pth"), str(tmp_path / "out")]) == 0
    captured = capsys.readouterr()
    assert "img_range   255: as in the released weights" in captured.out
    (line,) = captured.err.splitlines()
    assert line.startswith("hfsr convert: warning: '")
    assert "images of one color come back wrong by" in line
    assert "--set img_range=1" in line
