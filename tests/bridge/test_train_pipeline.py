"""BasicSR's own, unmodified training program trains networks of ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from hfsr.registry import ARCHS
from hfsr.zoo import create_model

PROGRAM = """
import hfsr.bridge
hfsr.bridge.install()
from basicsr.train import train_pipeline
train_pipeline({root!r})
"""


def write_pairs(root: Path, *, scale: int, count: int = 3) -> None:
    rng = np.random.default_rng(0)
    for i in range(count):
        gt = rng.integers(0, 256, (16 * scale, 16 * scale, 3), dtype=np.uint8)
        for name, picture in (("gt", gt), ("lq", gt[::scale, ::scale])):
            (root / name).mkdir(exist_ok=True)
            Image.fromarray(picture).save(root / name / f"{i}.png")


def options(root: Path, network: dict[str, object], loss: str, *, scale: int) -> dict[str, object]:
    pairs = {"type": "PairedImageDataset", "dataroot_gt": str(root / "gt"), "dataroot_lq": str(root / "lq")}
    return {
        "name": "tiny",
        "model_type": "SRModel",
        "scale": scale,
        "num_gpu": 0,
        "manual_seed": 0,
        "datasets": {
            "train": {
                **pairs,
                "name": "squares",
                "io_backend": {"type": "disk"},
                "gt_size": 8 * scale,
                "use_hflip": True,
                "use_rot": True,
                "num_worker_per_gpu": 0,
                "batch_size_per_gpu": 2,
                "dataset_enlarge_ratio": 2,
            },
            "val": {**pairs, "name": "squares", "io_backend": {"type": "disk"}},
        },
        "network_g": network,
        "path": {"pretrain_network_g": None, "strict_load_g": True, "resume_state": None},
        "train": {
            "ema_decay": 0.9,
            "optim_g": {"type": "Adam", "lr": 1e-3},
            "scheduler": {"type": "MultiStepLR", "milestones": [100], "gamma": 0.5},
            "total_iter": 2,
            "warmup_iter": -1,
            "pixel_opt": {"type": loss, "loss_weight": 1.0, "reduction": "mean"},
        },
        "val": {
            "val_freq": 2,
            "save_img": False,
            "metrics": {"psnr": {"type": "calculate_psnr", "crop_border": scale, "test_y_channel": True}},
        },
        "logger": {"print_freq": 1, "save_checkpoint_freq": 1, "use_tb_logger": False},
        "dist_params": {"backend": "gloo", "port": 29500},
    }


@pytest.mark.parametrize(
    ("arch", "type_there", "preset", "loss"),
    [("A2N", "A2N", "a2n_tiny", "L1Loss"), ("EDSR", "EDSR_hfsr", "edsr_tiny", "CharbonnierLoss_hfsr")],
)
def test_basicsr_trains_our_network_from_a_yaml(tmp_path, run_python, arch, type_there, preset, loss):
    model = create_model(preset)
    write_pairs(tmp_path, scale=model.scale)
    network = {"type": type_there, **ARCHS[arch].presets[preset]}
    option_file = tmp_path / "tiny.yml"
    option_file.write_text(yaml.safe_dump(options(tmp_path, network, loss, scale=model.scale)))

    out = run_python(PROGRAM.format(root=str(tmp_path)), "-opt", str(option_file))

    assert f"Network [{arch}] is created" in out
    assert "# psnr:" in out
    weights = []
    for checkpoint in ("net_g_1.pth", "net_g_latest.pth"):
        saved = torch.load(tmp_path / "experiments/tiny/models" / checkpoint, weights_only=True)
        for key in ("params_ema", "params"):
            model.load_state_dict(saved[key], strict=True)
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.isfinite(weights[1]).all()
    assert not torch.equal(*weights)
