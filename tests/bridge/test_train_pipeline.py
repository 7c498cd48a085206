"""Tests of training across both programs: hfsr's networks in BasicSR, a plugin's network in hfsr."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image

from hfsr.model_zoo import create_model
from hfsr.registry import ARCHS

PROGRAM = """
import sys
import hfsr.bridge
{first}
hfsr.bridge.install()
from basicsr.train import train_pipeline
for option_file in sys.argv[1:]:
    sys.argv[1:] = ["-opt", option_file]
    train_pipeline({root!r})
{last}
"""
PLUGIN = """
hfsr.bridge.import_basicsr()
from basicsr.utils.registry import ARCH_REGISTRY, LOSS_REGISTRY
from torch import nn

@ARCH_REGISTRY.register()
class A2N(nn.Module):
    def __init__(self, width, upscale):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 3 * upscale**2, width), nn.PixelShuffle(upscale))
    def forward(self, x):
        return self.body(nn.functional.pad(x, (1, 1, 1, 1)))

@LOSS_REGISTRY.register()
class PluginLoss(nn.L1Loss):
    def __init__(self, loss_weight, reduction):
        super().__init__()
"""
HFSR_TRAINING = """
from pathlib import Path
from hfsr import training
options = training.load_options(option_file, [
    "name=ours", "network_g={{type: A2N_basicsr, width: 3, upscale: 2}}", "train:pixel_opt:type=PluginLoss",
])
training.train(options, root=Path({root!r}))
"""
RESTORERS = sorted(name for name, spec in ARCHS.own().items() if spec.role == "restorer")
TAKEN = {"EDSR", "MSRResNet", "RCAN", "RRDBNet"}
"""Network names that BasicSR uses itself."""


def write_pairs(root: Path, *, scale: int, count: int = 3) -> None:
    rng = np.random.default_rng(0)
    for i in range(count):
        gt = rng.integers(0, 256, (16 * scale, 16 * scale, 3), dtype=np.uint8)
        for name, image in (("gt", gt), ("lq", gt[::scale, ::scale])):
            (root / name).mkdir(exist_ok=True)
            Image.fromarray(image).save(root / name / f"{i}.png")


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


def write_option_file(root: Path, arch: str, loss: str, *, type_there: str) -> Path:
    """Returns the options of a run of two iterations of a tiny network, named after it."""
    preset = next(name for name in ARCHS[arch].presets if name.endswith("_tiny"))
    scale = int(create_model(preset).scale)
    folder = root / f"x{scale}"
    if not folder.exists():
        folder.mkdir()
        write_pairs(folder, scale=scale)
    arguments = dict(ARCHS[arch].presets[preset])
    content = options(folder, {"type": type_there, **arguments}, loss, scale=scale)
    path = root / f"{arch}.yml"
    path.write_text(yaml.safe_dump({**content, "name": arch}))
    return path


def check_weights(root: Path, arch: str) -> None:
    """Checks that the weights that BasicSR saved load strictly, are finite, and were trained."""
    model = create_model(next(name for name in ARCHS[arch].presets if name.endswith("_tiny")))
    weights = []
    for label in ("1", "latest"):
        saved = torch.load(root / "experiments" / arch / "models" / f"net_g_{label}.pth", weights_only=True)
        for key in ("params_ema", "params"):
            model.load_state_dict(saved[key], strict=True)
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.isfinite(weights[1]).all(), arch
    assert not torch.equal(*weights), arch


def test_basicsr_trains_all_networks_of_hfsr(tmp_path, run_python):
    files = []
    for arch in RESTORERS:
        there, loss = (f"{arch}_hfsr", "CharbonnierLoss_hfsr") if arch in TAKEN else (arch, "L1Loss")
        files.append(str(write_option_file(tmp_path, arch, loss, type_there=there)))
    out = run_python(PROGRAM.format(root=str(tmp_path), first="", last=""), *files)
    for arch in RESTORERS:
        assert f"Network [{arch}] is created" in out
        check_weights(tmp_path, arch)
    assert out.count("# psnr:") >= len(RESTORERS)


def test_plugin_with_a_network_name_of_hfsr(tmp_path, run_python):
    option_file = write_option_file(tmp_path, "A2N", "PluginLoss", type_there="A2N_hfsr")
    root = str(tmp_path)
    program = PROGRAM.format(root=root, first=PLUGIN, last=HFSR_TRAINING.format(root=root))
    run_python(program, str(option_file))
    check_weights(tmp_path, "A2N")
    theirs = torch.load(tmp_path / "experiments/ours/models/net_g_latest.pth", weights_only=True)
    assert theirs["params"].keys() == {"body.0.weight", "body.0.bias"}


WEIGHTS_IN_BOTH_PROGRAMS = """
import sys, torch
import hfsr.bridge
hfsr.bridge.install()
from basicsr.models.base_model import BaseModel
import hfsr
from hfsr import training
from hfsr.training.engine import Engine
from pathlib import Path
option_file, root = sys.argv[1:]
ours = training.train(training.load_options(option_file, ["name=ours"]), root=Path(root)) / "models"
network = hfsr.create_model("edsr_tiny")
model = BaseModel({"num_gpu": 0, "dist": False, "is_train": False})
for key in ("params", "params_ema"):
    model.load_network(network, str(ours / "net_g_latest.pth"), True, key)
    saved = torch.load(ours / "net_g_latest.pth", weights_only=True)[key]
    print(all(torch.equal(saved[name], tensor) for name, tensor in network.state_dict().items()))
model.opt["path"] = {"models": root}
with torch.no_grad():
    network.conv_first.weight.fill_(0.5)
model.save_network([network, network], "net_g", 7, ["params", "params_ema"])
for path in (Path(root) / "net_g_7.pth", ours / "net_g_latest", ours / "net_g_latest" / "model.safetensors"):
    options = training.load_options(option_file, [f"path:pretrain_network_g={path}"])
    loaded = Engine(options, Path(root)).recipe.networks["net_g"]
    print(path.name, round(float(loaded.conv_first.weight.mean()), 3) == 0.5)
"""


def test_weights_load_in_both_programs(tmp_path, run_python):
    option_file = write_option_file(tmp_path, "EDSR", "L1Loss", type_there="EDSR_hfsr")
    out = run_python(WEIGHTS_IN_BOTH_PROGRAMS, str(option_file), str(tmp_path))
    results = [line for line in out.splitlines() if line.endswith(("True", "False"))]
    assert results == ["True", "True", "net_g_7.pth True", "net_g_latest False", "model.safetensors False"]
