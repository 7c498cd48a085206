"""Option files of BasicSR's forks and of Real-ESRGAN: what their keys become."""

from __future__ import annotations

import copy
import re

import pytest
import yaml

from hfsr import training
from hfsr.errors import HfsrError, OptionsError
from hfsr.options import dialects
from hfsr.options.dialects import MODEL_TYPES, translate
from hfsr.registry import RECIPES

BASE = {
    "name": "theirs",
    "model_type": "SRModel",
    "scale": 2,
    "num_gpu": 0,
    "datasets": {
        "train": {"type": "PairedImageDataset", "dataroot_gt": "gt", "dataroot_lq": "lq", "gt_size": 16},
        "val": {"type": "PairedImageDataset", "dataroot_gt": "gt", "dataroot_lq": "lq"},
    },
    "network_g": {"type": "EDSR", "num_feat": 4, "num_block": 1},
    "path": {"pretrain_network_g": None},
    "train": {
        "optim_g": {"type": "Adam", "lr": 1e-3},
        "total_iter": 400,
        "pixel_opt": {"type": "L1Loss"},
    },
    "val": {"metrics": {"psnr": {"type": "calculate_psnr", "crop_border": 2}}},
}

REAL = {
    "gt_usm": True,
    "resize_prob": [0.2, 0.7, 0.1],
    "resize_range": [0.5, 1.5],
    "noise_range": [1, 20],
    "jpeg_range": [40, 90],
    "second_blur_prob": 0.7,
    "jpeg_range2": [50, 80],
    "gt_size": 24,
    "queue_size": 8,
}
REAL_SET = {
    "type": "RealESRGANDataset",
    "dataroot_gt": "gt",
    "meta_info": "list.txt",
    "io_backend": {"type": "disk"},
    "blur_kernel_size": 21,
    "blur_kernel_size2": 21,
    "kernel_list": ["iso"],
    "kernel_prob": [1],
    "kernel_list2": ["aniso"],
    "kernel_prob2": [1],
    "sinc_prob": 0.2,
    "final_sinc_prob": 0.5,
    "gt_size": 256,
    "use_hflip": True,
    "use_rot": False,
    "batch_size_per_gpu": 2,
}


def changed(**changes):
    """The base file with values at places such as `train__mixing_augs`; a value of `...` removes the key."""
    raw = copy.deepcopy(BASE)
    for place, value in changes.items():
        *outer, key = place.split("__")
        section = raw
        for name in outer:
            section = section.setdefault(name, {})
        if value is ...:
            del section[key]
        else:
            section[key] = value
    return raw


def read(tmp_path, **changes):
    path = tmp_path / "theirs.yml"
    path.write_text(yaml.safe_dump(changed(**changes)))
    return training.load_options(path)


def test_hfsrs_own_keys_stay():
    translation = translate(BASE)
    assert translation.options == {**BASE, "path": {"pretrain_network_g": None}}
    assert translation.options is not BASE
    assert not translation.without_effect
    assert not translation.problems


def test_every_model_type_of_others_is_a_recipe():
    assert set(MODEL_TYPES.values()) <= set(RECIPES)
    assert not set(MODEL_TYPES) & set(RECIPES)


def every_place(section, place=()):
    for key, value in section.items():
        yield (*place, key)
        if isinstance(value, dict):
            yield from every_place(value, (*place, key))


EVERYTHING = {
    **BASE,
    **REAL,
    "model_type": "RealESRNetModel",
    "high_order_degradation": True,
    "import": ["json"],
    "save_img": True,
    "suffix": "x",
    "crop_border": 2,
    "tile": {"tile_size": 64, "tile_pad": 8},
    "path": {"pretrain_model_g": None, "ignore_resume_networks": ["network_x"], "strict_load": True},
    "datasets": {
        "train": {**REAL_SET, "mean": [0], "task": "SR", "color": "n"},
        "val": {
            "type": "Dataset_GaussianDenoising",
            "dataroot_gt": "gt",
            "geometric_augs": True,
            "sigma_type": "constant",
            "sigma_test": 15,
            "in_ch": 3,
        },
    },
    "train": {
        **BASE["train"],
        "use_grad_clip": True,
        "mixing_augs": {"mixup": True, "mixup_beta": 1.2},
        "scheduler": {"type": "LinearLR"},
    },
    "val": {"grids": True, "use_image": False, "metrics": {"psnr": {"type": "calculate_psnr"}}},
}


def test_the_file_with_every_key_is_read(tmp_path):
    path = tmp_path / "theirs.yml"
    path.write_text(yaml.safe_dump(EVERYTHING))
    assert training.load_options(path, modules=["yaml"]).modules == ["json", "yaml"]


