"""A run from its options to its files."""

from __future__ import annotations

import csv
import logging

import pytest
import torch

from hfsr import training
from hfsr.checkpoints import load_checkpoint, read_model_folder, read_state_dict
from hfsr.errors import CheckpointError, HfsrError, OptionsError
from hfsr.inference.runtime.precision import is_native_bf16
from hfsr.training.engine import Engine


def curve(folder):
    with (folder / "training_curve.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.usefixtures("with_curve")
def test_a_run_leaves_what_basicsr_leaves(tmp_path, options, option_file):
    folder = training.train(options(), option_file=option_file, root=tmp_path)
    assert folder == tmp_path / "experiments" / "tiny"
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    logs = {name for name in names if name.startswith("train_tiny_") and name.endswith(".log")}
    assert len(logs) == 1
    labels = ("best", "latest")
    assert names - logs == {
        "tiny.yml",
        "training_curve.csv",
        "training_curve.png",
        *(f"models/net_g_{label}.pth" for label in (*labels, 2, 4, 6)),
        *(
            f"models/net_g_{label}/{part}"
            for label in labels
            for part in ("config.json", "model.safetensors")
        ),
        *(f"training_states/{iteration}.state" for iteration in (2, 4, 6)),
    }
    assert (folder / "visualization").is_dir()


def test_the_pth_is_basicsrs_and_the_folder_holds_the_averaged_weights(tmp_path, options):
    folder = training.train(options(), root=tmp_path)
    saved = torch.load(folder / "models" / "net_g_latest.pth", weights_only=True)
    assert saved.keys() == {"params", "params_ema"}
    model = read_model_folder(folder / "models" / "net_g_latest")
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, saved["params_ema"][key])
    assert any(not torch.equal(saved["params"][key], saved["params_ema"][key]) for key in saved["params"])
    again = load_checkpoint(folder / "models" / "net_g_latest.pth")
    assert type(again) is type(model)


def test_the_loss_falls(tmp_path, options):
    folder = training.train(options("train:total_iter=60", "train:scheduler=~"), root=tmp_path)
    losses = [float(row["l_pix"]) for row in curve(folder) if row["l_pix"]]
    assert sum(losses[-10:]) < 0.6 * sum(losses[:10])


def test_two_runs_are_the_same_run(tmp_path, options):
    first = training.train(options(), root=tmp_path / "a")
    second = training.train(options(), root=tmp_path / "b")
    third = training.train(options("manual_seed=8"), root=tmp_path / "c")
    a, b, c = (read_state_dict(f / "models" / "net_g_latest.pth")[0] for f in (first, second, third))
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not all(torch.equal(a[key], c[key]) for key in a)


def test_accumulation_is_a_larger_batch(tmp_path, options):
    together = training.train(options("datasets:train:batch_size_per_gpu=4"), root=tmp_path / "a")
    apart = training.train(
        options("datasets:train:batch_size_per_gpu=2", "datasets:train:accum_iter=2"), root=tmp_path / "b"
    )
    for one, other in zip(curve(together), curve(apart), strict=True):
        if one["l_pix"]:
            assert float(one["l_pix"]) == pytest.approx(float(other["l_pix"]), rel=1e-5)


def test_rates_follow_schedule_and_warm_up(tmp_path, options):
    folder = training.train(options("train:warmup_iter=2"), root=tmp_path)
    rates = [float(row["lr"]) for row in curve(folder) if row["lr"]]
    assert rates == pytest.approx([5e-4, 1e-3, 1e-3, 1e-3, 5e-4, 5e-4])


def test_bicubic_step_0_and_the_end_are_told(tmp_path, options, caplog):
    with caplog.at_level(logging.INFO, logger="hfsr"):
        training.train(options(), root=tmp_path)
    told = [record.getMessage() for record in caplog.records if "to bicubic" in record.getMessage()]
    assert len(told) == 1
    assert all(word in told[0] for word in ("held_out", "bicubic", "step 0", "end", "best"))


def test_an_earlier_run_is_moved_away_and_never_when_resuming(tmp_path, options):
    training.train(options(), root=tmp_path)
    training.train(options(), root=tmp_path)
    runs = sorted(p.name for p in (tmp_path / "experiments").iterdir())
    assert len(runs) == 2
    assert runs[0] == "tiny"
    assert runs[1].startswith("tiny_archived_")
    training.train(options("train:total_iter=8"), auto_resume=True, root=tmp_path)
    assert len(list((tmp_path / "experiments").iterdir())) == 2


