"""A resume under changed options: refused, stated or accepted, key by key."""

from __future__ import annotations

import pytest

from hfsr import training
from hfsr.errors import CheckpointError
from hfsr.options import flat_options
from hfsr.training.state.changed_options import check_changes


def changes(options, *overrides):
    return check_changes(flat_options(options()), flat_options(options(*overrides)), source="the state")


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("logger:print_freq=3", "logger:save_checkpoint_freq=1", "val:val_freq=1", "val:save_img=true"),
        ("datasets:train:num_worker_per_gpu=2", "datasets:train:cache=true", "num_gpu=auto"),
        ("path:pretrain_network_g=absent.pth",),
        # What is stated here is the default.
        ("train:pixel_opt:reduction=mean", "network_g:upscale=2", "network_g:res_scale=1.0"),
        ("train:optim_g:weight_decay=0", "datasets:train:use_rot=true"),
        ("network_g:rgb_mean=[0.4488, 0.4371, 0.404]",),
    ],
)
def test_options_without_influence_are_accepted(options, overrides):
    assert changes(options, *overrides) == []


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("train:optim_g:lr=5e-4", "train.optim_g.lr: 0.001 -> 0.0005"),
        ("train:total_iter=8", "train.total_iter: 6 -> 8"),
        ("train:scheduler:gamma=0.1", "train.scheduler.gamma: 0.5 -> 0.1"),
        ("train:clip_grad_norm=1", "train.clip_grad_norm: not set -> 1.0"),
        ("datasets:train:batch_size_per_gpu=2", "datasets.train.batch_size_per_gpu: 4 -> 2"),
        ("datasets:train:degradation=[{type: Bicubic}]", "degradation: not set -> [{'type': 'Bicubic'}]"),
    ],
)
def test_other_changes_are_stated(options, override, told):
    stated = changes(options, override)
    assert len(stated) == 1
    assert told in stated[0]


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("train:pixel_opt:type=CharbonnierLoss", "train.pixel_opt.type: L1Loss -> CharbonnierLoss"),
        ("train:pixel_opt:loss_weight=2", "train.pixel_opt.loss_weight: 1.0 -> 2"),
        ("train:luma_opt={type: L1Loss}", "train.luma_opt.type: not set -> L1Loss"),
        ("train:optim_g:type=AdamW", "train.optim_g.type: Adam -> AdamW"),
        ("network_g:res_scale=0.5", "network_g.res_scale: 1.0 -> 0.5"),
        ("manual_seed=8", "manual_seed: 7 -> 8"),
    ],
)
def test_another_training_is_refused(options, override, told):
    with pytest.raises(CheckpointError, match="the state is of another training") as caught:
        changes(options, override)
    assert told in str(caught.value)
    assert "set this back, or start under another name" in str(caught.value)


def test_a_run_states_or_refuses_changes_before_it_writes(tmp_path, options):
    folder = training.train(options("train:total_iter=4"), root=tmp_path)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(
        CheckpointError, match="the training state of iteration 4 is of another training: manual"
    ):
        training.train(options("manual_seed=8"), auto_resume=True, root=tmp_path)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    training.train(options("train:optim_g:lr=5e-4", "train:total_iter=5"), auto_resume=True, root=tmp_path)
    logs = "".join(path.read_text() for path in folder.glob("*.log"))
    assert (
        "resuming under changed options: train.optim_g.lr: 0.001 -> 0.0005; train.total_iter: 4 -> 5" in logs
    )


def test_states_without_options_are_accepted(options):
    assert check_changes({}, flat_options(options("manual_seed=8")), source="the state") == []
