"""What a caller gives an `Upscaler` is understood, or refused by one line that says what is allowed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import hfsr
from hfsr.errors import HfsrError, ImageError, OptionsError
from hfsr.inference import Upscaler


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return hfsr.create_model("espcn_tiny")


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        (torch.rand(3, 6, 7), "torch.float32 of shape (3, 6, 7)"),
        (torch.rand(0, 3, 6, 7), "of shape (0, 3, 6, 7)"),
        (torch.rand(1, 1, 6, 7), "of shape (1, 1, 6, 7)"),
        (torch.rand(1, 4, 6, 7), "of shape (1, 4, 6, 7)"),
        (torch.rand(1, 3, 0, 7), "of shape (1, 3, 0, 7)"),
        (torch.zeros(1, 3, 6, 7, dtype=torch.uint8), "torch.uint8 of shape (1, 3, 6, 7)"),
        (torch.zeros(1, 3, 6, 7, dtype=torch.int64), "torch.int64"),
        (torch.zeros(1, 3, 6, 7, dtype=torch.complex64), "torch.complex64"),
        ([[1.0]], "got list"),
        (None, "got NoneType"),
    ],
)
def test_tensors_of_other_kinds_are_refused(model, tensor, reason):
    with pytest.raises(ImageError) as caught:
        Upscaler(model, device="cpu").tensor(tensor)
    assert reason in str(caught.value)
    assert "(B, 3, H, W)" in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_floats_of_any_width_are_welcome(model, dtype):
    upscaler = Upscaler(model, device="cpu", dtype="fp32")
    x = torch.rand(1, 3, 6, 7).to(dtype)
    assert torch.equal(upscaler.tensor(x), upscaler.tensor(x.float()))


@pytest.mark.parametrize(
    ("arguments", "attribute", "value"),
    [
        ({"tile": None}, "tile", None), ({"tile": "64"}, "tile", 64), ({"tile": 64.0}, "tile", 64),
        ({"dtype": torch.bfloat16}, "dtype_name", "bf16"), ({"dtype": torch.float32}, "dtype_name", "fp32"),
        ({"dtype": None, "tile": 0}, "tile", 0), ({"backend": None}, "backend", "torch"),
        ({"device": torch.device("cpu")}, "dtype", None),
    ],
)  # fmt: skip
def test_values_that_are_understood(model, arguments, attribute, value):
    upscaler = Upscaler(model, **{"device": "cpu", **arguments})
    assert value is None or getattr(upscaler, attribute) == value


@pytest.mark.parametrize(
    "arguments",
    [
        {"tile": True}, {"tile": 64.5}, {"tile": [64]}, {"tile": float("nan")}, {"tile": float("inf")},
        {"tile": "x"},
        {"tile": -8}, {"dtype": torch.int8}, {"dtype": torch.float64}, {"dtype": 16}, {"dtype": "float32"},
        {"backend": 1}, {"backend": ["torch"]}, {"device": 1.5}, {"device": []}, {"device": "toaster"},
        {"self_ensemble": "no"}, {"self_ensemble": 1}, {"self_ensemble": None},
    ],
)  # fmt: skip
def test_other_values_are_an_options_error(model, arguments):
    with pytest.raises(OptionsError) as caught:
        Upscaler(model, **{"device": "cpu", **arguments})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["hfsr-x2", Path("folder")])
def test_a_name_is_no_network(name):
    with pytest.raises(OptionsError, match=r"load it first: hfsr\.from_pretrained"):
        Upscaler(name)
    with pytest.raises(OptionsError, match="model is of type dict"):
        Upscaler({})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_from_pretrained_on_a_device_that_is_not_here():
    for device in ("cuda", "cuda:3", "toaster"):
        with pytest.raises(HfsrError) as caught:
            hfsr.from_pretrained("hfsr-x2-small", device=device)
        assert f"device {device}" in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("drn_dual_tiny", "DRNDual is a generator, which restores no image by itself; use a restorer"),
        ("biggan_generator_tiny", "BigGANGenerator is a generator"),
        ("srgan_discriminator_tiny", "SRGANDiscriminator is a discriminator"),
        ("vgg16_minc_tiny", "VGG16MINC is a feature network"),
    ],
)
def test_networks_that_restore_no_image_are_refused(name, message):
    with pytest.raises(OptionsError, match=message):
        Upscaler(hfsr.create_model(name))


def test_a_classifier_is_refused():
    classifier = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(4, 10))
    with pytest.raises(OptionsError, match="Sequential ends with a linear layer, as classifiers"):
        Upscaler(classifier)


def test_other_channels_than_rgb_and_one_are_refused():
    model = hfsr.create_model("rrdbnet_tiny", num_in_ch=4, num_out_ch=4)
    with pytest.raises(OptionsError, match=r"is a RRDBNet network from 4 to 4 channels; hfsr runs RGB"):
        Upscaler(model)


def test_a_network_of_one_channel_runs_in_tiles():
    torch.manual_seed(0)
    model = hfsr.create_model("msrresnet_tiny", num_in_ch=1, num_out_ch=1).eval()
    x = torch.rand(1, 3, 40, 33)
    with torch.no_grad():
        torch.testing.assert_close(
            Upscaler(model, tile=8, dtype="fp32").tensor(x), model(x), rtol=0, atol=1e-5
        )


@pytest.mark.parametrize("image", [Image.new("RGB", (8, 8)), np.zeros((8, 8, 3), np.uint8)])
def test_images_in_memory_are_no_files(model, image, tmp_path):
    upscaler = Upscaler(model, device="cpu")
    for run in (upscaler.file, upscaler.steps):
        with pytest.raises(
            ImageError, match="call the upscaler itself with a PIL image or an array"
        ) as error:
            list(run(image, tmp_path / "a.png") or ())
        assert "the source is a path, the bytes of a file, or an open binary file;" in str(error.value)


def test_other_objects_are_refused_by_what_is_allowed(model, tmp_path):
    upscaler = Upscaler(model, device="cpu")
    with pytest.raises(ImageError, match="got int; an image file is a path, the bytes of a file, or an"):
        upscaler.file(3, tmp_path / "a.png")
    with pytest.raises(ImageError, match=r"got int; an image is a PIL image, a path, .*, or a numpy array"):
        upscaler(3)
