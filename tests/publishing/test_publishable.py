"""What can be published, and the model folder that is made of it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from hfsr import _resources
from hfsr._compat import import_torchvision
from hfsr.checkpoints import write_model_folder
from hfsr.errors import CheckpointError, HubError
from hfsr.hub import from_pretrained, save_pretrained
from hfsr.hub.cards.card import check_card, make_card
from hfsr.hub.cards.option_file import read_option_file
from hfsr.hub.cards.schema import Provenance
from hfsr.hub.download.resolve import task_of
from hfsr.hub.model_folder import published_files
from hfsr.model_zoo import create_model
from hfsr.publishing import staging
from hfsr.publishing.publishable import open_publishable
from hfsr.publishing.staging import license_note, option_file_note, stage_model

OPTIONS = """
name: run
scale: 2
datasets:
  train: {type: PairedImageDataset, name: Photos, dataroot_gt: [/home/alice/a, /home/alice/b], dataroot_lq: ~}
network_g: {type: EDSR, num_feat: 8, num_block: 2, res_scale: 0.5}
train: {total_iter: 1000, pixel_opt: {type: L1Loss}}
"""


def equal(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "run" / "models").mkdir(parents=True)
    return tmp_path / "run"


def save(run: Path, label: str) -> nn.Module:
    """A checkpoint as BasicSR writes it; the network whose averaged weights it holds."""
    average = create_model("edsr_tiny")
    content = {"params": create_model("edsr_tiny").state_dict(), "params_ema": average.state_dict()}
    torch.save(content, run / "models" / f"net_g_{label}.pth")
    return average


def test_a_run_gives_its_best_weights_else_the_latest(run: Path) -> None:
    with pytest.raises(CheckpointError, match="train first"):
        open_publishable(run)
    (older, newer) = (save(run, "900"), save(run, "1000"))
    assert equal(open_publishable(run).model, newer)
    assert not equal(open_publishable(run).model, older)
    latest = save(run, "latest")
    assert equal(open_publishable(run).model, latest)
    best = save(run, "best")
    assert equal(open_publishable(run).model, best)
    folder = create_model("edsr_tiny")
    write_model_folder(folder, run / "models" / "net_g_best")
    assert equal(open_publishable(run).model, folder)


def test_a_run_is_built_as_its_option_file_says(run: Path) -> None:
    """Tensors do not show everything: EDSR's residual scale is known from the option file alone."""
    (run / "run.yml").write_text(OPTIONS)
    save(run, "best")
    source = open_publishable(run)
    assert source.model.model_args["res_scale"] == 0.5
    assert source.model.scale == 2
    assert not source.model.training
    assert source.folder == run / "hub"
    assert source.option_file is not None
    training = source.option_file.training
    assert (training.data, training.iterations, training.loss) == ("Photos, a, b", 1000, "L1Loss")
    assert (training.recipe, training.degradation) == ("run.yml", "MATLAB bicubic reduction by 2")


def test_the_card_of_a_run_shows_its_curve_where_there_is_one(run: Path) -> None:
    (run / "run.yml").write_text(OPTIONS)
    save(run, "best")
    hub = stage_model(open_publishable(run), name="org/run", license="mit")
    assert "training_curve.png" not in (hub / "README.md").read_text()
    assert "training_curve.png" not in published_files(hub)
    (hub / "README.md").unlink()
    (run / "training_curve.png").write_bytes(b"curve")
    stage_model(open_publishable(run), name="org/run", license="mit")
    assert "](training_curve.png)" in (hub / "README.md").read_text()
    assert (hub / "training_curve.png").read_bytes() == b"curve"
    assert "training_curve.png" in published_files(hub)


def test_a_second_loss_of_luma_is_told(tmp_path: Path) -> None:
    luma = "luma_opt: {type: MSELoss, loss_weight: 2}"
    (tmp_path / "run.yml").write_text(OPTIONS.replace("pixel_opt:", f"{luma}, pixel_opt:"))
    assert read_option_file(tmp_path / "run.yml").training.loss == "L1Loss + MSELoss of luma"


def test_pairs_of_unknown_making_have_no_degradation(run: Path) -> None:
    (run / "run.yml").write_text(OPTIONS.replace("dataroot_lq: ~", "dataroot_lq: lq"))
    save(run, "best")
    recipe = open_publishable(run).option_file
    assert recipe is not None
    assert recipe.training.degradation is None


def test_an_option_file_that_does_not_fit(run: Path) -> None:
    save(run, "best")
    (run / "run.yml").write_text(OPTIONS.replace("num_block: 2", "num_block: 3"))
    with pytest.raises(CheckpointError, match=r"net_g_best\.pth' does not fit"):
        open_publishable(run)
    (run / "run.yml").write_text("a: [")
    with pytest.raises(CheckpointError, match="is not YAML"):
        open_publishable(run)


