"""`test` repeats the numbers of the validation; `probe` validates and trains nothing."""

from __future__ import annotations

import json
import logging

import pytest
import torch

from hfsr import training
from hfsr.checkpoints import read_model_folder
from hfsr.data.prepare.stores import to_lmdb
from hfsr.errors import CheckpointError, HfsrError, OptionsError
from hfsr.evaluation import evaluate, find_pairs
from hfsr.images import from_rgb_float, read_image, to_rgb_float
from hfsr.registry import METRICS as REGISTERED
from hfsr.training import dry_run, testing
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


class TestWithoutGroundTruth:
    """A test or validation set of LQ images alone."""

    @pytest.fixture
    def lone(self, tmp_path):
        write_images(tmp_path / "lone" / "a", count=2, size=(24, 20))
        return tmp_path / "lone"

    @staticmethod
    def section(folder):
        return f"{{name: lone, type: SingleImageDataset, dataroot_lq: {folder}, io_backend: {{type: disk}}}}"

    def test_images_are_written_and_what_needs_a_reference_is_left_out(self, tmp_path, options, lone):
        folder = training.train(options(), root=tmp_path)
        named = f"path:pretrain_network_g={folder / 'models' / 'net_g_latest.pth'}"
        chosen = options(
            *("train=~", "name=mine", named, "val:save_img=true", METRICS),
            *("datasets:train=~", f"datasets:val={self.section(lone)}"),
        )
        (restored,) = testing.test(chosen, root=tmp_path)
        results = tmp_path / "results" / "mine"
        told = "lone: 2 images without ground truth restored; left out without a reference: psnr; written to"
        assert str(restored).startswith(told)
        written = sorted(results.rglob("*.png"))
        assert [path.name for path in written] == ["0_mine.png", "1_mine.png"]
        expected = read_model_folder(folder / "models" / "net_g_latest")
        lq = read_image(lone / "a" / "0.png").pixels
        with torch.no_grad():
            sr = from_rgb_float(expected(to_rgb_float(lq)))
        assert (read_image(written[0]).pixels == sr).all()
        report = json.loads((results / "report.json").read_text())
        assert report["sets"] == []
        assert report["sets_without_gt"] == [{"set": "lone", "images": 2, "metrics": {}}]

    def test_metrics_without_a_reference_are_measured(self, tmp_path, options, lone, monkeypatch):
        monkeypatch.setitem(REGISTERED._items, "calculate_brightness", lambda img, crop_border=0: img.mean())
        folder = training.train(options(), root=tmp_path)
        named = f"path:pretrain_network_g={folder / 'models' / 'net_g_latest.pth'}"
        metrics = (
            "val:metrics={light: {type: calculate_brightness}, psnr: {type: calculate_psnr, crop_border: 2}}"
        )
        chosen = options(
            *("train=~", "name=mine", named, metrics, "datasets:train=~"),
            f"datasets:test_1={self.section(lone)}",
        )
        measured, restored = testing.test(chosen, root=tmp_path)
        assert measured.set == "held_out"
        assert set(measured.metrics) == {"light", "psnr"}
        assert set(restored.metrics) == {"light"}
        assert 0 < restored.metrics["light"] < 255
        assert restored.folder is None

    def test_nothing_to_do_is_one_line(self, tmp_path, options, lone):
        training.train(options(), root=tmp_path)
        with pytest.raises(
            OptionsError, match=r"nothing to do: the sets have no ground truth; val.save_img: true"
        ):
            testing.test(options(f"datasets:val={self.section(lone)}"), root=tmp_path)

    def test_training_writes_its_images_and_measures_nothing(self, tmp_path, options, lone, caplog):
        caplog.set_level(logging.INFO, logger="hfsr")
        chosen = options(f"datasets:val={self.section(lone)}", "val:save_img=true", "train:total_iter=3")
        folder = training.train(chosen, root=tmp_path)
        names = sorted(path.name for path in (folder / "visualization").rglob("*.png"))
        assert names == ["0_0.png", "0_3.png", "1_0.png", "1_3.png"]
        assert not (folder / "models" / "net_g_best").exists()
        told = [r.getMessage() for r in caplog.records if "without ground truth restored" in r.getMessage()]
        assert told[0].startswith("before training: lone: 2 images")
        quiet = options(f"datasets:val={self.section(lone)}", "name=quiet", "train:total_iter=1")
        folder = training.train(quiet, root=tmp_path)
        assert not list((folder / "visualization").rglob("*.png"))
        assert any(
            "lone: no ground truth; val.save_img: true writes" in r.getMessage() for r in caplog.records
        )

    def test_a_check_restores_the_largest_image(self, options, lone, monkeypatch):
        monkeypatch.setattr(dry_run, "_WARM_UP", 1)
        report = training.check_training(options(f"datasets:val={self.section(lone)}"))
        assert report.validation_images == 2

    def test_memcached_is_one_line(self, tmp_path, options, lone):
        section = f"{{type: SingleImageDataset, dataroot_lq: {lone}, io_backend: {{type: memcached}}}}"
        with pytest.raises(
            OptionsError, match="io_backend: 'memcached' is not supported; allowed: disk, lmdb, hdf5"
        ):
            training.train(options(f"datasets:val={section}"), root=tmp_path)

    def test_a_list_names_the_images(self, tmp_path, options, lone):
        (tmp_path / "list.txt").write_text("a/1.png\n")
        section = (
            f"{{type: SingleImageDataset, dataroot_lq: {lone}, meta_info_file: {tmp_path / 'list.txt'}}}"
        )
        chosen = options(f"datasets:val={section}", "val:save_img=true", "train:total_iter=1")
        folder = training.train(chosen, root=tmp_path)
        assert {path.name for path in (folder / "visualization").rglob("*.png")} == {"1_0.png", "1_1.png"}


def test_images_of_an_lmdb_are_measured_as_those_of_its_folder(tmp_path, options, images):
    to_lmdb(images, tmp_path / "gt.lmdb")
    training.train(options(), root=tmp_path)
    (expected,) = testing.test(options(METRICS), root=tmp_path)
    stored = options(METRICS, f"datasets:val:dataroot_gt={tmp_path / 'gt.lmdb'}")
    (measured,) = testing.test(stored, root=tmp_path)
    assert measured.report.psnr_y == expected.report.psnr_y
    assert dict(measured.metrics) == dict(expected.metrics)
