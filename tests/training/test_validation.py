"""Validation sets: every image keeps results of its own."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hfsr import training
from hfsr.data.prepare.parallel_files import write_png
from hfsr.errors import OptionsError
from hfsr.training import testing
from hfsr.training.setup import build_dataset, patches_of

from .conftest import write_images


@pytest.fixture
def nested(tmp_path: Path) -> Path:
    """Four different images, two of each name."""
    for number, folder in enumerate(("a", "b")):
        write_images(tmp_path / "nested" / folder, count=2, size=(24 + 8 * number, 20))
    return tmp_path / "nested"


def sizes(folder: Path) -> dict[str, tuple[int, int]]:
    found = {}
    for path in folder.rglob("*.png"):
        with Image.open(path) as image:
            found[str(path.relative_to(folder))] = image.size
    return found


def test_images_of_equal_names_are_saved_in_places_of_their_own(tmp_path, options, nested):
    chosen = options(f"datasets:val:dataroot_gt={nested}", "val:save_img=true", "val:val_freq=6")
    folder = training.train(chosen, root=tmp_path)
    saved = sizes(folder / "visualization")
    expected = {"a/0": (24, 20), "a/1": (24, 20), "b/0": (32, 20), "b/1": (32, 20)}
    assert saved == {
        f"{name}/{name[2:]}_{iteration}.png": size for name, size in expected.items() for iteration in (0, 6)
    }
    testing.test(chosen, root=tmp_path)
    results = tmp_path / "results" / "tiny"
    assert sizes(results / "visualization" / "held_out") == {
        f"{name}_tiny.png": size for name, size in expected.items()
    }
    (measured,) = json.loads((results / "report.json").read_text())["sets"]
    assert [image["name"] for image in measured["per_image"]] == list(expected)


def test_two_sets_with_the_same_image_names_do_not_overwrite_each_other(tmp_path, options, images):
    other = write_images(tmp_path / "other", size=(32, 20))
    second = f"{{name: second, type: PairedImageDataset, dataroot_gt: '{other}'}}"
    chosen = options(f"datasets:val_1={second}", "val:save_img=true", "val:val_freq=6")
    saved = sizes(training.train(chosen, root=tmp_path) / "visualization")
    assert saved["held_out/0/0_6.png"] == (40, 36)
    assert saved["second/0/0_6.png"] == (32, 20)
    assert len(saved) == 2 * 3 * 2


def test_two_sets_of_one_name_are_refused(tmp_path, options, images):
    second = f"{{name: held_out, type: PairedImageDataset, dataroot_gt: '{images}'}}"
    with pytest.raises(OptionsError, match=r"datasets.val_1.name: another set is called 'held_out' too"):
        training.train(options(f"datasets:val_1={second}"), root=tmp_path)


def test_wrong_pairs_of_equal_names_no_longer_train(tmp_path, options):
    rng = np.random.default_rng(0)
    for sub in ("a", "b"):
        gt = rng.integers(0, 256, (32, 32, 3), np.uint8)
        for root, image in (("gt", gt), ("lq", gt[::2, ::2])):
            (tmp_path / root / sub).mkdir(parents=True)
            Image.fromarray(image).save(tmp_path / root / sub / "im0.png")
    words = (f"datasets:train:dataroot_gt={tmp_path / 'gt'}", f"datasets:train:dataroot_lq={tmp_path / 'lq'}")
    for low, high in patches_of(build_dataset(options(*words), "train"), seed=0).pairs:
        np.testing.assert_array_equal(low, high[::2, ::2])


def test_training_says_that_images_of_16_bits_keep_them(tmp_path, options, caplog):
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 1 << 16, (32, 32, 3), dtype=np.uint16)
        write_png(tmp_path / "deep" / f"{number}.png", pixels)
    chosen = options(f"datasets:train:dataroot_gt={tmp_path / 'deep'}", "train:total_iter=1")
    with caplog.at_level(logging.INFO, logger="hfsr"):
        training.train(chosen, root=tmp_path)
    assert caplog.text.count("2 of the images have 16 bits per channel and train with all of them") == 1
    caplog.clear()
    training.train(options("train:total_iter=1"), root=tmp_path)
    assert "16 bits" not in caplog.text
