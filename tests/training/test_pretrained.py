"""Initial weights of a run: the averaged ones of another run, or its plain ones."""

from __future__ import annotations

import pytest
import torch

from hfsr import training
from hfsr.training.engine import Engine


@pytest.fixture
def run(tmp_path, options):
    """A run whose average differs from its weights, and the two."""
    folder = training.train(options("train:optim_g:lr=1e-2", "train:ema_decay=0.99"), root=tmp_path / "other")
    saved = torch.load(folder / "models" / "net_g_latest.pth", weights_only=True)
    assert not torch.equal(saved["params"]["conv_first.weight"], saved["params_ema"]["conv_first.weight"])
    return folder


@pytest.mark.parametrize(
    ("place", "key", "expected"),
    [
        ("", "~", "params_ema"),
        ("", "params_ema", "params_ema"),
        ("", "params", "params"),
        ("models/net_g_best.pth", "params", "params"),
        ("models/net_g_best", "~", "params_ema"),
        ("models/net_g_best", "params", "params_ema"),
    ],
)
def test_a_run_starts_from_the_average_or_the_weights_of_another(
    tmp_path, options, run, caplog, place, key, expected
):
    best = torch.load(run / "models" / "net_g_best.pth", weights_only=True)
    start = (f"path:pretrain_network_g={run / place}", f"path:param_key_g={key}")
    engine = Engine(options(*start), tmp_path)
    for name, tensor in engine.recipe.networks["net_g"].state_dict().items():
        assert torch.equal(tensor, best[expected][name])
    for name, tensor in engine.recipe.averages["net_g"].network.state_dict().items():
        assert torch.equal(tensor, best[expected][name])
    # A model folder holds the published weights alone, and the log says so.
    assert ("holds one set of weights" in caplog.text) == (place == "models/net_g_best" and key != "~")


def test_a_resume_with_a_new_average_starts_it_from_the_weights(tmp_path, options):
    folder = training.train(options("train:ema_decay=0", "train:total_iter=4"), root=tmp_path)
    plain = torch.load(folder / "models" / "net_g_latest.pth", weights_only=True)
    assert "params_ema" not in plain
    training.train(options("train:total_iter=5"), auto_resume=True, root=tmp_path)
    saved = torch.load(folder / "models" / "net_g_latest.pth", weights_only=True)
    distance = {
        key: (saved[key]["conv_last.weight"] - plain["params"]["conv_last.weight"]).abs().max()
        for key in saved
    }
    assert 0 < distance["params_ema"] <= distance["params"] <= 2e-3
