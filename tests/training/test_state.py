"""Training states: which one a run goes on from, and what is said where none can be read."""

from __future__ import annotations

import collections
import logging
from pathlib import Path

import pytest
import torch

from hfsr import training
from hfsr.errors import CheckpointError, HfsrError
from hfsr.training.state.training_state import find_states, newest_state, read_state


def damage(folder: Path, *names: str) -> None:
    for name in names:
        (folder / "training_states" / name).write_text("x")


def test_a_run_of_which_no_state_can_be_read_is_not_started_anew(tmp_path, options):
    folder = training.train(options(), root=tmp_path)
    damage(folder, "2.state", "4.state", "6.state")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with pytest.raises(CheckpointError) as caught:
        training.train(options(), auto_resume=True, root=tmp_path)
    said = str(caught.value)
    assert said.startswith("no training state can be read: ")
    assert all(f"{number}.state' is damaged or not a training state" in said for number in (2, 4, 6))
    assert said.endswith(
        "or train from the beginning without --auto_resume, which keeps this run under another name"
    )
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    training.train(options("train:total_iter=2"), root=tmp_path)  # as the line says
    assert len(list(folder.parent.glob("tiny_archived_*"))) == 1


def test_an_older_state_is_gone_on_from_with_a_line(tmp_path, options, caplog):
    folder = training.train(options(), root=tmp_path)
    damage(folder, "4.state", "6.state")
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="hfsr"):
        assert newest_state(folder / "training_states")["iter"] == 2
    assert [record.getMessage().partition("; ")[2] for record in caplog.records] == [
        "resuming from '2.state'"
    ] * 2


def test_states_that_only_seem_readable_are_passed_over(tmp_path, options):
    folder = training.train(options(), root=tmp_path)
    torch.save([1], folder / "training_states" / "6.state")
    torch.save({"format": 99, "iter": 4}, folder / "training_states" / "4.state")
    assert newest_state(folder / "training_states")["iter"] == 2


def test_without_any_state_a_run_begins(tmp_path):
    assert newest_state(tmp_path / "nothing") is None


@pytest.mark.parametrize("schedulers", [[], [{"milestones": collections.Counter([3])}], [Path("x")]])
def test_a_state_of_basicsr_is_named_as_such(tmp_path, options, schedulers):
    """Also one that holds objects which are not loaded."""
    path = tmp_path / "run" / "training_states" / "5.state"
    path.parent.mkdir(parents=True)
    torch.save({"epoch": 1, "iter": 5, "optimizers": [], "schedulers": schedulers}, path)
    with pytest.raises(
        CheckpointError, match=r"is a training state of BasicSR, .*: the net_g_\*.pth of its run"
    ):
        read_state(path)
    weights = tmp_path / "run" / "models" / "net_g_5.pth"
    weights.parent.mkdir()
    weights.touch()
    with pytest.raises(CheckpointError) as caught:
        training.train(options(f"path:resume_state={path}"), root=tmp_path)
    assert str(caught.value).endswith(f"start from its weights: path.pretrain_network_g: '{weights}'")
    assert not (tmp_path / "experiments" / "tiny").exists()


def test_a_state_of_another_format_says_what_to_do(tmp_path):
    torch.save({"format": 2}, tmp_path / "1.state")
    with pytest.raises(
        CheckpointError, match=r"which reads format 1; start from its run's weights: path.pretr"
    ):
        read_state(tmp_path / "1.state")


def test_a_broken_run_names_the_state_it_can_go_on_from(tmp_path, options):
    spoiled = "train:scheduler={type: MultiStepLR, milestones: [4], gamma: 1e35}"
    with pytest.raises(HfsrError, match="no longer a number") as caught:
        training.train(options(spoiled), root=tmp_path)
    newest = find_states(tmp_path / "experiments" / "tiny" / "training_states")[0]
    assert f"resume from the last good state, '{newest}', with --auto_resume" in str(caught.value)
    assert read_state(newest)["iter"] >= 2


def test_a_run_that_breaks_before_its_first_state_promises_none(tmp_path, options):
    with pytest.raises(HfsrError) as caught:
        training.train(options("train:optim_g:lr=1e30", "logger:save_checkpoint_freq=1000"), root=tmp_path)
    assert "no training state was saved before, so the run starts from the beginning" in str(caught.value)
    assert "auto_resume" not in str(caught.value)


