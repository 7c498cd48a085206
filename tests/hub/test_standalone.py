"""Publishing and loading where hfsr is installed alone: none of the packages of its extras is there."""

from __future__ import annotations

from pathlib import Path

from .client import Client
from .server import HubServer

EXTRAS = (
    *("accelerate", "basicsr", "cv2", "gradio", "h5py", "lmdb", "matplotlib", "nncf", "onnx", "onnxruntime"),
    *("onnxscript", "openvino", "pydantic", "scipy", "skimage", "spandrel", "tensorboard", "timm"),
    *("torchmetrics", "torchvision", "trackio", "wandb"),
)
CHECK = """
import importlib
def missing(name):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        return True
    return False
result = [name for name in names if not missing(name)]
"""
PUSH = """
import hashlib, torch, hfsr
from hfsr.cli import main
torch.manual_seed(1)
model = hfsr.create_model("rcan_tiny").eval()
hfsr.save_pretrained(model, "rcan")
code = main(["push", "rcan", "org/alone", "--license", "mit", "--no-example"])
"""
OUTPUT = """
torch.manual_seed(7)
x = torch.rand(1, 3, 19, 21)
with torch.no_grad():
    result = hashlib.sha256(model(x).numpy().tobytes()).hexdigest()
"""
LOAD = """
import hashlib, sys, torch, hfsr
model = hfsr.from_pretrained("org/alone")
"""
UPSCALE = """
from PIL import Image
Image.new("RGB", (20, 12), "teal").save("photo.png")
from hfsr.cli import main
codes = [main(["upscale", "photo.png", "-m", "org/alone", "-o", "large.png"]), main(["info", "org/alone"])]
result = [codes, Image.open("large.png").size]
"""


def test_a_push_and_a_load_with_nothing_but_hfsr(hub: HubServer, tmp_path: Path) -> None:
    publisher = Client(
        hub.url, home=tmp_path / "a", cwd=tmp_path / "there", token="hf_publisher", without=EXTRAS
    )
    try:
        assert publisher.ok(CHECK, names=list(EXTRAS)) == []
        pushed = publisher.run(PUSH + OUTPUT)
        assert pushed.error is None, pushed
        assert publisher.ok("result = code") == 0, pushed
    finally:
        publisher.close()
    assert {"README.md", "config.json", "model.safetensors"} <= hub.repos["org/alone"].files().keys()
    stranger = Client(hub.url, home=tmp_path / "b", cwd=tmp_path / "here", without=EXTRAS)
    try:
        assert stranger.ok(LOAD + OUTPUT) == pushed.result
        assert stranger.ok(UPSCALE) == [[0, 0], [40, 24]]
    finally:
        stranger.close()
