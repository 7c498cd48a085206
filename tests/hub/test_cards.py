"""Cards: every fact from its source, table and model-index from the same numbers, nothing invented."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from hfsr.errors import HubError, OptionsError
from hfsr.hub.cards.card import check_card, make_card
from hfsr.hub.cards.edit import rename_card, replace_results
from hfsr.hub.cards.results import eval_results, reports_from_card, result_rows
from hfsr.hub.cards.schema import Provenance, TrainingInfo
from hfsr.hub.model_folder import write_card
from hfsr.model_zoo import create_model
from hfsr.registry import ARCHS


def report(**more: Any) -> dict[str, Any]:
    """A report as `Report.to_json()` makes it."""
    return {
        "model": "m",
        "set": "Set5",
        "scale": 2,
        "images": 5,
        "psnr_y": 37.41239,
        "ssim_y": 0.958712,
        "psnr_rgb": 35.2,
        "ssim_rgb": 0.94,
        "bicubic_psnr_y": 33.6825,
        "per_image": [],
        "protocol": {"channel": "Y: luma", "crop": 2, "resize": "MATLAB bicubic", "dtype": "fp32", "tile": 0}
        | {"commit": "abc1234"},
        **more,
    }


def front_matter(card: str) -> dict[str, Any]:
    return yaml.safe_load(card.split("---\n")[1])


def test_front_matter() -> None:
    training = TrainingInfo(datasets=("org/photos",))
    card = make_card(create_model("rcan_tiny"), name="org/rcan", license="MIT", training=training)
    assert front_matter(card) == {
        "library_name": "hfsr",
        "license": "mit",
        "datasets": ["org/photos"],
        "pipeline_tag": "image-to-image",
        "tags": ["super-resolution", "rcan", "x2", "image-restoration"],
    }


def test_a_license_the_hub_does_not_know_keeps_its_name() -> None:
    data = front_matter(make_card(create_model("edsr_tiny"), name="m", license="CC-BY-NC-ND-9.0"))
    assert (data["license"], data["license_name"]) == ("other", "CC-BY-NC-ND-9.0")


@pytest.mark.parametrize(
    "arch", sorted(name for name, spec in ARCHS.own().items() if spec.role == "restorer")
)
def test_every_network_has_a_card(arch: str) -> None:
    spec = ARCHS[arch]
    tiny = next(name for name in spec.presets if name.endswith("_tiny"))
    model = create_model(tiny)
    card = make_card(model, name="org/model")
    assert f"| parameters | {sum(p.numel() for p in model.parameters()):,} |" in card
    assert f"[{spec.title}]({spec.paper})" in card
    assert "{{" not in card
    assert "None" not in card
    assert "\n\n\n" not in card
    check_card(card)


@pytest.mark.parametrize(
    "arch", sorted(name for name, spec in ARCHS.own().items() if spec.role != "restorer")
)
def test_what_restores_nothing_says_so(arch: str) -> None:
    spec = ARCHS[arch]
    tiny = next(name for name in spec.presets if name.endswith("_tiny"))
    model = create_model(tiny)
    card = make_card(model, name="org/model")
    assert f"({spec.role}); alone it restores nothing." in card
    assert f"| parameters | {sum(p.numel() for p in model.parameters()):,} |" in card
    assert f"[{spec.title}]({spec.paper})" in card
    assert front_matter(card)["tags"][2] == spec.role
    for word in ("Upscaler", "hfsr upscale", "hfsr evaluate", "| scale", "None", "{{", "\n\n\n"):
        assert word not in card
    check_card(card)


def test_nothing_is_invented() -> None:
    """No number stands on a card that nobody gave but those that are counted from the network."""
    card = make_card(create_model("edsr_tiny"), name="org/model")
    assert "How these weights were trained is not recorded." in card
    assert "Which degradation it was trained to undo is not recorded." in card
    assert "These weights have not been measured yet." in card
    assert "model-index" not in card
    assert "license" not in front_matter(card)
    assert "Provenance" not in card


def test_the_table_shows_the_numbers_of_the_index() -> None:
    card = make_card(
        create_model("edsr_tiny"), name="org/model", reports=[report(), report(set="Set14", psnr_y=32.9)]
    )
    index = front_matter(card)["model-index"]
    assert index[0]["name"] == "model"
    measured = {
        (result["dataset"]["name"], metric["name"]): metric["value"]
        for result in index[0]["results"]
        for metric in result["metrics"]
    }
    assert measured["Set5", "PSNR (Y)"] == 37.4124
    assert measured["Set14", "PSNR (Y)"] == 32.9
    rows = {
        line.split(" | ")[0][2:]: line.strip("| ").split(" | ")[3:]
        for line in card.splitlines()
        if "| x2 |" in line
    }
    for name, row in rows.items():
        assert row[0] == f"{measured[name, 'PSNR (Y)']:.2f}"
        assert row[1] == f"{measured[name, 'SSIM (Y)']:.4f}"
        assert row[2] == f"{measured[name, 'PSNR (RGB)']:.2f}"
        assert row[3] == f"{measured[name, 'SSIM (RGB)']:.4f}"
        assert row[4] == "33.68"
    assert set(rows) == {"Set5", "Set14"}


def test_every_number_states_its_protocol() -> None:
    results = eval_results([report()])
    assert [result.metric_name for result in results] == ["PSNR (Y)", "SSIM (Y)", "PSNR (RGB)", "SSIM (RGB)"]
    for result in results:
        assert result.metric_args is not None
        assert report()["protocol"].items() <= result.metric_args.items()
    card = make_card(create_model("edsr_tiny"), name="m", reports=[report()])
    assert card.count("Measured by `hfsr evaluate`") == 1
    assert "crop: 2; resize: MATLAB bicubic; dtype: fp32; tile: none, whole images; commit: abc1234" in card


def test_an_infinite_number_is_left_out() -> None:
    """JSON has no infinity: such a mean arrives as None."""
    rows = result_rows(eval_results([report(psnr_y=None)]))
    assert rows[0].cells == ["0.9587", "35.20", "0.9400"]
    assert rows[0].baseline == ""


def test_training_and_provenance() -> None:
    card = make_card(
        create_model("edsr_tiny"),
        name="m",
        training=TrainingInfo(
            degradation="MATLAB bicubic reduction by 2", recipe="options/edsr_x2.yml", iterations=300_000
        ),
        provenance=Provenance(source="x2.pth", sha256="ab" * 32, license="mit"),
    )
    assert "trained to undo one degradation: MATLAB bicubic reduction by 2." in card
    assert "| option file | `options/edsr_x2.yml` |" in card
    assert "| iterations | 300,000 |" in card
    assert f"| SHA-256 | `{'ab' * 32}` |" in card
    assert front_matter(card)["license"] == "mit"


def test_new_numbers_replace_the_old_and_nothing_else() -> None:
    card = make_card(create_model("edsr_tiny"), name="org/model", license="mit", reports=[report()])
    card = card.replace("## Limits", "## Limits\n\nWritten by hand.")
    changed = replace_results(card, [report(psnr_y=38.0)], name="org/model")
    assert "37.4" not in changed
    assert "| 38.00 |" in changed
    assert "Written by hand." in changed
    assert re.sub("38.00?", "37.41", changed.split("## Results")[1]) == card.split("## Results")[1]
    again = replace_results(changed, [report(psnr_y=38.0)], name="org/model")
    assert again == changed
    own = replace_results("---\nlicense: mit\n---\n# Mine\n", [report()], name="org/model")
    assert own.index("# Mine") < own.index("## Results")
    assert ModelCard(own).data.model_name == "model"


def test_another_name() -> None:
    card = make_card(create_model("edsr_tiny"), name="./out.dir")
    named = rename_card(card, "org/model")
    assert named == make_card(create_model("edsr_tiny"), name="org/model")
    assert rename_card(named, "org/model") == named
    assert rename_card("no snippet", "org/model") == "no snippet"
    measured = make_card(create_model("edsr_tiny"), name="org/model", reports=[report()])
    assert front_matter(rename_card(measured, "me/better"))["model-index"][0]["name"] == "better"
    assert rename_card(rename_card(measured, "me/better"), "org/model") == measured


@pytest.mark.parametrize(
    "name",
    ["2024", "true", "1.0", "null", "a: b", "- z", "[x", "x #2", "x 'y'", 'x "y"', "a|b", "照片", "a\\b"],
)
def test_names_that_mean_something_in_yaml_python_or_a_shell(name: str) -> None:
    reports = [report()]
    made = make_card(create_model("edsr_tiny"), name=f"out/{name}", reports=reports)
    card = rename_card(make_card(create_model("edsr_tiny"), name="org/x", reports=reports), f"out/{name}")
    for text in (made, card):
        assert front_matter(text)["model-index"][0]["name"] == name
        assert len(reports_from_card(text)) == 1
        snippet = re.search(r"from_pretrained\((.*)\)\)", text)
        assert snippet is not None
        assert ast.literal_eval(snippet[1]) == f"out/{name}"
        command = re.search(r"`(hfsr upscale .*)`", text)
        assert command is not None
        assert shlex.split(command[1])[-1] == f"out/{name}"
    assert card.partition("\n---\n")[2] == made.partition("\n---\n")[2]
    assert "out/" not in rename_card(card, "org/y")


def test_a_name_that_is_not_utf8_leaves_the_card(tmp_path: Path) -> None:
    name = str(tmp_path / "m_\udcfc")
    write_card(make_card(create_model("edsr_tiny"), name=name, reports=[report()]), tmp_path)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    snippet = re.search(r"from_pretrained\((.*)\)\)", card)
    assert snippet is not None
    assert ast.literal_eval(snippet[1]) == name
    assert rename_card(card, "org/model") == make_card(
        create_model("edsr_tiny"), name="org/model", reports=[report()]
    )


def test_sets_of_one_name_are_refused() -> None:
    with pytest.raises(OptionsError, match=r"two measurements of the set 'Set5' at x2.*rename"):
        make_card(create_model("edsr_tiny"), name="m", reports=[report(), report(psnr_y=30.0)])


def test_sets_whose_names_make_the_same_id_stay_apart() -> None:
    names = ["Set 5", "set-5", "照片", "фото", "!!!", "???", "a|b", "two\nlines"]
    hub = [("a", "hf://datasets/o/x/a"), ("b", "hf://datasets/o/x/b"), ("c", "hf://datasets/o/x@old/b")]
    reports = [report(set=name) for name in names]
    reports += [report(set=name, gt=gt) for name, gt in hub]
    card = make_card(create_model("edsr_tiny"), name="m", reports=reports)
    assert [r["set"] for r in reports_from_card(card)] == [*names, "a", "b", "c"]
    kinds = [result["dataset"]["type"] for result in front_matter(card)["model-index"][0]["results"]]
    assert all(kinds)
    assert kinds[2:4] == ["照片", "фото"]
    assert kinds[-3:] == ["o/x"] * 3
    rows = [line for line in card.splitlines() if "| x2 |" in line]
    assert len(rows) == len(reports)
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {9}


@pytest.mark.parametrize(
    "card", ["", "# text", "---\na: [\n---\n", "---\n- 1\n---\n", "---\nmodel-index: 3\n---\n"]
)
def test_cards_that_the_hub_would_refuse(card: str) -> None:
    with pytest.raises(HubError, match=r"front matter"):
        check_card(card)


def test_the_way_back_from_a_card() -> None:
    noise = {"channel": "Y: luma", "crop": 0, "noise": "Gaussian", "sigma": 25, "seed": 0}
    reports = [report(), report(set="Set14", images=14), report(set="Set14", scale=1, protocol=noise)]
    card = make_card(create_model("edsr_tiny"), name="org/m", reports=reports)
    assert "| Set14 | sigma 25 | 5 |" in card
    back = reports_from_card(card)
    assert [(r["set"], r["scale"], r["images"]) for r in back] == [
        ("Set5", 2, 5),
        ("Set14", 2, 14),
        ("Set14", 1, 5),
    ]
    for before, after in zip(reports, back, strict=True):
        assert after["protocol"] == before["protocol"]
        assert after["bicubic_psnr_y"] == before["bicubic_psnr_y"]
        assert after["psnr_y"] == pytest.approx(before["psnr_y"], abs=5e-5)
        assert after["ssim_rgb"] == before["ssim_rgb"]


def test_a_card_without_measurements_gives_no_reports() -> None:
    assert reports_from_card(make_card(create_model("edsr_tiny"), name="m")) == []
    assert reports_from_card("no front matter at all") == []
