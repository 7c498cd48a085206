"""Averages, files, validation's choice of the best, BasicSR's data sets, tensorboard."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from hfsr import bridge, model_zoo, training
from hfsr.atomic import remove_partial_files
from hfsr.errors import OptionsError
from hfsr.evaluation import Scores, summarize
from hfsr.training.logging.run_logger import Curve, duration
from hfsr.training.loop.ema import Ema
from hfsr.training.setup import build_dataset, patches_of
from hfsr.training.state.file_writing import save_atomically, write_atomically
from hfsr.training.state.training_state import newest_state
from hfsr.training.validation.validator import Best, Measurement, Validator

from .conftest import write_images


def test_the_average_is_its_formula_for_parameters_and_buffers():
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    average = Ema(network, 0.9)
    expected = {key: value.clone() for key, value in network.state_dict().items()}
    for number in range(1, 120):
        with torch.no_grad():
            for tensor in network.parameters():
                tensor += torch.randn_like(tensor)
        network(torch.randn(2, 1, 3, 3))
        average.update(number)
        decay = min(0.9, (1 + number) / (10 + number))
        for key, value in network.state_dict().items():
            floating = value.is_floating_point()
            expected[key] = decay * expected[key] + (1 - decay) * value if floating else value.clone()
    for key, value in average.network.state_dict().items():
        assert torch.allclose(value, expected[key], atol=1e-5), key
    assert average.network.state_dict()["1.num_batches_tracked"] == 119
    assert not average.network.training
    assert not any(parameter.requires_grad for parameter in average.network.parameters())


def test_the_average_follows_a_network_whose_tensors_were_replaced():
    network = nn.Conv2d(1, 1, 1)
    average = Ema(network, 0.5)
    network.weight.data = torch.full((1, 1, 1, 1), 7.0)
    for number in range(1, 60):
        average.update(number)
    assert average.network.weight.item() == pytest.approx(7)


def test_a_file_is_whole_or_absent(tmp_path):
    path = tmp_path / "a.bin"
    save_atomically(path, {"x": torch.ones(2)})

    def broken(stream):
        stream.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, broken)
    assert torch.equal(torch.load(path, weights_only=True)["x"], torch.ones(2))
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_what_a_killed_process_left_is_removed(tmp_path):
    (tmp_path / ".6.state.99999999.partial").write_bytes(b"half")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / ".model.safetensors.99999998.partial").write_bytes(b"half")
    (tmp_path / "4.state").write_bytes(b"whole")
    remove_partial_files(tmp_path)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["4.state"]


def test_a_curve_grows_columns_and_drops_rows_of_the_future(tmp_path):
    path = tmp_path / "curve.csv"
    curve = Curve(path, upto=0)
    curve.add(1, {"loss": 1.0})
    curve.add(2, {"loss": 0.5})
    curve.add(2, {"psnr": 30.0})
    again = Curve(path, upto=1)
    again.add(2, {"loss": 0.25})
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert rows == [{"iter": "1", "loss": "1"}, {"iter": "2", "loss": "0.25"}]


def test_durations():
    assert [duration(s) for s in (0, 61.9, 3723)] == ["0:00:00", "0:01:01", "1:02:03"]


@pytest.mark.parametrize(("better", "better_value"), [("higher", 31.0), ("lower", 29.0)])
def test_the_first_metric_decides_which_weights_are_best(options, better, better_value):
    metrics = f"val:metrics={{m: {{type: calculate_psnr, crop_border: 2, better: {better}}}}}"
    validation = Validator(options(metrics))
    report = summarize([Scores("a", 10, 0.5, 10, 0.5, 9)], scale=2, protocol={})

    def decide(value, best):
        return validation.decide([Measurement("held_out", report, {"m": value})], 7, best)

    best = decide(30.0, None)
    assert best == Best(30.0, 7, "held_out", "m")
    assert decide(30.0, best) is None
    assert decide(better_value, best).value == better_value
    assert decide(60 - better_value, best) is None


def test_a_data_set_of_basicsr_trains(tmp_path, options, images):
    """A name that hfsr does not know; BasicSR's own names of image sets are hfsr's."""
    bridge.import_basicsr()
    from basicsr.data.realesrgan_paired_dataset import RealESRGANPairedDataset
    from basicsr.utils.registry import DATASET_REGISTRY

    class PairsOfAPlugin(RealESRGANPairedDataset):
        pass

    if "PairsOfAPlugin" not in DATASET_REGISTRY:
        DATASET_REGISTRY.register(PairsOfAPlugin)
    lq = write_images(tmp_path / "lq", size=(20, 18))
    section = {"type": "PairsOfAPlugin", "dataroot_gt": str(images), "dataroot_lq": str(lq)}
    section |= {"gt_size": 16, "use_hflip": True, "use_rot": True, "batch_size_per_gpu": 2}
    chosen = options(f"datasets:train={json.dumps(section)}")
    dataset = build_dataset(chosen, "train")
    assert isinstance(dataset, RealESRGANPairedDataset)
    first, second = (patches_of(dataset, 3).batch(1, np.arange(3)) for _ in range(2))
    assert torch.equal(first["lq"], second["lq"])
    folder = training.train(chosen, root=tmp_path)
    assert (folder / "models" / "net_g_latest.pth").is_file()


def test_a_plugins_loss_and_metric_are_found(tmp_path, options):
    bridge.import_basicsr()
    from basicsr.utils.registry import LOSS_REGISTRY, METRIC_REGISTRY

    class TheirLoss(nn.Module):
        def __init__(self, weight: float) -> None:
            super().__init__()
            self.weight = weight

        def forward(self, sr, gt):
            return self.weight * (sr - gt).abs().amax()

    def calculate_theirs(img, img2, crop_border, **kwargs):
        assert img.dtype == img2.dtype == np.uint8
        return float(crop_border)

    for registry, item in ((LOSS_REGISTRY, TheirLoss), (METRIC_REGISTRY, calculate_theirs)):
        if item.__name__ not in registry:
            registry.register()(item)
    chosen = options(
        "train:pixel_opt={type: TheirLoss, weight: 2.0}",
        "val:metrics={theirs: {type: calculate_theirs, crop_border: 5}}",
    )
    folder = training.train(chosen, root=tmp_path)
    assert newest_state(folder / "training_states")["best"]["value"] == 5
    with pytest.raises(OptionsError, match=r"train.pixel_opt.weigth: unknown key; did you mean 'weight'"):
        options("train:pixel_opt={type: TheirLoss, weigth: 2.0}")


def test_basicsrs_niqe_measures_and_less_of_it_is_better(tmp_path, options):
    folder, rng = tmp_path / "large", np.random.default_rng(0)
    folder.mkdir()
    coarse = Image.fromarray(rng.integers(0, 256, (60, 60, 3), dtype=np.uint8))
    coarse.resize((212, 208), Image.Resampling.BICUBIC).save(folder / "a.png")
    metrics = "val:metrics={niqe: {type: calculate_niqe, crop_border: 2}}"
    validation = Validator(options(f"datasets:val:dataroot_gt={folder}", metrics))
    network = model_zoo.create_model("edsr_tiny").eval()
    (measured,) = validation.measure(network, save=lambda _, name: tmp_path / f"{name}.png")
    from basicsr.metrics import calculate_niqe

    restored = np.asarray(Image.open(tmp_path / "a.png"))[..., ::-1]
    assert measured.metrics["niqe"] == pytest.approx(calculate_niqe(img=restored, crop_border=2))
    assert validation.decide([measured], 2, Best(measured.metrics["niqe"] + 1, 1, "held_out", "niqe"))
    assert not validation.decide([measured], 2, Best(measured.metrics["niqe"] - 1, 1, "held_out", "niqe"))


def test_curves_for_tensorboard(tmp_path, options):
    training.train(options("logger:use_tb_logger=true"), root=tmp_path)
    events = list((tmp_path / "tb_logger" / "tiny").glob("events.out.tfevents.*"))
    assert len(events) == 1
    assert b"l_pix" in events[0].read_bytes()
    assert b"held_out/psnr_y" in events[0].read_bytes()