@pytest.mark.parametrize("value", [None, True, 5, "text", ["SRModel"], [[1]], {"a": 1}, {1: 2}], ids=str)
def test_a_value_of_any_type_at_any_place_is_read_or_one_line(tmp_path, value):
    """Types are checked after the translation, which therefore meets all of them."""
    path = tmp_path / "theirs.yml"
    for place in every_place(EVERYTHING):
        raw = copy.deepcopy(EVERYTHING)
        section = raw
        for key in place[:-1]:
            section = section[key]
        section[place[-1]] = value
        path.write_text(yaml.safe_dump(raw))
        told = ""
        try:
            training.load_options(path, modules=["yaml"])
        except HfsrError as error:
            told = str(error)
        except Exception as error:
            pytest.fail(f"{'.'.join(place)}: {value!r} raises {error!r}")
        assert "\n" not in told, place


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"train__mixing_augs": True}, "train.mixing_augs: must be a section such as {mixup: true, mixup"),
        ({"model_type": ["SRModel"]}, "model_type: input should be a valid string, not ['SRModel']"),
        ({"val": 3, "save_img": True}, "val: input should be a valid dictionary"),
    ],
)
def test_a_value_of_a_wrong_type_is_named(tmp_path, changes, told):
    with pytest.raises(OptionsError, match=re.escape(told)):
        read(tmp_path, **changes)


@pytest.mark.parametrize("name", ["SwinIRModel", "HATModel", "DATModle", "ImageCleanModel", "MambaIRv2Model"])
def test_model_types_that_are_srmodel(tmp_path, name):
    options = read(tmp_path, model_type=name)
    assert options.model_type == "SRModel"
    assert options.train.clip_grad_norm is None


@pytest.mark.parametrize(("given", "norm"), [(..., 0.01), (True, 0.01), (False, None)])
def test_image_restoration_model_clips_unless_told_otherwise(tmp_path, given, norm):
    changes = {} if given is ... else {"train__use_grad_clip": given}
    assert read(tmp_path, model_type="ImageRestorationModel", **changes).train.clip_grad_norm == norm


def test_an_unknown_model_type_is_compared_with_those_of_others_too(tmp_path):
    with pytest.raises(OptionsError, match="no recipe named 'SwinIRModle'; did you mean 'SwinIRModel'"):
        read(tmp_path, model_type="SwinIRModle")


def test_keys_of_restormer(tmp_path):
    options = read(
        tmp_path,
        model_type="ImageCleanModel",
        datasets__train__type="Dataset_PairedImage",
        datasets__train__geometric_augs=True,
        datasets__train__batch_size_per_gpu=4,
        datasets__train__mini_batch_sizes=[4, 2],
        datasets__train__iters=[300, 100],
        datasets__train__gt_sizes=[8, 16],
        datasets__val__type="Dataset_PairedImage",
        train__use_grad_clip=True,
        train__mixing_augs={"mixup": True, "mixup_beta": 1.2, "use_identity": True},
        train__scheduler={
            "type": "CosineAnnealingRestartCyclicLR",
            "periods": [100, 300],
            "restart_weights": [1, 1],
            "eta_mins": [3e-4, 1e-6],
        },
        val__window_size=8,
        val__rgb2bgr=True,
        val__use_image=False,
        val__max_minibatch=8,
    )
    train = options.datasets["train"]
    assert train.type == "PairedImageDataset"
    assert train.arguments["use_hflip"] is True
    assert train.arguments["use_rot"] is True
    assert train.gt_sizes == [8, 16]
    assert options.train.clip_grad_norm == 0.01
    assert (options.train.mixup.alpha, options.train.mixup.prob) == (1.2, 0.5)
    assert options.val.window_size == 8
    assert [key.split(" ")[0] for key in options.without_effect] == ["val.max_minibatch", "val.use_image"]


def test_without_geometric_augs_nothing_is_turned(tmp_path):
    section = read(tmp_path, datasets__train__type="Dataset_PairedImage").datasets["train"]
    assert section.arguments["use_hflip"] is section.arguments["use_rot"] is False


def test_mixing_that_is_switched_off(tmp_path):
    off = {"mixup": False, "mixup_beta": 1.2, "use_identity": True}
    assert read(tmp_path, train__mixing_augs=off).train.mixup is None
    assert read(tmp_path, train__mixup=False).train.mixup is None
    always = read(tmp_path, train__mixing_augs={"mixup": True, "mixup_beta": 0.4})
    assert (always.train.mixup.alpha, always.train.mixup.prob) == (0.4, 1)


@pytest.mark.parametrize("name", ["LinearLR", "VibrateLR"])
def test_schedules_over_the_whole_run_know_its_length(tmp_path, name):
    assert read(tmp_path, train__scheduler={"type": name}).train.scheduler.arguments == {"total_iter": 400}


