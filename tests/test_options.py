"""Option files: every one we ship, and what is said of a bad one."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import pytest
import torch
import yaml

from hfsr import model_zoo, training
from hfsr.errors import OptionsError
from hfsr.options import find_option_file, read_options
from hfsr.options.binding import arguments_model
from hfsr.options.schema import schema_text
from hfsr.registry import ARCHS
from hfsr.training.setup import build_network, check_channels

from .training.conftest import tiny_options, write_images

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "options").rglob("*.yml"))


def test_none_is_lost():
    assert len(FILES) >= 45


def test_every_network_has_one():
    text = "".join(file.read_text() for file in FILES)
    restorers = [spec for spec in ARCHS.own().values() if spec.role == "restorer"]
    lacking = [spec for spec in restorers if not re.search(rf"\btype: {spec.name}\b", text)]
    # hfsr zeroshot trains it, on the image itself.
    missing = [spec for spec in lacking if spec.name != "ZSSRNet"]
    names = [f"options/{spec.cls.__module__.rpartition('.')[2]}_x{spec.scales[-1]}.yml" for spec in missing]
    assert not missing, f"add an option file that trains the network, for example {', '.join(names)}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
class TestShipped:
    def test_validates_and_builds_on_the_meta_device(self, file):
        options = read_options(file)
        assert options.name == file.stem
        with torch.device("meta"):
            network = build_network(options)
            check_channels(options, network)
        assert network.scale == options.scale

    def test_opens_with_what_a_reader_needs(self, file):
        lines = file.read_text().splitlines()
        assert lines[0] == "# yaml-language-server: $schema=schema.json"
        header = "\n".join(lines[: next(i for i, line in enumerate(lines) if line.startswith("name:"))])
        for word in ("Data: ", f"Command: basicsr train -opt options/{file.name}", "Reaches: "):
            assert word in header

    def test_networks_of_luma_learn_from_luma(self, file):
        options = read_options(file)
        with torch.device("meta"):
            makes_luma = model_zoo.is_luma_network(network := build_network(options))
        assert options.train.pixel_y_channel is (makes_luma or getattr(network, "num_in_ch", 3) == 1)

    def test_trains_two_iterations_at_tiny_size(self, file, tmp_path):
        folder = write_images(tmp_path / "pictures")
        run = training.train(read_options(file, tiny(read_options(file), folder)), root=tmp_path)
        assert (run / "models" / "net_g_latest" / "model.safetensors").is_file()


def tiny(shipped, folder):
    """What makes a shipped file small: tiny networks, small patches of small images, nothing fetched."""
    given = tiny_options(folder)["datasets"]
    size = 8 * shipped.scale
    overrides = ["train:total_iter=2", "logger:use_tb_logger=false", "num_gpu=0"]
    for word in ("network_g", "network_d", "network_dual"):
        section = getattr(shipped, word)
        if section is not None:
            spec = ARCHS[section.type]
            network = {**next(spec.presets[name] for name in spec.presets if name.endswith("_tiny"))}
            parameters = inspect.signature(spec.cls).parameters
            network |= dict.fromkeys({"upscale", "scale"} & parameters.keys(), shipped.scale)
            if "input_size" in parameters:
                network["input_size"] = size = max(size, network["input_size"])
            overrides.append(f"{word}={json.dumps({**network, 'type': spec.name})}")
        if word in ("network_g", "network_d"):
            overrides.append(f"path:pretrain_{word}=~")
    overrides.append("path:pretrain_network_dual=~")
    for word in ("perceptual_opt", "texture_opt"):
        section = getattr(shipped.train, word, None)
        if section is not None and "layer_weights" in section.arguments:  # VGG, which would be downloaded
            overrides += [f"train:{word}:layer_weights={{relu1_1: 1.0}}", f"train:{word}:pretrained=false"]
    if size > 36:
        given["train"]["dataroot_gt"] = str(write_images(folder / "large", count=1, size=(size, size)))
    train, scales = {**given["train"], "gt_size": size}, shipped.datasets["train"].arguments.get("scales")
    if scales:
        train |= {"scales": scales[:: len(scales) - 1], "gt_size": None, "lq_size": 4}
    overrides.append(f"datasets:train={json.dumps(train)}")
    overrides.append(f"datasets:val={json.dumps(given['val'])}")
    if "unpaired" in shipped.datasets:
        overrides.append(f"datasets:unpaired:dataroot_lq={folder}")
    return overrides


def test_the_schema_is_not_stale():
    committed = (ROOT / "options" / "schema.json").read_text()
    is_current = committed == schema_text()  # pytest's comparison of such long texts explains nothing
    assert is_current, "options/schema.json is generated and stale; rewrite it: python -m hfsr.options"


def test_the_schema_completes_networks_and_forbids_other_words():
    definitions = json.loads(schema_text())["$defs"]
    branches = {b["properties"]["type"].get("const"): b for b in definitions["network"]["anyOf"]}
    assert {"EDSR", "RCAN", "A2N", "MSRResNet"} <= branches.keys()
    assert {"num_feat", "num_block", "upscale"} <= branches["EDSR"]["properties"].keys()
    assert branches["EDSR"]["additionalProperties"] is False
    datasets = {b["properties"]["type"].get("const"): b for b in definitions["dataset"]["anyOf"]}
    assert {"dataroot_gt", "batch_size_per_gpu"} <= datasets["PairedImageDataset"]["properties"].keys()


@pytest.fixture
def content(tmp_path):
    return tiny_options(tmp_path / "absent")


@pytest.fixture
def write(tmp_path):
    def write(content, name="file.yml"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return path

    return write


def test_every_error_is_told_at_once_with_its_place_and_the_nearest_word(content, write):
    content["train"]["optim_g"]["lrr"] = 1
    content["train"]["total_itr"] = 5
    content["train"]["pixel_opt"]["type"] = "L1Los"
    content["network_g"]["num_fet"] = 8
    content["network_g"]["num_block"] = "many"
    content["datasets"]["train"]["gt_sze"] = 8
    content["model_type"] = "SRModl"
    content["nme"] = content.pop("name")
    with pytest.raises(OptionsError) as caught:
        training.load_options(write(content))
    told = str(caught.value)
    assert "\n" not in told
    for part in (
        "file.yml: 9 errors: ",
        "name: is missing",
        "nme: unknown key; did you mean 'name'?",
        "train.optim_g.lrr: unknown key; did you mean 'lr'?",
        "train.total_itr: unknown key; did you mean 'total_iter'?",
        "train.pixel_opt.type: no loss named 'L1Los'; did you mean 'L1Loss'?",
        "network_g.num_fet: unknown key; did you mean 'num_feat'?",
        "network_g.num_block: input should be a valid integer",
        "datasets.train.gt_sze: unknown key; did you mean 'gt_size'?",
        "model_type: no recipe named 'SRModl'; did you mean 'SRModel'?",
    ):
        assert part in told


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        (
            "scale",
            "two",
            "scale: input should be a valid integer, unable to parse string as an integer, not 'two'",
        ),
        ("network_g:upscale", 3, "network_g.upscale: is 3, but the file's scale is 2; make them equal"),
        ("datasets:train:gt_size", 13, "train.gt_size: is 13, not a multiple of the scale 2; use 12"),
        ("datasets:train:gt_size", 1, "train.gt_size: is 1, not a multiple of the scale 2; use 2"),
        ("network_g:type", "EDRS", "network_g.type: no network named 'EDRS'; did you mean 'EDSR'?"),
        ("datasets:training", {"type": "PairedImageDataset"}, "training: name data sets train, val"),
        (
            "datasets:train:accum_iter",
            0,
            "datasets.train.accum_iter: input should be greater than or equal to 1",
        ),
        ("train:optim_g:type", "Adm", "train.optim_g.type: no optimizer named 'Adm'; did you mean 'Adam'?"),
        ("train:scheduler", {"type": "MultiStepLR"}, "train.scheduler.milestones: is missing"),
        ("val:metrics", {"p": {"type": "calculate_psnr"}}, "val.metrics.p.crop_border: is missing"),
        ("logger:print_frequency", 3, "logger.print_frequency: unknown key; did you mean 'print_freq'?"),
        ("datasets:train:gt_size", -2, "train.gt_size: is -2, not a multiple of the scale 2; use 2"),
        ("train:pixel_opt", {"type": "GANLoss", "gan_type": "vanilla"}, "GANLoss belongs to train.gan_opt"),
        ("train:gan_opt", {"type": "L1Loss"}, "L1Loss does not fit this section; use GANLoss"),
        ("train:perceptual_opt", {"type": "TextureLoss", "layer_weights": {}}, "use PerceptualLoss"),
        ("network_g", {"type": "VGG16MINC"}, "is a network with the role 'features'; network_g needs a rest"),
        ("network_d", {"type": "EDSR"}, "is a network with the role 'restorer'; network_d needs a discrim"),
        ("manual_seed", 2**32, "manual_seed: input should be less than 4294967296"),
        ("num_gpu", -1, "input should be greater than or equal to 0, not -1"),
        ("name", "a/b", "name: string should match pattern"),
        ("name", "..", "name: string should match pattern"),
        ("datasets:val:name", "../../../out", "datasets.val.name: '../../../out' names the folder of"),
        ("datasets:val:name", "a/b", "datasets.val.name: 'a/b' names the folder of results; use a"),
        ("datasets:val_a/b", {"type": "PairedImageDataset"}, "datasets.val_a/b: 'val_a/b' names the folder"),
        ("datasets:train_2", {"type": "PairedImageDataset"}, "train_2: name data sets train, val"),
        ("val:suffix", "a/b", "val.suffix: string should match pattern"),
        ("train", 3, "train: input should be a valid dictionary"),
    ],
)
def test_one_error(content, write, place, value, told):
    *sections, word = place.split(":")
    section = content
    for name in sections:
        section = section[name]
    section[word] = value
    with pytest.raises(OptionsError, match=re.escape(told)):
        read_options(write(content))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: [", "is not YAML"),
        ("- 1", "it must be a mapping"),
        ("", "it must be a mapping"),
        ("name: !!python/object/apply:os.system [ls]", "is not YAML"),
        ("\x00", "is not YAML"),
    ],
)
def test_what_is_no_option_file(write, text, told):
    with pytest.raises(OptionsError, match=told):
        read_options(write(text))


def test_a_image_is_no_option_file(tmp_path):
    (tmp_path / "a.yml").write_bytes(b"\x89PNG\r\n\xff\xfe")
    with pytest.raises(OptionsError, match="is not YAML"):
        read_options(tmp_path / "a.yml")


def test_numbers_as_basicsr_writes_them(content, write):
    text = yaml.safe_dump(content) + "dist_params: ~\n"
    for plain, theirs in (("lr: 0.001", "lr: !!float 1e-3"), ("val_freq: 3", "val_freq: !!float 5e3")):
        assert plain in text
        text = text.replace(plain, theirs)
    options = read_options(write(text.replace("total_iter: 6", "total_iter: 3e5")))
    assert options.train.optim_g.arguments["lr"] == 1e-3
    assert options.val.val_freq == 5000
    assert options.train.total_iter == 300_000
    assert options.dist_params is None


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        ("datasets:train:use_hflip", "false", False),
        ("datasets:train:use_rot", "no", False),
        ("datasets:train:gt_size", "32", 32),
        ("datasets:train:gt_size", 32.0, 32),
        ("datasets:train:batch_size_per_gpu", "4", 4),
        ("datasets:train:degradation", {"type": "GaussianNoise", "sigma": "5"}, {"sigma": 5.0}),
        (
            "datasets:train:degradation",
            [{"type": "RandomChoice", "choices": [{"type": "Jpeg", "quality": "50"}]}],
            [{"choices": [{"quality": 50.0}]}],
        ),
        ("network_g:num_feat", 8.0, 8),
        ("network_g:upscale", "2", 2),
        ("train:optim_g:lr", "1e-4", 1e-4),
        ("train:optim_g:weight_decay", "0.5", 0.5),
        ("train:optim_g:betas", ["0.9", 0.99], [0.9, 0.99]),
        ("train:pixel_opt:loss_weight", "0.1", 0.1),
        ("train:scheduler", {"type": "MultiStepLR", "milestones": ["2"], "gamma": "0.5"}, {"gamma": 0.5}),
        (
            "train:scheduler",
            {"type": "CosineAnnealingRestartLR", "periods": ["10"], "eta_min": "1e-7"},
            {"periods": [10], "eta_min": 1e-7},
        ),
        ("train:scheduler", {"type": "TrueCosineAnnealingLR", "T_max": "4"}, {"T_max": 4}),
        (
            "val:metrics",
            {"p": {"type": "calculate_psnr", "crop_border": "2", "test_y_channel": "false"}},
            {"p": {"crop_border": 2, "test_y_channel": False}},
        ),
    ],
)
def test_arguments_of_types_are_converted_as_other_keys_are(content, write, place, value, expected):
    *sections, word = place.split(":")
    section = content
    for name in sections:
        section = section[name]
    section[word] = value
    found = read_options(write(content)).model_dump()
    for name in (*sections, word):
        found = found[name]
    assert_holds(found, expected)


def assert_holds(found, expected):
    """Also the types must be equal: 8.0 is no width, and "false" is true."""
    if isinstance(expected, dict):
        for key, value in expected.items():
            assert_holds(found[key], value)
    elif isinstance(expected, list):
        for one, other in zip(found, expected, strict=True):
            assert_holds(one, other)
    else:
        assert (type(found), found) == (type(expected), expected)


def test_integers_of_other_packages_stay_integers(content, write):
    """Their constructors have no annotations; a default of 48 may stand for a width or for a weight."""

    def network(num_feat=48, depths=(6, 6), ratio=2.0, weight=0):
        raise NotImplementedError

    arguments = arguments_model(network, frozenset())
    found = arguments(num_feat="8", depths=[4.0, "2"], ratio=2, weight=0.5)
    assert_holds(found.model_dump(), {"num_feat": 8, "depths": [4, 2], "ratio": 2.0, "weight": 0.5})


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train:optim_g:lr=2e-4", 2e-4),
        ("path:pretrain_network_g=none", None),
        ("path:pretrain_network_g=None", None),
        ("path:pretrain_network_g=none.pth", "none.pth"),
        ("train:optim_g:lr=!!float 2e-4", 2e-4),
        ("train:optim_g:betas=[0.9, 0.99]", [0.9, 0.99]),
        ("val:tile_size=64", 64),
        ("path:pretrain_network_g=~", None),
        ("path:pretrain_network_g=a=b", "a=b"),
        ("logger:push_to_hub=__import__('os').getcwd()", "__import__('os').getcwd()"),
    ],
)
def test_overrides_are_yaml_and_nothing_is_evaluated(content, write, override, expected):
    options = read_options(write(content), [override])
    value = options.model_dump()
    for word in override.partition("=")[0].split(":"):
        value = value[word]
    assert value == expected


@pytest.mark.parametrize("override", ["train:total_iter", "=3", "train::x=3", "scale:x=3", "name=["])
def test_what_is_no_override(content, write, override):
    with pytest.raises(OptionsError, match="--force_yml"):
        read_options(write(content), [override])


def test_the_current_folder_comes_before_the_packaged_files(tmp_path, monkeypatch, content, write):
    monkeypatch.chdir(tmp_path)
    assert find_option_file("options/quickstart_x2.yml") == ROOT / "options" / "quickstart_x2.yml"
    (tmp_path / "options").mkdir()
    own = write(content, "options/quickstart_x2.yml")
    assert find_option_file("options/quickstart_x2.yml").resolve() == own
    with pytest.raises(
        OptionsError, match=r"no option file 'options/quikstart_x2.yml'.*did you mean 'quickstart_x2.yml'"
    ):
        find_option_file("options/quikstart_x2.yml")


def test_the_scale_of_the_file_is_the_networks(content, write):
    content["scale"], content["datasets"]["train"]["gt_size"] = 3, 18
    assert build_network(read_options(write(content))).scale == 3


def test_a_type_of_another_package_is_asked_for_once(content, write):
    content["datasets"]["train"]["type"] = "TheirDataset"
    asked = []
    with pytest.raises(OptionsError, match="no data set type named 'TheirDataset'"):
        read_options(write(content), more_types=lambda: asked.append(1))
    assert asked == [1]
    content["datasets"]["train"]["type"] = "PairedImageDataset"
    read_options(write(content), more_types=lambda: asked.append(2))
    assert asked == [1]


def test_every_preset_can_be_written_in_an_option_file(content, write):
    for name, spec in model_zoo.presets().items():
        if spec.role == "restorer":
            arguments = dict(spec.presets[name])
            content["network_g"] = {"type": spec.name, **json.loads(json.dumps(arguments))}
            content["scale"] = content["datasets"]["train"]["gt_size"] = spec.scale_of(arguments)
            read_options(write(content))


BASICSRS_WORDS = """
name: 201_EDSR_Lx2_f256b32
model_type: SRModel
scale: 2
num_gpu: 1  # set num_gpu: 0 for cpu mode
manual_seed: 10
datasets:
  train:
    name: DIV2K
    type: PairedImageDataset
    dataroot_gt: datasets/DF2K/DIV2K_train_HR_sub
    dataroot_lq: datasets/DF2K/DIV2K_train_LR_bicubic_X2_sub
    meta_info_file: basicsr/data/meta_info/meta_info_DIV2K800sub_GT.txt
    filename_tmpl: '{}'
    io_backend:
      type: disk
    gt_size: 96
    use_hflip: true
    use_rot: true
    num_worker_per_gpu: 6
    batch_size_per_gpu: 16
    dataset_enlarge_ratio: 100
    prefetch_mode: ~
  val:
    name: Set5
    type: PairedImageDataset
    dataroot_gt: datasets/Set5/GTmod12
    dataroot_lq: datasets/Set5/LRbicx2
    io_backend:
      type: disk
