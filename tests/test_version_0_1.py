"""Files, option keys and command lines of hfsr 0.1 keep working.

Commit 5048c50 wrote `tests/version_0_1/`: a run that stopped after 4 of 6 iterations, the curve of all six, a
quantized model, a pack, enlarged images, the options of each command, and the keys of the schema.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import hfsr
from hfsr import cli, training
from hfsr.checkpoints import load_checkpoint
from hfsr.cli import COMMANDS, build_parser
from hfsr.data.pack import Pack
from hfsr.options.schema import schema_text

OLD = Path(__file__).parent / "version_0_1"


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image).astype(int)


def curve(path: Path) -> dict[str, dict[str, str]]:
    with path.open() as file:
        return {row["iter"]: row for row in csv.DictReader(file)}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the run, its option file and its photos."""
    shutil.copytree(OLD / "run", tmp_path / "experiments" / "tiny")
    shutil.copytree(OLD / "photos", tmp_path / "photos")
    shutil.copy(OLD / "tiny.yml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_run_resumes_to_what_it_would_have_given(folder: Path) -> None:
    options = training.load_options(folder / "tiny.yml")
    run = training.train(options, auto_resume=True, root=folder)
    expected, found = curve(OLD / "expected_curve.csv"), curve(run / "training_curve.csv")
    assert found.keys() == expected.keys()
    for iteration in ("5", "6"):
        for name in ("l_pix", "l_luma", "lr", "held_out/psnr", "held_out/psnr_y", "held_out/ssim_y"):
            old, new = expected[iteration][name], found[iteration][name]
            assert bool(old) == bool(new)
            assert not old or float(new) == pytest.approx(float(old), rel=1e-4), (iteration, name)
    old_model = hfsr.from_pretrained(OLD / "run/models/net_g_latest").state_dict()
    for key, tensor in hfsr.from_pretrained(run).state_dict().items():
        torch.testing.assert_close(tensor, old_model[key], rtol=1e-3, atol=1e-5)


def test_a_model_folder_gives_the_same_image(folder: Path) -> None:
    model = ["-m", "experiments/tiny/models/net_g_latest"]
    assert cli.main(["upscale", "photos/0.png", *model, "--dtype", "fp32", "-o", "sr.png"]) == 0
    assert np.abs(pixels(folder / "sr.png") - pixels(OLD / "expected_x2.png")).max() <= 1


def test_a_quantized_model_gives_the_same_image(folder: Path) -> None:
    model = hfsr.from_pretrained(OLD / "int8")
    hfsr.Upscaler(model, dtype="fp32", backend="torch")(folder / "photos/0.png").save(folder / "sr.png")
    assert np.abs(pixels(folder / "sr.png") - pixels(OLD / "expected_int8_x2.png")).max() <= 1


def test_a_pth_and_a_pack_are_read() -> None:
    assert load_checkpoint(OLD / "run/models/net_g_4.pth").scale == 2
    pack = Pack(OLD / "photos.pack")
    assert len(pack.names) == 2
    assert pack.read(pack.names[0]).shape == (16, 16, 3)


@pytest.mark.parametrize("command", json.loads((OLD / "commands.json").read_text()))
def test_no_option_of_a_command_is_gone(command: str) -> None:
    assert command in COMMANDS
    known: set[str] = set()
    pending = [build_parser("hfsr", command)]
    while pending:
        for action in pending.pop()._actions:
            known.update(action.option_strings)
            if isinstance(action, argparse._SubParsersAction):
                known.update(action.choices)
                pending.extend(action.choices.values())
    assert set(json.loads((OLD / "commands.json").read_text())[command]) <= known


def test_no_key_of_option_files_is_gone() -> None:
    schema = json.loads(schema_text())
    known = {"file": set(schema["properties"])}
    for name, definition in schema["$defs"].items():
        known[name] = set(definition.get("properties", ()))
        for branch in definition.get("anyOf", ()):
            kind = branch.get("properties", {}).get("type", {}).get("const")
            known[f"{name} {kind}"] = set(branch.get("properties", ()))
    for place, keys in json.loads((OLD / "option_keys.json").read_text()).items():
        assert set(keys) <= known[place], place
