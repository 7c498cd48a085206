"""Tests of blur kernels: files of every type, invalid kernels, and estimation from an image."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hfsr.degradations import kernel_down
from hfsr.errors import ImageError, OptionsError
from hfsr.priors.zeroshot.blur_kernels import check_kernel, read_kernel, rescale_kernel
from hfsr.priors.zeroshot.kernel_estimation import estimate_kernel, gaussian_kernel
from hfsr.samples import SAMPLE

KERNEL = gaussian_kernel((1.5, 0.8, 0.4), 9)


def write_kernel(folder: Path, kind: str) -> Path:
    path = folder / f"kernel.{kind}"
    if kind == "npy":
        np.save(path, KERNEL)
    elif kind == "txt":
        np.savetxt(path, KERNEL)
    elif kind == "png":
        Image.fromarray(np.round(KERNEL / KERNEL.max() * 255).astype(np.uint8)).save(path)
    else:
        scipy_io = pytest.importorskip("scipy.io")
        scipy_io.savemat(path, {"Kernel": KERNEL, "other": np.eye(2)})
    return path


@pytest.mark.parametrize("kind", ["npy", "txt", "mat", "png"])
def test_read_kernel_of_every_file_type(kind, tmp_path) -> None:
    found = read_kernel(write_kernel(tmp_path, kind))
    assert found.sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(found, KERNEL, atol=1e-3 if kind == "png" else 1e-12)


BAD = {
    "missing.npy": (None, "does not exist"),
    "kernel.docx": (b"x", "known type"),
    "half.npy": (0.5 * KERNEL, "sums to 0.5, but must sum to 1"),
    "cube.npy": (np.ones((2, 2, 2)) / 8, "shape"),
    "large.npy": (np.full((66, 66), 66.0**-2), "at most 65"),
    "nan.npy": (np.full((3, 3), np.nan), "NaN"),
    "text.txt": (b"hello", "cannot be read"),
    "text.npy": (b"hello", "cannot be read"),
    "text.png": (b"hello", "cannot be read"),
    "text.mat": (b"hello", "cannot be read"),
}


@pytest.mark.parametrize("name", BAD)
def test_invalid_kernel_raises_one_line_error(name, tmp_path) -> None:
    content, message = BAD[name]
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content)
    with pytest.raises(OptionsError, match=message) as caught:
        read_kernel(path)
    assert "\n" not in str(caught.value)


def test_check_kernel_removes_rounding_errors() -> None:
    assert check_kernel(KERNEL * 1.004).sum() == pytest.approx(1)


def shape_of(kernel: np.ndarray) -> tuple[float, float, float]:
    """Returns the standard deviations along and across, and the angle."""
    y, x = np.mgrid[: kernel.shape[0], : kernel.shape[1]].astype(float)
    x -= (x * kernel).sum()
    y -= (y * kernel).sum()
    covariance = np.array([[(kernel * x * x).sum(), (kernel * x * y).sum()]] * 2)
    covariance[1] = (kernel * x * y).sum(), (kernel * y * y).sum()
    values, vectors = np.linalg.eigh(covariance)
    return values[1] ** 0.5, values[0] ** 0.5, math.atan2(vectors[1, 1], vectors[0, 1]) % math.pi


def test_rescale_kernel_scales_the_width() -> None:
    wide = gaussian_kernel((3.0, 3.0, 0.0), 25)
    narrow = rescale_kernel(wide, 0.5, 0.75)
    assert narrow.sum() == pytest.approx(1)
    y, x = (narrow.sum(axis=axis) for axis in (1, 0))
    deviations = [math.sqrt((line * (np.arange(line.size) - line.size // 2) ** 2).sum()) for line in (y, x)]
    assert deviations == pytest.approx([1.5, 2.25], abs=0.1)


def estimate_shape(kernel: np.ndarray) -> tuple[float, float, float]:
    sharp = np.array(Image.open(SAMPLE).convert("L"))[130:530, 100:540]
    luma = torch.from_numpy(kernel_down(sharp, kernel, 2).astype(np.float32) / 255)[None, None]
    found = estimate_kernel(luma, 2)
    assert found.min() >= 0
    assert found.sum() == pytest.approx(1)
    return shape_of(found)


def test_estimate_finds_direction_of_anisotropic_blur() -> None:
    along, across, angle = estimate_shape(gaussian_kernel((2.4, 0.9, 0.6), 17))
    assert along > 1.4 * across
    assert abs(angle - 0.6) < 0.4


def test_estimate_distinguishes_wide_from_narrow_blur() -> None:
    narrow, wide = (estimate_shape(gaussian_kernel((s, s, 0.0), 17))[0] for s in (0.8, 2.2))
    assert wide > 1.3 * narrow
    assert 1.5 < wide < 3


@pytest.mark.parametrize("luma", [torch.full((1, 1, 60, 60), 0.5), torch.rand(1, 1, 20, 90)])
def test_estimate_refuses_flat_or_small_images(luma) -> None:
    with pytest.raises(ImageError, match="kernel file"):
        estimate_kernel(luma, 2)
