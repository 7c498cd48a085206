"""Weights to start from: another scale's, a folder's, the Hub's."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from hfsr import hub, model_zoo, training
from hfsr.checkpoints import save_checkpoint, write_model_folder
from hfsr.cli import main
from hfsr.errors import CheckpointError
from hfsr.samples.draw import draw
from hfsr.training.engine import Engine
from hfsr.training.setup import build_batches, make_accelerator

from .conftest import Options, write_images


def started(options, source, *overrides):
    return options(f"path:pretrain_network_g={source}", "path:strict_load_g=false", *overrides)


@pytest.fixture
def a2n(tmp_path):
    """A2N x2 of a tiny size as a model folder, and the words for the same size at x4."""
    network = model_zoo.create_model("a2n_tiny", scale=2)
    write_model_folder(network, tmp_path / "a2n-x2")
    words = {k: v for k, v in network.model_args.items() if k not in ("upscale", "scale")}
    return network.state_dict(), tmp_path / "a2n-x2", f"network_g={ {'type': 'A2N', **words} }"


def test_a2n_x2_starts_x4_and_the_log_lists_what_is_new(tmp_path, options, a2n, caplog):
    before, source, network = a2n
    chosen = started(options, source, network, "scale=4", "datasets:train:gt_size=32", "train:total_iter=1")
    found = Engine(chosen, tmp_path).recipe.networks["net_g"].state_dict()
    fresh = {key for key in found if key not in before}
    assert fresh
    assert {key.split(".")[0] for key in fresh} == {"upconv2", "att2", "HRconv2"}
    for key in before:
        assert torch.equal(found[key], before[key]), key
    with caplog.at_level(logging.INFO, logger="hfsr"):
        folder = training.train(chosen, root=tmp_path)
    told = next(r.getMessage() for r in caplog.records if "re-initialized" in r.getMessage())
    assert told.startswith(f"net_g: {len(before)} tensors start from '{source}'; re-initialized: ")
    assert all(key in told for key in fresh)
    (log,) = folder.glob("*.log")
    assert told in log.read_text()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a2n_learns_x4_better_from_x2_than_from_nothing(tmp_path: Path, options: Options) -> None:
    """500 iterations in either case: 400 at x2 and 100 at x4, or all of them at x4."""
    scene = draw()
    for number in range(20):  # of the lower half, which is not as smooth as the sky
        left, top = number % 10 * 104, 300 + number // 10 * 144
        folder = tmp_path / ("val" if number % 5 == 4 else "gt")
        folder.mkdir(exist_ok=True)
        scene.crop((left, top, left + 104, top + 144)).save(folder / f"{number:02}.png")
    network = "{type: A2N, num_feat: 16, num_block: 4, num_feat_up: 12}"

    def trained(name: str, scale: int, iterations: int, *overrides: str) -> float:
        """Returns the PSNR on Y of the averaged weights at the end."""
        chosen = options(
            *(f"name={name}", f"scale={scale}", f"network_g={network}", f"train:total_iter={iterations}"),
            *(f"datasets:train:dataroot_gt={tmp_path / 'gt'}", "datasets:train:gt_size=64"),
            f"datasets:val:dataroot_gt={tmp_path / 'val'}",
            *("datasets:train:use_hflip=true", "datasets:train:use_rot=true", "train:ema_decay=0.98"),
            *("train:pixel_opt:type=CharbonnierLoss", "train:scheduler:milestones=[100000]"),
            *(f"val:val_freq={iterations}", "logger:save_checkpoint_freq=100000", "manual_seed=0"),
            *overrides,
        )
        folder = training.train(chosen, root=tmp_path)
        found = re.findall(r"PSNR-Y ([0-9.]+) dB", next(folder.glob("*.log")).read_text())
        return float(found[-1])

    trained("x2", 2, 400)
    start = f"path:pretrain_network_g={tmp_path}/experiments/x2/models/net_g_latest"
    transferred = trained("x4", 4, 100, start, "path:strict_load_g=false")
    fresh = trained("x4_from_nothing", 4, 500)
    assert transferred >= fresh + 0.2, (transferred, fresh)


def test_edsr_keeps_its_body_and_renews_its_enlargement(tmp_path, options):
    network = model_zoo.build("EDSR", num_feat=4, num_block=1, scale=2)
    save_checkpoint(network, tmp_path / "edsr_x2.safetensors")
    before = network.state_dict()
    x3 = ("scale=3", "datasets:train:gt_size=18")
    engine = Engine(started(options, tmp_path / "edsr_x2.safetensors", *x3), tmp_path)
    assert engine.start.fresh == ("upsample.0.weight", "upsample.0.bias")
    for key, tensor in engine.recipe.networks["net_g"].state_dict().items():
        if key not in engine.start.fresh:
            assert torch.equal(tensor, before[key]), key


def test_from_the_hub(tmp_path, options, monkeypatch):
    network, asked = model_zoo.build("EDSR", num_feat=4, num_block=1, scale=2), []
    monkeypatch.setattr(hub, "from_pretrained", lambda name: asked.append(name) or network)
    engine = Engine(options("path:pretrain_network_g=org/edsr-x2"), tmp_path)
    assert asked == ["org/edsr-x2"]
    assert str(engine.start) == f"{len(network.state_dict())} tensors start from 'org/edsr-x2'"
    for key, tensor in engine.recipe.networks["net_g"].state_dict().items():
        assert torch.equal(tensor, network.state_dict()[key])


def test_a_bundled_model_by_its_name(tmp_path, options):
    words = hub.from_pretrained("hfsr-x2-small").model_args
    engine = Engine(
        options("path:pretrain_network_g=hfsr-x2-small", f"network_g={ {'type': 'EDSR', **words} }"), tmp_path
    )
    assert engine.start.fresh == ()


def test_weights_of_which_nothing_fits_are_refused(tmp_path, options):
    save_file({"a.weight": torch.ones(3)}, tmp_path / "other.safetensors")
    with pytest.raises(
        CheckpointError, match=r"nothing in .*other.safetensors' fits this EDSR: it holds a\.weight"
    ):
        Engine(started(options, tmp_path / "other.safetensors"), tmp_path)


def test_a_run_that_goes_on_does_not_say_where_it_started(tmp_path, options, caplog):
    folder = training.train(options("train:total_iter=2"), root=tmp_path)
    chosen = options(f"path:pretrain_network_g={folder / 'models' / 'net_g_latest'}", "train:total_iter=3")
    with caplog.at_level(logging.INFO, logger="hfsr"):
        training.train(chosen, auto_resume=True, root=tmp_path)
    assert "start from" not in caplog.text


def test_the_articles_recipe_from_sub_images_to_x4(tmp_path, monkeypatch):
    """The commands that `a2n_x2_notes.yml` and `a2n_x4_notes.yml` name, in their order, on small images."""
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "datasets" / "DIV2K" / "DIV2K_train_HR", count=2, size=(96, 80))
    write_images(tmp_path / "datasets" / "DIV2K" / "DIV2K_valid_HR", count=1, size=(48, 40))
    folder = "datasets/DIV2K"
    assert (
        main(
            [
                "prepare",
                "subimages",
                f"{folder}/DIV2K_train_HR",
                f"{folder}/train_480",
                "--size",
                "48",
                "--step",
                "20",
            ]
        )
        == 0
    )
    assert main(["prepare", "h5", f"{folder}/train_480", f"{folder}/train_480.h5"]) == 0
    small = ["num_gpu=0", "network_g:num_feat=8", "network_g:num_block=1", "network_g:num_feat_up=4"]
    small += [
        "datasets:train:gt_size=32",
        "datasets:train:batch_size_per_gpu=2",
        "logger:use_tb_logger=false",
    ]
    starts = {}
    for scale in (2, 4):
        options = training.load_options(f"options/a2n_x{scale}_notes.yml", [*small, "train:total_iter=2"])
        batches = build_batches(options, make_accelerator(options))
        assert len(batches.source) == 24
        lq, gt = batches.source.pairs[0]
        assert (lq == np.asarray(Image.fromarray(gt).resize(lq.shape[1::-1], Image.Resampling.BICUBIC))).all()
        starts[scale] = Engine(options, tmp_path).start
        training.train(options, root=tmp_path)
    assert starts[2] is None
    assert starts[4].copied > 20
    assert all(name.startswith(("upconv2", "att2", "HRconv2")) for name in starts[4].fresh)