@pytest.mark.parametrize(("total", "said"), [(3, "3"), (6, "6")])
def test_a_run_that_is_done_says_that_nothing_is_left(tmp_path, options, caplog, total, said):
    folder = training.train(options(), root=tmp_path)
    before = {path: path.stat().st_mtime_ns for path in (folder / "models").rglob("*")}
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="hfsr"):
        training.train(options(f"train:total_iter={total}"), auto_resume=True, root=tmp_path)
    lines = [record.getMessage() for record in caplog.records]
    (line,) = [line for line in lines if "iterations" in line or "resuming" in line]
    expected = f"nothing is left to do: the run has 6 iterations, and train.total_iter is {said}; t"
    assert line.startswith(expected)
    assert {path: path.stat().st_mtime_ns for path in (folder / "models").rglob("*")} == before


def iterations(folder: Path) -> list[int]:
    return [int(path.stem) for path in find_states(folder / "training_states")]


def test_an_older_state_starts_a_folder_of_its_own(tmp_path, options, caplog):
    """The later states stay in the archived run; they are neither removed nor resumed from."""
    folder = training.train(options(), root=tmp_path)
    lower = ("train:optim_g:lr=1e-4", "train:total_iter=5", "logger:keep_states=2")
    older = f"path:resume_state={folder / 'training_states' / '2.state'}"
    with caplog.at_level(logging.INFO, logger="hfsr"):
        training.train(options(older, *lower), root=tmp_path)
    (archived,) = folder.parent.glob("tiny_archived_*")
    assert f"an earlier run of this name is now '{archived}'" in caplog.text
    assert iterations(archived) == [6, 4, 2]
    assert (archived / "models" / "net_g_6.pth").is_file()
    assert iterations(folder) == [5, 4]
    assert {path.stem for path in (folder / "models").glob("net_g_[0-9]*.pth")} == {"net_g_4", "net_g_5"}
    best = newest_state(folder / "training_states")["best"]
    assert best["iteration"] in (3, 5), "weights of net_g_best are of this history"
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="hfsr"):
        training.train(options(*lower, "train:total_iter=6"), auto_resume=True, root=tmp_path)
    assert "resuming after iteration 5" in caplog.text


def test_a_copy_of_a_state_starts_a_folder_of_its_own_too(tmp_path, options):
    folder = training.train(options("train:total_iter=4"), root=tmp_path)
    copied = tmp_path / "two.state"
    copied.write_bytes((folder / "training_states" / "2.state").read_bytes())
    words = (f"path:resume_state={copied}", "train:total_iter=3", "logger:save_checkpoint_freq=100")
    training.train(options(*words), root=tmp_path)
    (archived,) = folder.parent.glob("tiny_archived_*")
    assert iterations(archived) == [4, 2]
    assert iterations(folder) == [3, 2], "it can be resumed before its first state is saved"


def test_the_newest_state_is_resumed_in_its_folder(tmp_path, options):
    folder = training.train(options("train:total_iter=4"), root=tmp_path)
    newest = f"path:resume_state={folder / 'training_states' / '4.state'}"
    training.train(options(newest), root=tmp_path)
    assert not list(folder.parent.glob("tiny_archived_*"))
    assert iterations(folder) == [6, 4, 2]


def test_a_state_that_leaves_nothing_to_do_moves_nothing(tmp_path, options):
    folder = training.train(options(), root=tmp_path)
    older = f"path:resume_state={folder / 'training_states' / '2.state'}"
    training.train(options(older, "train:total_iter=2"), root=tmp_path)
    assert not list(folder.parent.glob("tiny_archived_*"))
    assert iterations(folder) == [6, 4, 2]


def test_auto_resume_prefers_the_newest_state_to_the_named_one(tmp_path, options, caplog):
    folder = training.train(options(), root=tmp_path)
    named = f"path:resume_state={folder / 'training_states' / '4.state'}"
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="hfsr"):
        training.train(options(named, "train:total_iter=8"), auto_resume=True, root=tmp_path)
    assert "path.resume_state is not used: with --auto_resume the run continues from its n" in caplog.text
    assert "resuming after iteration 6" in caplog.text
    assert not list(folder.parent.glob("tiny_archived_*"))


def test_auto_resume_starts_a_run_without_states_from_the_named_one(tmp_path, options, caplog):
    folder = training.train(options(), root=tmp_path)
    named = f"path:resume_state={folder / 'training_states' / '4.state'}"
    with caplog.at_level(logging.INFO, logger="hfsr"):
        other = training.train(options(named, "name=other"), auto_resume=True, root=tmp_path)
    assert "resuming after iteration 4" in caplog.text
    assert iterations(other) == [6, 4]


def test_damaged_states_of_later_iterations_do_not_push_out_the_one_just_saved(tmp_path, options):
    folder = training.train(options(), root=tmp_path)
    damage(folder, "4.state", "6.state")
    words = ("train:total_iter=3", "logger:keep_states=1")
    training.train(options(*words), auto_resume=True, root=tmp_path)
    assert iterations(folder) == [6, 4, 3]
    assert newest_state(folder / "training_states")["iter"] == 3
