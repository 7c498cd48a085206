"""The engine's words in an option file: each has its effect, or is refused or said in one line."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys

import pytest
import torch

from hfsr import training
from hfsr.checkpoints import read_state_dict
from hfsr.errors import HfsrError, OptionsError
from hfsr.options import Typed
from hfsr.training import setup, testing
from hfsr.training.engine import Engine
from hfsr.training.loop import grad_checkpointing
from hfsr.training.loop.prefetch import BatchPrefetcher
from hfsr.training.setup import build_batches

from .test_engine import curve


def test_float16_on_a_cpu_is_refused(tmp_path, options):
    with pytest.raises(OptionsError, match="float16, which needs a GPU; on a CPU use amp_bf16: true"):
        Engine(options("use_amp=true", "amp_bf16=false"), tmp_path)


@pytest.mark.gpu
@pytest.mark.parametrize("bf16", ["true", "false"])
def test_mixed_precision_on_a_gpu_resumes_to_the_same_losses(tmp_path, options, bf16):
    words = ("num_gpu=1", "use_amp=true", f"amp_bf16={bf16}", "use_channels_last=true")
    whole = curve(training.train(options(*words), root=tmp_path / "whole"))
    training.train(options(*words, "train:total_iter=4"), root=tmp_path / "parts")
    parts = curve(training.train(options(*words), auto_resume=True, root=tmp_path / "parts"))
    assert [row["l_pix"] for row in parts] == pytest.approx([row["l_pix"] for row in whole], rel=1e-3)


@pytest.mark.parametrize("engine", ["FSDP", "DEEPSPEED"])
def test_sharding_engines_are_refused_in_one_line(tmp_path, options, monkeypatch, engine):
    monkeypatch.setenv(f"ACCELERATE_USE_{engine}", "true")
    with pytest.raises(OptionsError, match=rf"set to shard the network \({engine}\).*--multi_gpu"):
        Engine(options(), tmp_path)


@pytest.mark.slow
def test_a_compiled_network_learns_the_same(tmp_path, options):
    plain = curve(training.train(options(), root=tmp_path / "plain"))
    compiled = training.train(options("use_compile=true"), root=tmp_path / "compiled")
    for one, other in zip(plain, curve(compiled), strict=True):
        if one["l_pix"]:
            assert float(other["l_pix"]) == pytest.approx(float(one["l_pix"]), rel=1e-4)
    saved = read_state_dict(compiled / "models" / "net_g_latest.pth")[0]
    assert not any("_orig_mod" in key for key in saved)


@pytest.mark.slow
def test_where_torch_cannot_compile_it_is_one_line(tmp_path, option_file):
    command = [sys.executable, "-m", "hfsr", "train", "-opt", str(option_file)]
    # In a process of its own: torch looks for its compiler once.
    without = {
        **os.environ,
        "CXX": str(tmp_path / "no-compiler"),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
    }
    done = subprocess.run(
        [*command, "--force_yml", "use_compile=true"],
        cwd=tmp_path,
        env=without,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert re.search(r"use_compile: torch cannot compile here .*; set it to false", last)
    assert "Traceback" not in done.stderr


def test_an_id_that_is_none_stops_before_anything_is_read(tmp_path, options):
    with pytest.raises(OptionsError, match="'no-owner' is not an id on the Hub: write owner/name"):
        Engine(options("logger:push_to_hub=no-owner", "datasets:train:dataroot_gt=absent"), tmp_path)


def test_frozen_and_slower_parts(tmp_path, options):
    groups = '[{match: "conv_first.*", lr_mul: 0}, {match: "upsample.*", lr_mul: 0.1}]'
    start = Engine(options(), tmp_path).recipe.networks["net_g"].state_dict()
    folder = training.train(options(f"train:param_groups={groups}", "train:total_iter=1"), root=tmp_path)
    end = torch.load(folder / "models" / "net_g_latest.pth", weights_only=True)["params"]
    # The first step of Adam moves each weight by the rate.
    moved = {key: float((end[key] - start[key]).abs().max()) for key in start}
    assert moved["conv_first.weight"] == 0
    assert moved["upsample.0.weight"] == pytest.approx(1e-4, rel=0.05)
    assert moved["conv_last.weight"] == pytest.approx(1e-3, rel=0.05)
    training.train(options(f"train:param_groups={groups}"), auto_resume=True, root=tmp_path)


def test_checkpointed_blocks_give_the_same_weights_and_run_twice(tmp_path, options, monkeypatch):
    words = ("network_g={type: EDSR, num_feat: 4, num_block: 3}", "train:ema_decay=0")
    plain = training.train(options(*words), root=tmp_path / "plain")
    calls = []
    original = grad_checkpointing.checkpoint

    def counted(*args, **kwargs):
        calls.append(1)
        return original(*args, **kwargs)

    monkeypatch.setattr(grad_checkpointing, "checkpoint", counted)
    folder = training.train(options(*words, "use_checkpointing=true"), root=tmp_path / "checkpointed")
    assert len(calls) == 6 * 3, "every block in every iteration, never while validating"
    one, other = (read_state_dict(f / "models" / "net_g_latest.pth")[0] for f in (plain, folder))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_network_without_blocks_to_repeat_cannot_be_checkpointed(tmp_path, options):
    with pytest.raises(OptionsError, match="use_checkpointing: SRCNN has no repeated blocks"):
        Engine(options("network_g={type: SRCNN}", "use_checkpointing=true"), tmp_path)


def test_statistics_are_not_updated_twice(options):
    network = torch.nn.Sequential(*(torch.nn.Sequential(torch.nn.BatchNorm2d(2)) for _ in range(2)))
    with pytest.raises(OptionsError, match="without batch statistics"):
        grad_checkpointing.checkpoint_blocks(network)


def test_threads_cut_the_same_batches_ahead(tmp_path, options):
    engine = Engine(options(), tmp_path)
    batches = build_batches(options(), engine.accelerator)
    ahead = BatchPrefetcher(batches, 2)
    for seen in (0, 4, 8, 12, 40, 44):
        assert torch.equal(ahead.at(seen)["lq"], batches.at(seen)["lq"])
    ahead.close()
    in_step = training.train(options(), root=tmp_path / "step")
    threads = training.train(options("datasets:train:num_worker_per_gpu=2"), root=tmp_path / "threads")
    one, other = (read_state_dict(f / "models" / "net_g_latest.pth")[0] for f in (in_step, threads))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_words_without_effect_are_said(tmp_path, options, caplog):
    words = ("val:pbar=true", "datasets:train:prefetch_mode=cpu", "dist_params={backend: nccl}")
    with caplog.at_level(logging.INFO, logger="hfsr"):
        training.train(options(*words), root=tmp_path)
    (told,) = (r.getMessage() for r in caplog.records if "without effect" in r.getMessage())
    assert told.endswith("datasets.train.prefetch_mode, val.pbar, dist_params (the launcher decides)")


@pytest.mark.parametrize("key", ["params", "params_ema", "params_of_others"])
def test_the_entry_to_start_from(tmp_path, options, caplog, key):
    path = training.train(options(), root=tmp_path) / "models" / "net_g_latest.pth"
    saved = torch.load(path, weights_only=True)
    log = logging.getLogger("hfsr")
    log.addHandler(caplog.handler)  # other packages may have changed the root's handlers and level
    try:
        with caplog.at_level(logging.WARNING, logger="hfsr"):
            engine = Engine(options(f"path:pretrain_network_g={path}", f"path:param_key_g={key}"), tmp_path)
    finally:
        log.removeHandler(caplog.handler)
    expected = saved.get(key, saved["params_ema"])
    for name, tensor in engine.recipe.networks["net_g"].state_dict().items():
        assert torch.equal(tensor, expected[name])
    assert ("has no 'params_of_others'" in caplog.text) == (key not in saved)


def test_a_network_of_another_package_trains(tmp_path, options):
    network = "network_g={type: SRVGGNetCompact, num_feat: 4, num_conv: 1, upscale: 2}"
    folder = training.train(options(network), root=tmp_path)
    saved = torch.load(folder / "models" / "net_g_latest.pth", weights_only=True)
    assert "body.0.weight" in saved["params_ema"]
    assert not (folder / "models" / "net_g_latest").exists()
    training.train(options(network, "train:total_iter=8"), auto_resume=True, root=tmp_path)
    assert [m.set for m in training.test(options(network), root=tmp_path)] == ["held_out"]
    with pytest.raises(OptionsError, match=r"network_g\.num_feet: unknown key; did you mean 'num_feat'"):
        options("network_g={type: SRVGGNetCompact, num_feet: 4}")
    with pytest.raises(OptionsError, match="SRVGGNetCompact is another package's network and runs whole"):
        training.train(options(network, "val:tile_size=8"), root=tmp_path)
    with pytest.raises(OptionsError, match="push_to_hub: SRVGGNetCompact is another package's"):
        training.train(options(network, "logger:push_to_hub=org/x"), root=tmp_path)


def test_theirs_is_meant_by_its_suffix_where_the_name_is_ours_too(tmp_path, options):
    network = (
        "network_g={type: EDSR_basicsr, num_in_ch: 3, num_out_ch: 3, num_feat: 4, num_block: 1, upscale: 2}"
    )
    engine = Engine(options(network), tmp_path)
    assert type(engine.recipe.networks["net_g"]).__module__.startswith("basicsr.")


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("network_g:num_feat=0", r"EDSR: conv_first\.weight has no elements; widths must be 1 or more"),
        ("train:pixel_opt:reduction='none'", "L1Loss: reduction none gives no scalar to minimize"),
        ("datasets:train:scales=[2, 3]", "EDSR has weights for one scale, x2; train it on that"),
        ("datasets:train:lq_size=8", "datasets.train: lq_size goes with scales"),
        (
            "datasets:train:type=RealESRGANDataset",
            "datasets.train: RealESRGANDataset needs the key 'meta_info'",
        ),
        ("datasets:train:dataroot_gt=[]", "datasets:train: dataroot_gt names no folder"),
        (
            "val:metrics={n: {type: calculate_niqe, crop_border: 2}}",
            "the metric calculate_niqe cannot measure an image of 40x36 px: ",
        ),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, options, override, told):
    with pytest.raises(HfsrError, match=told) as caught:
        training.train(options(override), root=tmp_path)
    assert "\n" not in str(caught.value)


def test_a_network_of_another_package_that_cannot_be_built_is_one_line(monkeypatch):
    monkeypatch.setattr(setup.bridge, "find_network", lambda _: torch.nn.Conv2d)
    section = Typed(type="Foreign", in_channels=3, out_channels="eight", kernel_size=3)
    with pytest.raises(OptionsError, match="Foreign cannot be built from its arguments: ") as caught:
        setup.build_section(section)
    assert "\n" not in str(caught.value)


def test_images_without_ground_truth_are_no_training_set(tmp_path, options, images):
    alone = f"{{type: SingleImageDataset, dataroot_lq: {images}, lq_size: 8, batch_size_per_gpu: 2}}"
    for scale in (1, 2):
        words = (f"scale={scale}", "network_g={type: MSRResNet, num_feat: 4, num_block: 1}")
        with pytest.raises(
            OptionsError, match=r"datasets.train.type: SingleImageDataset has no ground truth to train on"
        ):
            training.train(options(f"datasets:train={alone}", *words), root=tmp_path)


def test_an_image_that_a_validation_list_names_twice_counts_twice(tmp_path, options):
    (tmp_path / "list.txt").write_text("0.png\n1.png\n0.png\n")
    listed = options(f"datasets:val:meta_info_file={tmp_path / 'list.txt'}", "train:total_iter=1")
    training.train(listed, root=tmp_path)
    (measured,) = testing.test(listed, root=tmp_path)
    assert measured.report.images == 3
