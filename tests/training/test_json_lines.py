"""`train_log.jsonl`: a JSON object for each report, also after a resume."""

from __future__ import annotations

import json
import math

from hfsr import training
from hfsr.training.logging.json_lines import JsonLines

from .test_engine import curve


def lines_of(folder):
    return [json.loads(line) for line in (folder / "train_log.jsonl").read_text().splitlines()]


def test_every_report_is_one_object_and_a_resume_repeats_none(tmp_path, options):
    logged = ["logger:json=true", "logger:print_freq=2", "train:total_iter=8"]
    whole = training.train(options(*logged), root=tmp_path / "a")
    lines = lines_of(whole)
    assert [line["iter"] for line in lines] == [0, 2, 3, 4, 6, 8]
    assert lines[0]["metrics"].keys() == {"held_out/psnr_y", "held_out/ssim_y"}
    assert lines[1].keys() == {"iter", "losses", "lr", "it_per_s"}
    assert lines[4].keys() == {"iter", "losses", "lr", "it_per_s", "metrics"}
    rows = {int(row["iter"]): row for row in curve(whole)}
    assert all(
        f"{line['losses']['l_pix']:.9g}" == rows[line["iter"]]["l_pix"] for line in lines if "lr" in line
    )
    # A run that was stopped after iteration 7 has a state of iteration 6, and resumes from there.
    again = training.train(options(*logged, "train:total_iter=6"), root=tmp_path / "b")
    with (again / "train_log.jsonl").open("a") as stream:
        stream.write('{"iter": 7, "lr": 1.0}\n{"iter": 8, "lo')
    training.train(options(*logged), root=tmp_path / "b", auto_resume=True)
    resumed = lines_of(again)
    assert [line["iter"] for line in resumed] == [0, 2, 3, 4, 6, 8]
    assert [line.get("losses") for line in resumed] == [line.get("losses") for line in lines]


def test_nothing_is_written_unless_asked(tmp_path, options):
    assert not (training.train(options("train:total_iter=1"), root=tmp_path) / "train_log.jsonl").exists()


def test_two_sets_share_a_line_and_infinity_becomes_null(tmp_path):
    log = JsonLines(tmp_path / "log.jsonl", upto=0)
    log.add(1, {"metrics": {"a/psnr": math.inf}})
    log.add(1, {"metrics": {"b/psnr": 2.0}})
    log.add(2, {"lr": 0.1})
    log.write()
    log.write()
    assert [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [
        {"iter": 1, "metrics": {"a/psnr": None, "b/psnr": 2.0}},
        {"iter": 2, "lr": 0.1},
    ]
