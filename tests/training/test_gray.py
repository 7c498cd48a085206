"""Networks of one channel learn, are measured and restore images by their luma."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hfsr import Upscaler, bridge, create_model, load_checkpoint, model_zoo, training
from hfsr.archs import LumaRestorer, luma
from hfsr.checkpoints import read_model_folder
from hfsr.cli import main
from hfsr.degradations import bicubic_down, bicubic_up
from hfsr.errors import OptionsError
from hfsr.evaluation import eight_bit_luma, network_input
from hfsr.images import read_image
from hfsr.metrics import psnr, ssim
from hfsr.training import testing
from hfsr.training.recipes.psnr import PsnrRecipe

from .conftest import write_images

GRAY = "network_g={type: MSRResNet, num_in_ch: 1, num_out_ch: 1, num_feat: 8, num_block: 1, upscale: 2}"
COLOR = ("datasets:train:color=y", "datasets:val:color=y")
METRICS = (
    "val:metrics={psnr: {type: calculate_psnr, crop_border: 2, test_y_channel: true}, "
    "ssim: {type: calculate_ssim, crop_border: 2, test_y_channel: true}}"
)


def gray_network(**arguments):
    torch.manual_seed(0)
    network = create_model(
        "MSRResNet", num_in_ch=1, num_out_ch=1, num_feat=8, num_block=1, upscale=2, **arguments
    )
    with torch.no_grad():
        network.conv_last.weight.mul_(50)
    return network.eval()


def test_it_trains_on_matlabs_luma(tmp_path, options, monkeypatch, images):
    bridge.import_basicsr()
    from basicsr.utils import bgr2ycbcr

    seen = []
    step = PsnrRecipe.step
    monkeypatch.setattr(
        PsnrRecipe,
        "step",
        lambda self, batches, iteration: seen.extend(batches) or step(self, batches, iteration),
    )
    training.train(options(GRAY, *COLOR, "datasets:train:gt_size=36", "train:total_iter=1"), root=tmp_path)
    (batch,) = seen
    assert batch["lq"].shape == (4, 1, 18, 18)
    rgb = [read_image(path).pixels for path in sorted(images.iterdir())]
    theirs = [bgr2ycbcr(pixels[..., ::-1].astype(np.float32) / 255, y_only=True) for pixels in rgb]
    spread = [(y.min(), y.max()) for y in theirs]
    for patch in batch["gt"]:
        assert any(low - 1e-5 <= patch.min() and patch.max() <= high + 1e-5 for low, high in spread)
    means = [float(y.mean()) for y in theirs]
    assert min(abs(float(batch["gt"].mean((1, 2, 3))[k]) - m) for k in range(4) for m in means) < 0.02


def test_validation_and_test_measure_its_luma_as_basicsr_does(tmp_path, options, images):
    folder = training.train(options(GRAY, *COLOR, METRICS), root=tmp_path)
    (measured,) = testing.test(options(GRAY, *COLOR, METRICS), root=tmp_path)
    network = read_model_folder(folder / "models" / "net_g_best")
    found = {"psnr": [], "ssim": []}
    for path in sorted(images.iterdir()):
        gt = read_image(path).pixels
        with torch.no_grad():
            y = network(luma(network_input(bicubic_down(gt, 2))))
        ours = np.floor(y[0, 0].clamp(0, 1).numpy() * 255 + 0.5).astype(np.uint8)
        pair = ours[..., None], eight_bit_luma(gt)[..., None]
        found["psnr"].append(psnr(*pair, crop=2))
        found["ssim"].append(ssim(*pair, crop=2))
    assert measured.metrics["psnr"] == pytest.approx(np.mean(found["psnr"]), abs=1e-3)
    assert measured.metrics["ssim"] == pytest.approx(np.mean(found["ssim"]), abs=1e-4)
    assert measured.report.psnr_y == pytest.approx(measured.metrics["psnr"])
    assert "Y is the network's own" in measured.report.protocol["channel"]


def test_validation_in_tiles_is_that_of_the_whole_image(tmp_path, options):
    training.train(options(GRAY, *COLOR), root=tmp_path)
    (whole,) = testing.test(options(GRAY, *COLOR), root=tmp_path)
    (tiled,) = testing.test(options(GRAY, *COLOR, "val:tile_size=16"), root=tmp_path)
    assert tiled.report.psnr_y == pytest.approx(whole.report.psnr_y, abs=1e-4)


def test_metrics_of_one_channel_are_basicsrs():
    bridge.import_basicsr()
    from basicsr.metrics import calculate_psnr, calculate_ssim

    rng = np.random.default_rng(0)
    gt = rng.integers(16, 236, (30, 34, 1), dtype=np.uint8)
    sr = (gt + rng.integers(-4, 5, gt.shape)).clip(0, 255).astype(np.uint8)
    assert psnr(sr, gt, crop=2) == pytest.approx(calculate_psnr(sr, gt, 2, test_y_channel=True), abs=1e-6)
    assert ssim(sr, gt, crop=2) == pytest.approx(calculate_ssim(sr, gt, 2, test_y_channel=True), abs=1e-6)


class TestUpscaling:
    def test_the_network_makes_the_luma_and_bicubic_interpolation_the_chroma(self, tmp_path):
        network = gray_network()
        pixels = read_image(write_images(tmp_path, count=1) / "0.png").pixels
        result = torch.from_numpy(
            Upscaler(network, tile=0, dtype="fp32")(pixels.astype(np.float32) / 255)
        ).permute(2, 0, 1)[None]
        with torch.no_grad():
            expected = network(luma(network_input(pixels)))
        assert torch.allclose(luma(result), expected, atol=1e-5)
        enlarged = torch.from_numpy(bicubic_up(pixels, 2).astype(np.float32) / 255).permute(2, 0, 1)[None]
        chroma = [x - luma(x) / luma(torch.ones(1, 3, 1, 1)) for x in (result, enlarged)]
        inside = slice(8, -8)
        difference = (chroma[0][..., inside, inside] - chroma[1][..., inside, inside]).abs()
        assert difference.mean() < 0.01

    def test_tiles_are_exact(self):
        image = np.random.default_rng(1).integers(0, 256, (70, 90, 3), dtype=np.uint8)
        image = image.astype(np.float32) / 255
        whole, tiled = (Upscaler(gray_network(), tile=tile)(image) for tile in (0, 24))
        assert np.abs(whole - tiled).max() < 1e-5
        assert np.abs(whole - bicubic_up((image * 255).astype(np.uint8), 2) / 255).max() > 0.01

    def test_from_a_checkpoint_by_the_command(self, tmp_path, capsys):
        torch.save({"params": gray_network().state_dict()}, tmp_path / "gray.pth")
        assert model_zoo.input_channels(load_checkpoint(tmp_path / "gray.pth")) == 1
        source = write_images(tmp_path / "in", count=1) / "0.png"
        assert (
            main(["upscale", str(source), "-m", str(tmp_path / "gray.pth"), "-o", str(tmp_path / "out.png")])
            == 0
        )
        assert read_image(tmp_path / "out.png").pixels.shape == (72, 80, 3)

    def test_networks_that_take_rgb_whatever_they_compute_are_left_alone(self):
        attentive = create_model("PyramidAttentionNet", num_in_ch=1, num_feat=4, num_block=2)
        for network in (create_model("espcn_tiny"), create_model("edsr_tiny"), attentive):
            assert model_zoo.input_channels(network) == 3

    def test_another_number_of_channels_is_one_line(self):
        network = create_model("MSRResNet", num_in_ch=4, num_out_ch=4, num_feat=4, num_block=1, upscale=2)
        with pytest.raises(OptionsError, match="MSRResNet network from 4 to 4 channels; hfsr runs RGB"):
            Upscaler(network)

    def test_scale_one(self):
        restorer = LumaRestorer(torch.nn.Conv2d(1, 1, 1), 1)
        image = torch.rand(1, 3, 5, 6)
        assert torch.allclose(luma(restorer(image)), restorer.network(luma(image)), atol=1e-6)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (
            [GRAY],
            r"datasets.train.color: MSRResNet takes images of one channel; write color: y, which provides",
        ),
        ([GRAY, COLOR[0]], r"datasets.val.color: MSRResNet takes images of one channel; write color: y"),
        ([COLOR[0]], r"datasets.train.color: y gives images of one channel, EDSR takes 3"),
        (
            [GRAY.replace("ch: 1", "ch: 6")],
            r"network_g: MSRResNet takes images of 6 channels; images have 3 \(RGB\), or 1 with color: y",
        ),
        (
            ["network_g={type: MSRResNet, num_in_ch: 1, num_feat: 8, num_block: 1, upscale: 2}", *COLOR],
            "network_g: MSRResNet takes 1 channels and gives 3; make them equal",
        ),
        ([GRAY, *COLOR, "train:luma_opt={type: L1Loss}"], "pixel_y_channel and luma_opt take RGB"),
    ],
)
def test_what_does_not_fit_is_one_line(tmp_path, options, overrides, told):
    for run in (
        lambda: training.train(options(*overrides), root=tmp_path),
        lambda: training.check_training(options(*overrides)),
    ):
        with pytest.raises(OptionsError, match=told):
            run()


def test_basicsrs_ecbsr_trains_on_luma(tmp_path, options):
    network = (
        "network_g={type: ECBSR, num_in_ch: 1, num_out_ch: 1, num_block: 1, num_channel: 4, with_idt: false, "
        "act_type: prelu, scale: 2}"
    )
    folder = training.train(options(network, *COLOR, METRICS, "train:total_iter=2"), root=tmp_path)
    assert (folder / "models" / "net_g_latest.pth").is_file()


def test_adversarial_training_on_luma(tmp_path, options):
    chosen = options(
        GRAY,
        *COLOR,
        "model_type=SRGANModel",
        "network_d={type: UNetDiscriminatorSN, num_in_ch: 1, num_feat: 4, skip_connection: true}",
        "train:optim_d={type: Adam, lr: 1e-4}",
        "train:gan_opt={type: GANLoss, gan_type: vanilla}",
        "train:total_iter=2",
    )
    training.train(chosen, root=tmp_path)
    with pytest.raises(OptionsError, match=r"network_d.num_in_ch: must be 1"):
        training.train(
            chosen.model_copy(update={"network_d": chosen.network_d.model_copy(update={"num_in_ch": 3})}),
            root=tmp_path,
        )