network_g:
  type: EDSR
  num_in_ch: 3
  num_out_ch: 3
  num_feat: 256
  num_block: 32
  upscale: 2
  res_scale: 0.1
  img_range: 255.
  rgb_mean: [0.4488, 0.4371, 0.4040]
path:
  pretrain_network_g: ~
  param_key_g: params
  strict_load_g: true
  resume_state: ~
train:
  ema_decay: 0.999
  optim_g:
    type: Adam
    lr: !!float 1e-4
    weight_decay: 0
    betas: [0.9, 0.99]
  scheduler:
    type: CosineAnnealingRestartLR
    periods: [250000, 250000]
    restart_weights: [1, 1]
    eta_min: !!float 1e-7
  total_iter: 300000
  warmup_iter: -1  # no warm up
  pixel_opt:
    type: L1Loss
    loss_weight: 1.0
    reduction: mean
val:
  val_freq: !!float 5e3
  save_img: false
  pbar: false
  metrics:
    psnr: # metric name, can be arbitrary
      type: calculate_psnr
      crop_border: 2
      test_y_channel: false
      better: higher
logger:
  print_freq: 100
  save_checkpoint_freq: !!float 5e3
  use_tb_logger: true
  wandb:
    project: ~
    resume_id: ~
dist_params:
  backend: nccl
  port: 29500
