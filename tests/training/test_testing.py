"""`test` repeats the numbers of the validation; `probe` validates and trains nothing."""

from __future__ import annotations

import json

import pytest

from hfsr import training
from hfsr.checkpoints import read_model_folder
from hfsr.errors import CheckpointError, HfsrError, OptionsError
from hfsr.evaluation import evaluate, find_pairs
from hfsr.training import testing
from hfsr.training.state.training_state import newest_state

from .conftest import write_images
from .test_engine import curve

METRICS = "val:metrics={psnr: {type: calculate_psnr, crop_border: 2, test_y_channel: true}}"


def test_repeats_the_best_numbers_of_the_run_exactly(tmp_path, options):
    chosen = options(METRICS, "val:val_freq=2")
    folder = training.train(chosen, root=tmp_path)
    best = newest_state(folder / "training_states")["best"]
    (measured,) = testing.test(chosen, root=tmp_path)
    assert measured.metrics["psnr"] == best["value"]
    row = next(row for row in curve(folder) if row["iter"] == str(best["iteration"]))
    assert row["held_out/psnr"] == f"{measured.metrics['psnr']:.9g}"
    assert measured.report.psnr_y == measured.metrics["psnr"]
    report = json.loads((tmp_path / "results" / "tiny" / "report.json").read_text())
    assert report["sets"][0]["psnr_y"] == measured.report.psnr_y
    assert report["sets"][0]["protocol"]["resize"] == "MATLAB bicubic, antialiased, 8 bit"
    assert report["weights"].endswith("net_g_best")


def test_is_what_evaluate_says(tmp_path, options, images):
    folder = training.train(options(), root=tmp_path)
    (measured,) = testing.test(options(), root=tmp_path)
    network = read_model_folder(folder / "models" / "net_g_best")
    report = evaluate(network, find_pairs(images), scale=2)
    assert (report.psnr_y, report.ssim_y) == (measured.report.psnr_y, measured.report.ssim_y)


def test_without_a_best_the_latest_is_tested(tmp_path, options):
    folder = training.train(options(), root=tmp_path)
    for path in (folder / "models").glob("net_g_best*"):
        path.rename(path.with_name(f"away_{path.name}"))
    (measured,) = testing.test(options(), root=tmp_path)
    assert f"{measured.report.psnr_y:.9g}" == curve(folder)[-1]["held_out/psnr_y"]


def test_a_test_file_names_its_weights(tmp_path, options):
    folder = training.train(options(), root=tmp_path)
    named = f"path:pretrain_network_g={folder / 'models' / 'net_g_best.pth'}"
    (expected,) = testing.test(options(), root=tmp_path)
    (measured,) = testing.test(options("train=~", "name=other", named), root=tmp_path)
    assert measured.report.psnr_y == expected.report.psnr_y


def test_tiles_and_images(tmp_path, options):
    training.train(options(), root=tmp_path)
    (whole,) = testing.test(options(), root=tmp_path)
    (tiled,) = testing.test(options("val:tile_size=8", "val:save_img=true"), root=tmp_path)
    assert tiled.report.psnr_y == pytest.approx(whole.report.psnr_y, abs=0.02)
    saved = {p.name for p in (tmp_path / "results/tiny/visualization/held_out").iterdir()}
    assert saved == {"0_tiny.png", "1_tiny.png", "2_tiny.png"}


def test_nothing_to_test_is_one_line(tmp_path, options):
    with pytest.raises(CheckpointError, match="there are no weights to test"):
        testing.test(options(), root=tmp_path)
    without = options().model_copy(update={"datasets": {}})
    with pytest.raises(OptionsError, match="nothing to measure"):
        testing.test(without, root=tmp_path)


def test_a_check_times_and_leaves_nothing(tmp_path, options, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.rglob("*"))
    report = training.check_training(options())
    assert set(tmp_path.rglob("*")) == before
    assert (report.parameters, report.images, report.validation_images) == (1259, 3, 3)
    assert report.seconds_per_iteration > 0
    assert report.peak_memory_bytes > 2**20
    assert "1,259 parameters" in str(report)


@pytest.mark.parametrize("phase", ["train", "val"])
def test_a_check_finds_what_would_stop_the_training(tmp_path, options, phase):
    bad = write_images(tmp_path / "bad")
    (bad / "1.png").write_bytes((bad / "1.png").read_bytes()[:90])
    with pytest.raises(HfsrError, match=r"1\.png"):
        training.check_training(options(f"datasets:{phase}:dataroot_gt={bad}"))


def test_a_check_takes_what_a_run_would(tmp_path, options, monkeypatch):
    """Accumulation, checkpoints of blocks and a discriminator are timed with the rest; nothing is begun."""
    monkeypatch.chdir(tmp_path)
    words = (
        "model_type=ESRGANModel",
        "network_d={type: SRGANDiscriminator, num_feat: 2, input_size: 16, num_hidden: 4}",
        "train:optim_d={type: Adam, lr: 1e-3}",
        "train:gan_opt={type: GANLoss, gan_type: vanilla}",
        "datasets:train:accum_iter=2",
        "logger:push_to_hub=org/name",
    )
    before = set(tmp_path.rglob("*"))
    assert training.check_training(options(*words)).iterations == 6
    assert set(tmp_path.rglob("*")) == before