def test_denoising_sets_of_restormer(tmp_path):
    noisy = {"type": "Dataset_GaussianDenoising", "dataroot_gt": "gt", "dataroot_lq": "none", "in_ch": 3}
    options = read(
        tmp_path,
        scale=1,
        network_g={"type": "MIRNet"},
        datasets__train={**noisy, "sigma_type": "random", "sigma_range": [0, 50], "gt_size": 16},
        datasets__val={**noisy, "sigma_test": 25},
    )
    expected = {"type": "GaussianNoise", "sigma": [0, 50], "clip": False}
    assert options.datasets["train"].arguments["degradation"] == expected
    assert options.datasets["val"].arguments["degradation"] == {**expected, "sigma": 25}
    chosen = translate(changed(datasets__train={**noisy, "sigma_type": "choice", "sigma_range": [15, 25]}))
    step = chosen.options["datasets"]["train"]["degradation"]
    assert [one["sigma"] for one in step["choices"]] == [15, 25]


def test_keys_of_old_files(tmp_path):
    options = read(
        tmp_path,
        datasets__train__use_flip=False,
        datasets__val__color="n",
        path={"pretrain_model_g": "x.pth", "strict_load": False, "param_key": "params_ema"},
        val__metrics={"psnr": {"type": "calculate_psnr"}},
        save_img=True,
        suffix="x2",
        crop_border=3,
    )
    assert options.datasets["train"].arguments["use_hflip"] is False
    path = options.path
    assert (path.pretrain_network_g, path.strict_load_g, path.param_key_g) == ("x.pth", False, "params_ema")
    assert (options.val.save_img, options.val.suffix) == (True, "x2")
    assert options.val.metrics["psnr"].arguments["crop_border"] == 3


def test_tiles_of_hat(tmp_path):
    tile = {"tile_size": 256, "tile_pad": 32}
    assert read(tmp_path, tile=tile).val.tile_size == 256
    others = translate(changed(tile=tile, network_g={"type": "HAT"}))
    assert others.without_effect == ["tile (images are restored whole)"]


def test_neutral_values_are_accepted_and_others_refused(tmp_path):
    read(tmp_path, datasets__train__mean=[0, 0, 0], datasets__train__std=[1, 1, 1])
    with pytest.raises(
        OptionsError, match=r"datasets.train.mean: \[0.5, 0.5, 0.5\] is not supported: networks"
    ):
        read(tmp_path, datasets__train__mean=[0.5, 0.5, 0.5])


def test_ignored_networks(tmp_path):
    options = read(tmp_path, path__ignore_resume_networks="network_identity")
    assert options.without_effect == ("path.ignore_resume_networks (network_identity is not trained)",)
    with pytest.raises(
        OptionsError, match="ignore_resume_networks: network_g is restored with its training st"
    ):
        read(tmp_path, path__ignore_resume_networks=["network_g"])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"gt_usm": True}, "gt_usm: unknown key"),
        ({"train__use_grad_clp": True}, "train.use_grad_clp: unknown key"),
        ({"val__grid": True}, "val.grid: unknown key"),
        ({"train__use_grad_clip": 3}, "train.use_grad_clip: must be true or false, not 3"),
        (
            {"train__use_grad_clip": True, "train__clip_grad_norm": 1.0},
            r"train.use_grad_clip: clips to 0.01; keep it or clip_grad_norm, not both",
        ),
        ({"train__mixing_augs": {"mixup": True, "cutmix": True}}, "train.mixing_augs.cutmix: unknown key"),
        (
            {"datasets__train__use_flip": True, "datasets__train__use_hflip": False},
            "datasets.train.use_flip: has another value than use_hflip",
        ),
        ({"datasets__train__iters": [10]}, "datasets.train: progressive training also needs gt_sizes"),
        (
            {
                "datasets__train__iters": [10, 10],
                "datasets__train__gt_sizes": [8],
                "datasets__train__mini_batch_sizes": [1],
            },
            "must have one number for each stage",
        ),
        ({"datasets__train__queue_size": 7}, "queue_size 7 is not a multiple of batch_size_per_gpu 16"),
        ({"datasets__train__task": "CAR"}, "datasets.train.task: CAR reads images in gray"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, changes, told):
    with pytest.raises(OptionsError, match=told) as caught:
        read(tmp_path, **changes)
    assert "\n" not in str(caught.value)