"""


def test_basicsrs_words_are_all_known(write):
    options = read_options(write(BASICSRS_WORDS))
    assert options.logger.save_checkpoint_freq == 5000
    assert options.network_g.arguments["img_range"] == 255.0
    assert options.train.scheduler.arguments["eta_min"] == 1e-7


@pytest.mark.parametrize("section", ["val", "path", "logger"])
def test_an_empty_section_is_as_if_it_were_left_out(content, write, section):
    content.pop(section, None)
    left_out = read_options(write(content))
    assert read_options(write({**content, section: None})) == left_out
    assert read_options(write(content), [f"{section}=~"]) == left_out


def test_an_empty_data_set_is_as_if_it_were_left_out(content, write):
    content["datasets"].pop("val")
    left_out = read_options(write(content))
    content["datasets"]["val"] = None
    assert read_options(write(content)) == left_out


def test_a_section_that_is_needed_must_not_be_empty(content, write):
    with pytest.raises(OptionsError, match="network_g: is missing"):
        read_options(write({**content, "network_g": None}))


def test_a_word_with_two_values_is_refused(content, write):
    text = yaml.safe_dump(content)
    path = write(content)
    path.write_text(text + "scale: 3\n")
    line = text.count("\n") + 1
    with pytest.raises(OptionsError, match=f"'scale' is given again in line {line}; keep one of the two"):
        read_options(path)
    path.write_text(text + f"scale: {content['scale']}\n")
    assert read_options(path).scale == content["scale"]