def test_a_model_folder_is_published_where_it_is(tmp_path: Path) -> None:
    model = create_model("edsr_tiny")
    write_model_folder(model, tmp_path / "model", task="denoising")
    source = open_publishable(tmp_path / "model")
    before = (tmp_path / "model" / "model.safetensors").stat().st_mtime_ns
    assert stage_model(source, name="org/model", license="mit") == tmp_path / "model"
    card = tmp_path / "model" / "README.md"
    assert "removes noise" in card.read_text()
    assert (tmp_path / "model" / "model.safetensors").stat().st_mtime_ns == before
    stamp = card.stat().st_mtime_ns
    stage_model(open_publishable(tmp_path / "model"), name="org/model")
    assert card.stat().st_mtime_ns == stamp


def test_a_checkpoint_gets_a_folder_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not beside the file: where that lies is often not ours to write to."""
    (tmp_path / "released").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    torch.save(create_model("edsr_tiny").state_dict(), tmp_path / "released" / "edsr.pt")
    source = open_publishable(tmp_path / "released" / "edsr.pt")
    stage_model(source, name="org/edsr")
    assert sorted(p.name for p in Path("edsr_hub").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    assert "| source | `edsr.pt` |" in Path("edsr_hub/README.md").read_text()
    assert [p.name for p in (tmp_path / "released").iterdir()] == ["edsr.pt"]


def test_a_bundled_model_goes_with_its_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_model_folder(create_model("edsr_tiny"), tmp_path / "weights" / "small")
    (tmp_path / "small.md").write_text(
        "---\nlicense: mit\n---\n# small, by hand\n![both](small.webp)\n![it](small.png)\n"
    )
    monkeypatch.setattr(_resources, "bundled_models", lambda: ["small"])
    places = {"weights": tmp_path / "weights", "model_cards": tmp_path}
    monkeypatch.setattr(_resources, "folder", places.__getitem__)
    (tmp_path / "small.webp").write_bytes(b"picture")
    (tmp_path / "small.png").write_bytes(b"curve")
    folder = stage_model(open_publishable("small"), name="org/small")
    assert folder == Path("small_hub")
    assert "by hand\n![both](example.webp)\n![it](training_curve.png)" in (folder / "README.md").read_text()
    assert (folder / "example.webp").read_bytes() == b"picture"
    assert (folder / "training_curve.png").read_bytes() == b"curve"


def test_things_that_are_no_models(tmp_path: Path) -> None:
    (tmp_path / "experiments" / "rcan_x4").mkdir(parents=True)
    with pytest.raises(CheckpointError, match=r"did you mean '.*rcan_x4'\?"):
        open_publishable(tmp_path / "experiments" / "rcan_x2")
    for name in ("rcan_x4", "something_else"):
        with pytest.raises(CheckpointError, match="name a run"):
            open_publishable(tmp_path / "experiments" / name)
    write_model_folder(create_model("edsr_tiny"), tmp_path / "model")
    (tmp_path / "model" / "README.md").write_bytes(b"\xff\xfe")
    with pytest.raises(CheckpointError, match="UTF-8"):
        open_publishable(tmp_path / "model")
    (tmp_path / "model" / "README.md").write_text("no front matter")
    with pytest.raises(HubError, match="front matter"):
        stage_model(open_publishable(tmp_path / "model"), name="org/model")


def test_a_card_tells_the_degradation_of_the_option_file(tmp_path: Path) -> None:
    file = tmp_path / "run.yml"
    steps = [{"type": "Bicubic"}, {"type": "GaussianNoise", "sigma": [0, 50]}]
    data = {"type": "PairedImageDataset", "dataroot_gt": "a", "degradation": steps}
    file.write_text(yaml.safe_dump({"scale": 2, "datasets": {"train": data}}))
    told = read_option_file(file).training.degradation
    assert told == (
        "reduction (MATLAB bicubic, antialiased, 8 bit); "
        "Gaussian noise of sigma 0 to 50 (clamped and rounded to 8 bit)"
    )


def test_an_option_file_goes_along_without_anybodys_folders(tmp_path: Path) -> None:
    file = tmp_path / "run.yml"
    file.write_text(
        "# yaml-language-server: $schema=schema.json\n# Data: photographs in /home/alice/a\n"
        "# See https://x.org/a\n"
        + OPTIONS.lstrip().replace(
            "train: {total", "path: {pretrain_network_g: ~, resume_state: ~/r/9.state}\ntrain: {total"
        )
    )
    text = read_option_file(file).text
    assert text.startswith("# See https://x.org/a\nname: run\n")
    assert "dataroot_gt: [a, b]" in text
    assert "resume_state: 9.state" in text
    assert "alice" not in text


def test_the_option_file_of_a_bundled_model_goes_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = stage_model(open_publishable("hfsr-x2"), name="org/x2")
    assert "| option file | [options/hfsr_x2.yml](recipe.yml) |" in (folder / "README.md").read_text()
    packaged = _resources.path("options", "hfsr_x2.yml").read_text()
    assert (folder / "recipe.yml").read_text() == packaged.partition("\n")[2]
    assert {path.name for path in folder.iterdir()} == {
        *("README.md", "config.json", "model.safetensors"),
        *("example.webp", "training_curve.png", "recipe.yml"),
    }


def choice_of(*choices: object) -> dict[str, object]:
    return {"type": "RandomChoice", "choices": list(choices)}


@pytest.mark.parametrize(
    ("steps", "task"),
    [
        ({"type": "GaussianNoise", "sigma": 25}, "denoising"),
        ([{"type": "GaussianNoise"}, {"type": "PoissonNoise"}], "denoising"),
        ({"type": "Jpeg"}, "jpeg-artifact-removal"),
        ({"type": "Mosaic"}, "demosaicing"),
        ([{"type": "GaussianBlur"}, {"type": "Jpeg"}], "restoration"),
        (choice_of([], {"type": "Jpeg"}, [{"type": "Jpeg"}, {"type": "Jpeg"}]), "jpeg-artifact-removal"),
        ([choice_of([], choice_of({"type": "GaussianNoise"})), {"type": "Jpeg"}], "restoration"),
        (None, None),
    ],
)
def test_the_task_is_what_the_option_file_undoes(tmp_path: Path, steps: object, task: str | None) -> None:
    data = {"type": "PairedImageDataset", "dataroot_gt": "a", "degradation": steps}
    (tmp_path / "run.yml").write_text(yaml.safe_dump({"scale": 1, "datasets": {"train": data}}))
    assert read_option_file(tmp_path / "run.yml").task == task
    (tmp_path / "run.yml").write_text(yaml.safe_dump({"scale": 2, "datasets": {"train": data}}))
    assert read_option_file(tmp_path / "run.yml").task is None


# Runs


def test_a_run_is_a_model_wherever_one_is_named(run: Path) -> None:
    (run / "run.yml").write_text(OPTIONS)
    average = save(run, "best")
    model = from_pretrained(run)
    assert equal(model, average)
    assert model.model_args["res_scale"] == 0.5
    assert task_of(run, model) == "super-resolution"


def test_the_task_of_a_run_is_that_of_its_option_file(run: Path) -> None:
    data = "dataroot_lq: ~, degradation: {type: GaussianNoise, sigma: 25}"
    (run / "run.yml").write_text(
        OPTIONS.replace("scale: 2", "scale: 1")
        .replace("dataroot_lq: ~", data)
        .replace("num_feat", "upscale: 1, num_feat")
    )
    model = create_model("edsr_tiny", scale=1)
    torch.save({"params": model.state_dict()}, run / "models" / "net_g_best.pth")
    assert task_of(run, from_pretrained(run)) == "denoising"


SWINIR = {"embed_dim": 12, "depths": [1], "num_heads": [2], "window_size": 8, "mlp_ratio": 2, "upscale": 2}
SWINIR |= {"in_chans": 3, "img_range": 255.0, "upsampler": "pixelshuffle", "resi_connection": "1conv"}


@pytest.mark.skipif(find_spec("spandrel") is None, reason="it comes with hfsr[spandrel]")
def test_a_run_of_another_package_s_network(run: Path) -> None:
    import_torchvision()
    from spandrel.architectures.SwinIR import SwinIR

    net = SwinIR(**SWINIR, img_size=16).eval()
    torch.save({"params": net.state_dict()}, run / "models" / "net_g_best.pth")
    options = yaml.safe_load(OPTIONS) | {"network_g": {"type": "SwinIR", "img_size": 16, **SWINIR}}
    (run / "run.yml").write_text(yaml.safe_dump(options))
    source = open_publishable(run)
    folder = stage_model(source, name="org/swin-x2")
    assert '"architecture": "spandrel/SwinIR"' in (folder / "config.json").read_text()
    assert "| option file | [run.yml](recipe.yml) |" in (folder / "README.md").read_text()
    x = torch.rand(1, 3, 16, 24)
    with torch.no_grad():
        for model in (source.model, from_pretrained(run), from_pretrained(folder)):
            torch.testing.assert_close(model(x), net(x.clone()), rtol=0, atol=1e-6)


# What a training started from


def test_a_fine_tuned_model_says_what_it_started_from(run: Path) -> None:
    options = yaml.safe_load(OPTIONS) | {"path": {"pretrain_network_g": "hfsr-x2-small"}}
    options["datasets"]["train"]["dataroot_gt"] = ["hf://datasets/owner/photos/train", "more"]
    (run / "run.yml").write_text(yaml.safe_dump(options))
    save(run, "best")
    folder = stage_model(open_publishable(run), name="org/run")
    card = (folder / "README.md").read_text()
    assert "| started from | `hfsr-x2-small` |" in card
    front = check_card(card).data
    assert front.license == "apache-2.0"
    assert front.datasets == ["owner/photos"]
    assert "base_model" not in front.to_dict()
    assert license_note(folder) is None


def test_the_base_model_is_an_id_on_the_hub(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = yaml.safe_load(OPTIONS) | {"path": {"pretrain_network_g": "owner/edsr-x2"}}
    (run / "run.yml").write_text(yaml.safe_dump(options))
    save(run, "best")
    monkeypatch.setattr(staging, "read_card", lambda name: f"---\nlicense: cc-by-4.0\n---\n# {name}\n")
    folder = stage_model(open_publishable(run), name="org/run")
    card = (folder / "README.md").read_text()
    assert "| started from | [owner/edsr-x2](https://huggingface.co/owner/edsr-x2) |" in card
    front = check_card(card).data
    assert (front.base_model, front.license) == ("owner/edsr-x2", "cc-by-4.0")
    folder = stage_model(open_publishable(run), name="org/run", license="mit")
    assert check_card((folder / "README.md").read_text()).data.license in ("cc-by-4.0", "mit")


def test_private_paths_are_no_base_model(run: Path) -> None:
    for start in ("/home/alice/net_g.pth", "experiments/base", "weights/net_g.pth"):
        options = yaml.safe_load(OPTIONS) | {"path": {"pretrain_network_g": start}}
        (run / "run.yml").write_text(yaml.safe_dump(options))
        training = read_option_file(run / "run.yml").training
        assert training.base_model is None
        assert "alice" not in str(training.started_from)


def test_the_license_of_a_checkpoint_is_not_that_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checkpoints of one file name are staged in one folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        torch.save({"params": create_model("edsr_tiny").state_dict()}, tmp_path / name / "net_g_latest.pth")
    first = stage_model(open_publishable("a/net_g_latest.pth"), name="org/a", license="mit")
    assert check_card((first / "README.md").read_text()).data.license == "mit"
    stage_model(open_publishable("a/net_g_latest.pth"), name="org/a")
    assert license_note(first) is None
    second = stage_model(open_publishable("b/net_g_latest.pth"), name="org/b")
    assert second == first
    assert check_card((second / "README.md").read_text()).data.license is None
    assert "the card states no license" in str(license_note(second))


def test_the_name_of_a_license_stays_with_the_run(run: Path) -> None:
    (run / "run.yml").write_text(OPTIONS)
    save(run, "best")
    stage_model(open_publishable(run), name="org/run", license="my-own-license")
    save(run, "best")
    front = check_card((stage_model(open_publishable(run), name="org/run") / "README.md").read_text()).data
    assert (front.license, front.license_name) == ("other", "my-own-license")


def test_a_license_can_be_stated_for_the_card_of_a_folder(tmp_path: Path) -> None:
    folder = save_pretrained(create_model("edsr_tiny"), tmp_path / "tiny")
    stage_model(open_publishable(folder), name="org/tiny", license="mit")
    assert check_card((folder / "README.md").read_text()).data.license == "mit"
    assert license_note(folder, "mit") is None


def test_the_license_of_converted_weights_is_their_author_s(tmp_path: Path) -> None:
    model = create_model("edsr_tiny")
    provenance = Provenance(source="x.pth", sha256="0", license="CC-BY-NC-4.0")
    card = make_card(model, name="m", provenance=provenance)
    folder = save_pretrained(model, tmp_path / "converted", card=card)
    stage_model(open_publishable(folder), name="org/m", license="mit")
    assert check_card((folder / "README.md").read_text()).data.license == "cc-by-nc-4.0"
    assert "keeps the license 'cc-by-nc-4.0'" in str(license_note(folder, "mit"))


def test_an_option_file_that_the_card_does_not_link_is_a_note(tmp_path: Path) -> None:
    folder = save_pretrained(create_model("edsr_tiny"), tmp_path / "tiny")
    assert option_file_note(folder) is None
    (folder / "recipe.yml").write_text("scale: 2\n")
    assert "recipe.yml is not published" in str(option_file_note(folder))


def test_an_unknown_license_is_said(run: Path) -> None:
    (run / "run.yml").write_text(OPTIONS)
    save(run, "best")
    folder = stage_model(open_publishable(run), name="org/run")
    assert "the card states no license" in str(license_note(folder))
