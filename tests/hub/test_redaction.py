"""Option files that are published: private paths and secrets are removed, everything else stays."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hfsr import _resources
from hfsr.hub.cards.option_file import read_option_file
from hfsr.hub.cards.redaction import redact_option_file, redact_path

RUN = r"""# started by: python train.py -opt /home/alice/secret/leak.yml
# Trains on photos and/or scans, see https://example.org/a/b
name: leak  # copied from ~/alice/leak.yml
scale: 2
datasets:
  train:
    name: Photos
    type: PairedImageDataset
    dataroot_gt: /home/alice/client-acme/photos/
    # dataroot_gt: /mnt/alice/old
    meta_info_file: file:///home/alice/x/meta.txt
  val: {name: held_out, dataroot_gt: [//nas/alice/val/, "C:\\Users\\alice\\x\\"]}  # kept
network_g: {type: EDSR, num_feat: 8, num_block: 2}
path: {pretrain_network_g: /home/alice/old_run/, resume_state: ../../alice/x.state}
logger: {wandb: {project: tiny, api_key: SECRETKEY123, resume_id: ~}}
# wandb: {api_key: SECRETKEY123}
"""


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    path = tmp_path / "leak.yml"
    path.write_text(RUN)
    return path


def test_paths_and_secrets_are_removed(run_file: Path) -> None:
    file = read_option_file(run_file)
    for private in ("alice", "acme", "SECRETKEY123", "nas"):
        assert private not in file.text
        assert private not in str(file.training)
    options = yaml.safe_load(file.text)
    assert options["datasets"]["train"]["dataroot_gt"] == "photos"
    assert options["datasets"]["train"]["meta_info_file"] == "meta.txt"
    assert options["datasets"]["val"]["dataroot_gt"] == ["val", "x"]
    assert options["path"] == {"pretrain_network_g": "old_run", "resume_state": "x.state"}
    assert options["logger"]["wandb"] == {"project": "tiny", "api_key": "removed", "resume_id": None}
    assert file.training.started_from == "old_run"
    assert file.training.data == "Photos, photos"


def test_everything_else_stays(run_file: Path) -> None:
    lines = read_option_file(run_file).text.splitlines()
    assert lines[0] == "# Trains on photos and/or scans, see https://example.org/a/b"
    assert lines[1] == "name: leak"
    assert any(line.endswith("]}  # kept") for line in lines)
    assert "network_g: {type: EDSR, num_feat: 8, num_block: 2}" in lines


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("/data/DIV2K", "DIV2K"),
        ("/home/alice", "~"),
        ("~/photos/", "photos"),
        ("$HOME/my photos/x", "x"),
        ("%USERPROFILE%\\x", "x"),
        (r"\\server\share\x", "x"),
        ("alice@nas:/volume/x", "x"),
        ("nas:/volume/x", "nas:x"),
        ("s3://bucket/alice/x.lmdb", "x.lmdb"),
        ("https://alice:pw@host/x.zip", "x.zip"),
        ("datasets/../../alice/x", "datasets/x"),
        ("made from /home/alice/my photos/x", "made from x"),
        ("hf_" + "a" * 30, "removed"),
        ("hf_super_resolution_x4", "hf_super_resolution_x4"),
        ("owner/hf_image_restoration_v2", "owner/hf_image_restoration_v2"),
        ("sk-learn-super-resolution-network-with-a-name", "sk-learn-super-resolution-network-with-a-name"),
        ("WANDB_API_KEY=abc", "WANDB_API_KEY= removed"),
        ("experiments/base/net_g.pth", "experiments/base/net_g.pth"),
        ("hf://datasets/owner/name/train", "hf://datasets/owner/name/train"),
        ("https://example.org/x.zip", "https://example.org/x.zip"),
        ("*/train", "*/train"),
        ("1/2 and 3 / 4 ...", "1/2 and 3 / 4 ..."),
    ],
)
def test_single_texts(text: str, redacted: str) -> None:
    assert redact_path(text) == redacted
    assert yaml.safe_load(redact_option_file(yaml.safe_dump({"x": [text]}))) == {"x": [redacted]}


@pytest.mark.parametrize(
    "text",
    [
        "a: |\n  from /home/alice/x\nb: 1\n",
        "a: >-\n  from\n  /home/alice/x\nb: 1\n",
        "a: &p /home/alice/x\nb: *p\n",
        "a:\n  - /home/alice/x  # one\n  - !!str /home/alice/y\n",
        "secrets: {user: alice, numbers: [1, 2]}\n",
        "password: alice\n",
        '"/home/alice/a": 0.3\n',
        'a: "/home/al\\\n  ice/x"\n',
        "%YAML 1.1\n---\na: /home/alice/x\n...\n# /home/alice\n",
    ],
)
def test_every_form_of_yaml(text: str) -> None:
    redacted = redact_option_file(text)
    assert "alice" not in redacted
    assert yaml.safe_load(redacted).keys() == yaml.safe_load(text.replace("/home/alice/", "")).keys()


def test_packaged_option_files_are_unchanged() -> None:
    files = sorted(_resources.folder("options").rglob("*.yml"))
    assert files
    for file in files:
        assert redact_option_file(file.read_text()) == file.read_text()


def test_settings_under_names_of_secrets_stay() -> None:
    text = "network_g: {type: X, num_token: 64, cls_token: 1, auth: 0.5, token: s3cr3t}\n"
    assert redact_option_file(text) == text.replace("s3cr3t", "removed")
