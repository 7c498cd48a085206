"""Trackers: what was chosen gets curves and images; what is missing is one line at the start."""

from __future__ import annotations

import importlib.machinery
import socket
import sys
import types

import numpy as np
import pytest

from hfsr import training
from hfsr.errors import HfsrError, MissingDependencyError
from hfsr.options.sections import WandbOptions
from hfsr.training.engine import Engine
from hfsr.training.logging import tracker_access, trackers
from hfsr.training.logging.image_grid import ImageGrid
from hfsr.training.state.training_state import newest_state

WANDB = "logger:wandb={project: enlarging, mode: offline}"


def test_wandb_goes_on_with_the_same_run(tmp_path, options, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    folder = training.train(options(WANDB), root=tmp_path)
    name = newest_state(folder / "training_states")["trackers"]["wandb"]
    training.train(options(WANDB, "train:total_iter=8"), auto_resume=True, root=tmp_path)
    runs = [path for path in (tmp_path / "wandb").glob("offline-run-*")]
    # offline-run-TIME-ID, and a number behind it if two begin within a second.
    assert {path.name.split("-")[3] for path in runs} == {name}
    text = b"".join(path.read_bytes() for path in (tmp_path / "wandb").rglob("*.wandb"))
    assert b"held_out/psnr_y" in text
    assert b"l_pix" in text
    assert list((tmp_path / "wandb").rglob("media/images/*lq*.png"))


def test_basicsrs_wandb_section_without_a_project_is_none(tmp_path, options):
    chosen = options("logger:wandb={project: ~, resume_id: ~}")
    assert trackers.build_trackers(chosen, tmp_path, names=trackers.run_names(chosen, {}), start=0) == []
    named = options("logger:wandb={project: a, resume_id: mine}")
    assert trackers.run_names(named, {"wandb": "earlier"})["wandb"] == "mine"


def test_trackio_gets_curves_and_images(tmp_path, options, monkeypatch):
    pytest.importorskip("trackio")
    given = {"TRACKIO_DIR": str(tmp_path / "trackio")}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    told = []

    class Run:
        def log(self, values, step=None):
            told.append((step, values))

        def finish(self):
            told.append("finished")

    def init(**words):
        told.append(words)
        return Run()

    monkeypatch.setattr("trackio.init", init)
    training.train(options("logger:trackio={project: enlarging}"), root=tmp_path)
    assert told[0]["project"] == "enlarging"
    assert told[0]["name"].startswith("tiny-")
    assert told[0]["resume"] == "allow"
    logged = {name for step, values in told[1:-1] for name in values}
    assert {"l_pix", "held_out/psnr_y", "held_out: lq, sr, gt"} <= logged
    assert told[-1] == "finished"


@pytest.fixture
def visdom(monkeypatch):
    """A stand-in for the package, which needs a server: keeps what it is told."""
    module = types.ModuleType("visdom")
    module.__spec__ = importlib.machinery.ModuleSpec("visdom", loader=None)
    module.told, module.answers = [], True

    class Visdom:
        def __init__(self, **words):
            module.told.append(("start", words))

        def check_connection(self, timeout_seconds):
            return module.answers

        def line(self, **words):
            module.told.append(("line", words))

        def image(self, loaded, **words):
            module.told.append(("image", loaded.shape, words))

    module.Visdom = Visdom
    monkeypatch.setitem(sys.modules, "visdom", module)
    monkeypatch.setattr(trackers, "check_visdom_server", lambda _: None)
    return module


def test_visdom_gets_curves_and_images(tmp_path, options, visdom):
    training.train(options("logger:visdom={port: 9000}"), root=tmp_path)
    assert visdom.told[0] == ("start", {"server": "http://localhost", "port": 9000, "env": "tiny"})
    lines = [words for kind, words in (item for item in visdom.told if item[0] == "line")]
    assert {"l_pix", "held_out/psnr_y"} <= {words["win"] for words in lines}
    assert [int(words["X"][0]) for words in lines if words["win"] == "l_pix"] == [1, 2, 3, 4, 5, 6]
    images = [item for item in visdom.told if item[0] == "image"]
    assert [shape for _, shape, _ in images] == [(3, 3 * (36 + 4), 3 * (40 + 4))] * 3


def test_a_visdom_server_that_is_away_is_one_line(tmp_path, options, visdom):
    visdom.answers = False
    with pytest.raises(HfsrError, match=r"no server answers at http://localhost:8097; start one"):
        training.train(options("logger:visdom={}"), root=tmp_path)


def test_a_visdom_server_that_does_not_listen_is_told_before_anything_is_read(tmp_path, options, monkeypatch):
    find = trackers.find_spec
    monkeypatch.setattr(trackers, "find_spec", lambda name: True if name == "visdom" else find(name))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    chosen = options(f"logger:visdom={{port: {port}}}", "datasets:train:dataroot_gt=absent")
    with pytest.raises(HfsrError, match=rf"no server answers at http://localhost:{port} \(.*\); start one"):
        Engine(chosen, tmp_path)


@pytest.fixture
def no_key(monkeypatch, tmp_path):
    """A user who never logged in to wandb."""
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    return tmp_path / "netrc"


def test_wandb_without_a_key_runs_offline_with_one_line(tmp_path, options, no_key, caplog):
    pytest.importorskip("wandb")
    with caplog.at_level("INFO", logger="hfsr"):  # other packages raise the level of the root logger
        training.train(options("logger:wandb={project: enlarging}", "train:total_iter=1"), root=tmp_path)
    assert caplog.text.count("logger.wandb: there is no API key, so curves are written to") == 1
    assert list((tmp_path / "wandb").glob("offline-run-*"))


def test_wandb_online_without_a_key_is_refused_before_anything_is_read(tmp_path, options, no_key):
    pytest.importorskip("wandb")
    chosen = options("logger:wandb={project: a, mode: online}", "datasets:train:dataroot_gt=absent")
    with pytest.raises(HfsrError, match="mode: online needs an API key, and there is none; run: wandb login"):
        Engine(chosen, tmp_path)
    assert not (tmp_path / "experiments").exists()


@pytest.mark.parametrize(
    ("variables", "netrc", "has_key"),
    [
        ({}, None, False),
        ({"WANDB_API_KEY": "k"}, None, True),
        ({"WANDB_IDENTITY_TOKEN_FILE": "f"}, None, True),
        ({}, "machine api.wandb.ai login user password k", True),
        ({}, "machine example.org login user password k", False),
        ({"WANDB_BASE_URL": "https://example.org:8080"}, "machine example.org login user password k", True),
        ({}, "machine", False),
    ],
)
def test_where_a_key_of_wandb_is_found(monkeypatch, no_key, variables, netrc, has_key):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if netrc is not None:
        no_key.write_text(netrc)
    assert tracker_access.has_wandb_key() is has_key
    section = WandbOptions(project="a")
    assert tracker_access.wandb_mode(section)[0] == (None if has_key else "offline")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert tracker_access.wandb_mode(section) == (None, None)


def test_a_space_of_trackio_needs_a_token(tmp_path, options, monkeypatch):
    monkeypatch.setattr("hfsr.hub.client.get_token", lambda: None)
    find = trackers.find_spec
    monkeypatch.setattr(trackers, "find_spec", lambda name: True if name == "trackio" else find(name))
    chosen = options("logger:trackio={project: a, space_id: me/curves}", "datasets:train:dataroot_gt=absent")
    with pytest.raises(HfsrError, match="'me/curves' needs a token of the Hub; log in with 'hf auth login'"):
        Engine(chosen, tmp_path)


@pytest.mark.parametrize(
    ("word", "package", "told"),
    [
        (WANDB, "wandb", r"logger.wandb needs wandb.*pip install -c constraints.txt '.\[trackers\]'"),
        ("logger:trackio={project: a}", "trackio", r"logger.trackio needs trackio.*'.\[trackers\]'"),
        ("logger:visdom={}", "visdom", "logger.visdom needs visdom.*pip install visdom"),
        ("logger:use_tb_logger=true", "tensorboard", "or set it to false"),
    ],
)
def test_a_tracker_that_is_not_installed_is_one_line_before_anything_is_read(
    tmp_path, options, monkeypatch, word, package, told
):
    find = trackers.find_spec
    monkeypatch.setattr(trackers, "find_spec", lambda name: None if name == package else find(name))
    with pytest.raises((HfsrError, MissingDependencyError), match=told):
        Engine(options(word, "datasets:train:dataroot_gt=absent"), tmp_path)
    assert not (tmp_path / "experiments").exists()


def test_tensorboard_gets_images_and_forgets_what_a_stopped_run_did_after_its_state(tmp_path, options):
    training.train(options("logger:use_tb_logger=true"), root=tmp_path)
    (tmp_path / "experiments/tiny/training_states/6.state").unlink()
    training.train(options("logger:use_tb_logger=true"), auto_resume=True, root=tmp_path)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tb_logger" / "tiny"))
    events.Reload()
    assert [event.step for event in events.Scalars("l_pix")] == [1, 2, 3, 4, 5, 6]
    assert events.Tags()["images"] == ["held_out: lq, sr, gt"]
    image = events.Images("held_out: lq, sr, gt")[-1]
    assert (image.height, image.width) == (3 * (36 + 4), 3 * (40 + 4))


def test_a_grid_shows_lq_sr_and_gt_and_the_middle_of_large_ones():
    grid = ImageGrid(2)
    assert grid.image() is None
    for side in (100, 1000, 50):
        gt = np.zeros((side, side, 3), np.uint8)
        gt[side // 2] = 200
        grid.add(np.full((side // 2, side // 2, 3), 9, np.uint8), np.full_like(gt, 90), gt)
    image = grid.image()
    assert image.shape == (104 + 324, 3 * 324, 3)
    assert (image[10, 10] == 9).all()
    assert (image[10, 120] == 90).all()
    assert (image[104 + 4 + 160, 2 * 324 + 10] == 200).all()
    assert (image[50, 400] == 255).all()
