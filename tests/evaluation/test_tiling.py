"""Whole, independent tiles, and pieces: what is compared, and what is drawn."""

from __future__ import annotations

import json

import numpy as np
import torch
import torch.nn.functional as F

from hfsr.evaluation import compare_tiling
from hfsr.evaluation.tiling import independent_tiles

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 52, 3), np.uint8)


def _local(x: torch.Tensor) -> torch.Tensor:
    """Enlarges by 2 and reads 2 LR px around."""
    kernel = torch.full((3, 1, 5, 5), 0.04)
    return F.interpolate(F.conv2d(x, kernel, padding=2, groups=3), scale_factor=2)


def _pooled(x: torch.Tensor) -> torch.Tensor:
    """Enlarges by 2 and scales by the mean of the whole image."""
    return F.interpolate(x, scale_factor=2) * (0.5 + x.mean(dim=(2, 3), keepdim=True))


def test_tiles_cover_the_image_and_padding_heals_what_is_local():
    x = torch.rand(1, 3, 40, 52)
    whole = _local(x)
    for tile, padding in [(16, 2), (7, 3), (100, 0)]:
        torch.testing.assert_close(independent_tiles(_local, x, scale=2, tile=tile, padding=padding), whole)
    seams = independent_tiles(_local, x, scale=2, tile=16, padding=1)
    assert float((seams - whole).abs().max()) > 1e-2


def test_each_tile_sees_its_own_surroundings_alone():
    sizes = []

    def restore(x: torch.Tensor) -> torch.Tensor:
        sizes.append(tuple(x.shape[-2:]))
        return F.interpolate(x, scale_factor=2)

    independent_tiles(restore, torch.rand(1, 3, 20, 26), scale=2, tile=16, padding=5)
    assert sizes == [(20, 21), (20, 15), (9, 21), (9, 15)]


def test_pooling_shows_and_pieces_do_not():
    told = []
    report = compare_tiling(
        "photo.png",
        PIXELS,
        scale=2,
        whole=_pooled,
        ours=_pooled,
        others=((16, 4), (8, 4)),
        progress=told.append,
    )
    assert told[0] == "whole image"
    assert len(told) == 4
    big, small, ours = report.results
    assert big.psnr < 60
    assert small.largest > big.largest > 0
    assert big.of_range > 1e-2
    assert 0 < big.changed <= 1
    assert (ours.largest, ours.changed, ours.of_range) == (0, 0.0, 0.0)
    said = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert said["input"] == "photo.png"
    assert said["cuts"][2]["psnr"] is None
    assert said["cuts"][0]["method"] == "independent tiles of 16 px, 4 px of padding"


def test_the_image_shows_where_they_differ():
    def broken(x: torch.Tensor) -> torch.Tensor:
        result = _local(x)
        result[..., 30:34, 60:64] += 0.1
        return result

    image = compare_tiling("a", PIXELS, scale=2, whole=_local, ours=broken, others=((16, 2),)).image
    panels = np.asarray(image)[24:]
    assert panels.shape[1] == 3 * 640 + 2 * 8
    exact, ours = panels[:, 648:1288], panels[:, 1296:]
    assert exact.max() == 0
    assert ours.max() == 255
    rows, columns = np.nonzero(ours.max(axis=2))
    edges = [rows.min() / len(ours), rows.max() / len(ours), columns.min() / 640, columns.max() / 640]
    np.testing.assert_allclose(edges, [30 / 80, 34 / 80, 60 / 104, 64 / 104], atol=0.01)


def test_a_thin_seam_survives_in_a_small_panel():
    wide = np.zeros((4, 3000, 3), np.uint8)

    def seam(x: torch.Tensor) -> torch.Tensor:
        return x + (torch.arange(3000) == 1500) * 0.05

    image = compare_tiling("a", wide, scale=1, whole=lambda x: x, ours=seam, others=()).image
    assert np.asarray(image)[24:, 648:].max() > 150