def test_old_states_go_and_their_weights_with_them(tmp_path, options):
    folder = training.train(options("logger:save_checkpoint_freq=1", "logger:keep_states=2"), root=tmp_path)
    assert {p.stem for p in (folder / "training_states").iterdir()} == {"5", "6"}
    assert {p.name for p in (folder / "models").glob("net_g_[0-9]*")} == {"net_g_5.pth", "net_g_6.pth"}


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_state(tmp_path, options, monkeypatch):
    original = Engine.step

    def step(self, stream):
        losses, seconds = original(self, stream)
        if self.iteration == 4:
            with torch.no_grad():
                self.recipe.networks["net_g"].conv_first.weight.fill_(float("nan"))
        return losses, seconds

    monkeypatch.setattr(Engine, "step", step)
    with pytest.raises(HfsrError, match="l_pix is no longer a number at iteration 5"):
        training.train(options("logger:save_checkpoint_freq=3"), root=tmp_path)
    folder = tmp_path / "experiments" / "tiny"
    assert [p.name for p in (folder / "training_states").iterdir()] == ["3.state"]
    for path in (folder / "models").glob("*.pth"):
        assert all(bool(tensor.isfinite().all()) for tensor in read_state_dict(path)[0].values())


def test_a_weight_that_is_no_number_is_not_saved(tmp_path, options, monkeypatch):
    original = Engine.step

    def step(self, stream):
        result = original(self, stream)
        if self.iteration == 4:
            with torch.no_grad():
                self.recipe.networks["net_g"].conv_last.bias[0] = float("inf")
        return result

    monkeypatch.setattr(Engine, "step", step)
    with pytest.raises(HfsrError, match=r"net_g\.conv_last\.bias is no longer a number at iteration 4"):
        training.train(options(), root=tmp_path)
    assert [p.name for p in (tmp_path / "experiments/tiny/training_states").iterdir()] == ["2.state"]


def test_the_copy_of_the_options_is_what_was_trained(tmp_path, options, option_file):
    training.train(options(), option_file=option_file, root=tmp_path)
    copy = tmp_path / "experiments" / "tiny" / "tiny.yml"
    assert copy.read_bytes() == option_file.read_bytes()
    overrides = ["name=other", "train:optim_g:lr=5e-4", "network_g:num_feat=6"]
    changed = options(*overrides)
    training.train(changed, option_file=option_file, overrides=overrides, root=tmp_path)
    copy = tmp_path / "experiments" / "other" / "tiny.yml"
    assert training.load_options(copy) == changed
    assert "#   train:optim_g:lr=5e-4" in copy.read_text()


def test_weights_to_start_from(tmp_path, options):
    folder = training.train(options(), root=tmp_path)
    source = folder / "models" / "net_g_latest"
    engine = Engine(options(f"path:pretrain_network_g={source}"), tmp_path)
    expected = read_model_folder(source).state_dict()
    for key, tensor in engine.recipe.networks["net_g"].state_dict().items():
        assert torch.equal(tensor, expected[key])


def test_weights_of_another_scale_copy_what_fits(tmp_path, options):
    folder = training.train(options(), root=tmp_path)
    source = f"path:pretrain_network_g={folder / 'models' / 'net_g_latest.pth'}"
    larger = ("scale=3", "datasets:train:gt_size=18")
    with pytest.raises(CheckpointError, match="upsample"):
        Engine(options(source, *larger), tmp_path)
    engine = Engine(options(source, *larger, "path:strict_load_g=false"), tmp_path)
    assert engine.start.fresh == ("upsample.0.weight", "upsample.0.bias")


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("network_g:num_feat=6", "the training state of iteration 6 .*conv_first"),
        ("network_g={type: SRCNN}", "the training state of iteration 6 is of EDSR: start this run under"),
        ("model_type=ESRGANModel", "has the networks net_g, this run net_g, net_d: start it under another"),
    ],
)
def test_another_networks_state_is_refused_and_the_run_left_as_it_is(
    tmp_path, options, option_file, override, told
):
    training.train(options("train:total_iter=6"), option_file=option_file, root=tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    adversarial = (
        "network_d={type: SRGANDiscriminator, num_feat: 2, input_size: 16, num_hidden: 4}",
        "train:optim_d={type: Adam, lr: 1e-3}",
        "train:gan_opt={type: GANLoss, gan_type: vanilla}",
    )
    overrides = [override, *(adversarial if "ESRGAN" in override else ())]
    with pytest.raises(CheckpointError, match=told) as caught:
        training.train(
            options(*overrides),
            option_file=option_file,
            overrides=overrides,
            auto_resume=True,
            root=tmp_path,
        )
    assert "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_file_without_training_data_is_refused(tmp_path, options):
    with pytest.raises(OptionsError, match=r"datasets\.train"):
        training.train(options("train=~"), root=tmp_path)


def test_mixed_precision_and_channels_last(tmp_path, options):
    folder = training.train(options("use_amp=true", "use_channels_last=true"), root=tmp_path)
    rows = curve(folder)
    plain = curve(training.train(options("name=plain"), root=tmp_path))
    assert float(rows[1]["l_pix"]) == pytest.approx(float(plain[1]["l_pix"]), rel=0.05)
    if is_native_bf16(torch.device("cpu")):  # elsewhere training stays in fp32
        assert rows[1]["l_pix"] != plain[1]["l_pix"]


def test_images_are_saved_when_asked_for(tmp_path, options):
    folder = training.train(options("val:save_img=true"), root=tmp_path)
    assert {p.name for p in (folder / "visualization" / "0").iterdir()} == {"0_0.png", "0_3.png", "0_6.png"}