class TestRealEsrgan:
    def read(self, tmp_path, *, model_type="RealESRNetModel", train=None, **changes):
        top = {key: value for key, value in REAL.items() if key not in changes}
        return read(
            tmp_path,
            model_type=model_type,
            datasets__train={**REAL_SET, **(train or {})},
            **top,
            **{key: value for key, value in changes.items() if value is not ...},
        )

    def test_all_keys_of_the_degradation_become_arguments_of_second_order(self, tmp_path):
        section = self.read(tmp_path).datasets["train"]
        assert section.type == "PairedImageDataset"
        assert section.queue_size == 8
        assert section.arguments == {
            "dataroot_gt": "gt",
            "meta_info_file": "list.txt",
            "io_backend": {"type": "disk"},
            "gt_size": 24,
            "use_hflip": True,
            "use_rot": False,
            "sharpen_gt": True,
            "degradation": {
                "type": "SecondOrder",
                "kernel_list": ["iso"],
                "kernel_prob": [1],
                "kernel_list2": ["aniso"],
                "kernel_prob2": [1],
                "sinc_prob": 0.2,
                "final_sinc_prob": 0.5,
                "resize_prob": [0.2, 0.7, 0.1],
                "resize_range": [0.5, 1.5],
                "noise_range": [1, 20],
                "jpeg_range": [40, 90],
                "second_blur_prob": 0.7,
                "jpeg_range2": [50, 80],
            },
        }

    def test_net_compares_with_sharpened_images_or_sharpens_nothing(self, tmp_path):
        options = self.read(tmp_path)
        assert (options.model_type, options.train.usm.pixel, options.train.usm.perceptual) == (
            "SRModel",
            True,
            True,
        )
        options = self.read(tmp_path, gt_usm=False)
        assert options.train.usm is None
        assert "sharpen_gt" not in options.datasets["train"].arguments

    def test_gan_sharpens_and_each_loss_has_its_flag(self, tmp_path):
        flags = {"l1_gt_usm": True, "percep_gt_usm": False, "gan_gt_usm": True}
        options = self.read(tmp_path, model_type="RealESRGANModel", gt_usm=..., **flags)
        usm = options.train.usm
        assert options.model_type == "SRGANModel"
        assert (usm.pixel, usm.perceptual, usm.gan) == (True, False, True)
        assert options.datasets["train"].arguments["sharpen_gt"] is True

    def test_the_pool_has_180_pairs_where_nothing_is_said(self, tmp_path):
        assert self.read(tmp_path, queue_size=...).datasets["train"].queue_size == 180

    def test_given_pairs_are_not_degraded(self, tmp_path):
        flags = {"l1_gt_usm": True, "percep_gt_usm": True, "gan_gt_usm": False}
        options = read(
            tmp_path,
            model_type="RealESRGANModel",
            high_order_degradation=False,
            datasets__train={
                "type": "RealESRGANPairedDataset",
                "dataroot_gt": "gt",
                "dataroot_lq": "lq",
                "meta_info": "pairs.txt",
                "gt_size": 16,
            },
            **flags,
        )
        section = options.datasets["train"]
        assert (section.type, section.queue_size) == ("PairedImageDataset", 0)
        assert section.arguments["meta_info"] == "pairs.txt"
        assert section.arguments["sharpen_gt"] is True
        assert "degradation" not in section.arguments

    @pytest.mark.parametrize(
        ("changes", "told"),
        [
            ({"gt_usm": ...}, "gt_usm: must be true or false"),
            ({"l1_gt_usm": True}, "l1_gt_usm: is not a key of RealESRNetModel, which takes gt_usm"),
            ({"train": {"type": "PairedImageDataset"}}, "PairedImageDataset has no images to degrade"),
            ({"high_order_degradation": False}, "RealESRGANDataset has no LQ images"),
            ({"train": {"sinc_prop": 1}}, "datasets.train.sinc_prop: unknown key"),
            ({"resize_rang": [1, 2]}, "resize_rang: unknown key"),
        ],
    )
    def test_what_cannot_be_is_one_line(self, tmp_path, changes, told):
        with pytest.raises(OptionsError, match=told):
            self.read(tmp_path, **changes)

    def test_a_test_file_has_no_images_to_degrade(self, tmp_path):
        options = read(tmp_path, model_type="RealESRGANModel", datasets__train=..., train=..., queue_size=180)
        assert options.model_type == "SRGANModel"


def test_no_key_without_effect_is_one_of_hfsrs():
    for pattern in dialects.WITHOUT_EFFECT:
        translation = translate({pattern[0]: {}} if "*" not in pattern else {"datasets": {"val": {}}})
        assert not translation.without_effect
    raw = changed(
        datasets__val__task="denoising",
        val__grids=True,
        val__crop_size_h=64,
        val__trans_num=8,
        val__use_chop=True,
    )
    told = " ".join(translate(raw).without_effect)
    for key in ("datasets.val.task", "val.grids", "val.crop_size_h", "val.trans_num", "val.use_chop"):
        assert key in told
