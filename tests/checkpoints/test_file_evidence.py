from __future__ import annotations

import pytest

from hfsr.checkpoints.file_evidence import scales_in_name


@pytest.mark.parametrize(
    ("name", "scales"),
    [
        ("rcan_x2.pth", {2}),
        ("edsr-2x.pt", {2}),
        ("x2/model.pth", {2}),
        ("x3", {3}),
        ("BSRGANx2.pth", {2}),
        ("fsrcnnx3.pth", {3}),
        ("RealESRGAN_x4plus.pth", {4}),
        ("2xNomosUni.pth", {2}),
        ("x2_from_x4.pth", {2, 4}),
        ("animex4.pth", {4}),
        ("edsr_basex2.pth", {2}),
        ("litex4.pth", {4}),
        ("fsrcnn_56x12x4.pth", set()),
        ("kernel3x3.pth", set()),
        ("index2_fsrcnn.pth", set()),
        ("pix2pix_fsrcnn.pth", set()),
        ("fsrcnn_max3.pth", set()),
        ("remix4.pth", set()),
        ("fsrcnn_ex2_final.pth", set()),
        ("fsrcnn_v2x.pth", set()),
        ("v2x.pth", set()),
        ("fsrcnn_V2x.pth", set()),
    ],
)
def test_scales_in_names(name: str, scales: set[int]) -> None:
    assert scales_in_name(name) == scales
