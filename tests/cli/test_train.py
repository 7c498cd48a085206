"""`basicsr train` and `basicsr test`: files, exit codes, one line for whatever is wrong."""

from __future__ import annotations

import subprocess
import sys

import pytest
import yaml

from hfsr.cli import basicsr
from hfsr.cli import main as hfsr
from hfsr.errors import install_command

from ..training.conftest import tiny_options, write_images


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "tiny.yml"
    path.write_text(yaml.safe_dump(tiny_options(write_images(tmp_path / "pictures"))))
    return str(path)


def test_train_resume_and_test(tmp_path, file, capsys):
    experiments = tmp_path / "work" / "experiments"
    assert basicsr.main(["train", "-opt", file]) == 0
    assert (experiments / "tiny" / "tiny.yml").is_file()
    assert hfsr(["train", "-opt", file, "--auto_resume", "--force_yml", "train:total_iter=8", "scale=2"]) == 0
    assert (experiments / "tiny" / "training_states" / "8.state").is_file()
    assert [p.name for p in experiments.iterdir()] == ["tiny"]
    capsys.readouterr()
    assert basicsr.main(["test", "-opt", file]) == 0
    told = capsys.readouterr().out
    assert told.startswith("held_out: PSNR-Y ")
    assert hfsr(["test", "-opt", file]) == 0
    assert capsys.readouterr().out == told


def test_debug_is_another_run_that_reports_often(tmp_path, file):
    assert basicsr.main(["train", "-opt", file, "--debug", "--force_yml", "train:total_iter=9"]) == 0
    states = tmp_path / "work" / "experiments" / "debug_tiny" / "training_states"
    assert {p.name for p in states.iterdir()} == {"8.state", "9.state"}


def test_check_prints_and_trains_nothing(tmp_path, file, capsys):
    assert basicsr.main(["train", "-opt", file, "--check"]) == 0
    assert "1,259 parameters, 3 training and 3 validation images, on cpu" in capsys.readouterr().out
    assert not list((tmp_path / "work").iterdir())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--force_yml", "train:total_itr=3"], "train.total_itr: unknown key; did you mean 'total_iter'?"),
        (["--force_yml", "datasets:train:dataroot_gt=absent"], "there is no folder 'absent'"),
        (["--force_yml", "datasets:val:dataroot_gt=absent"], "there is no folder 'absent'"),
        (["--num_processes", "0"], "--num_processes 0 is not allowed"),
        (["--force_yml", "path:pretrain_network_g=no/thing.pth"], "no/thing.pth"),
        (["--force_yml", "path:resume_state=absent.state"], "there is no training state 'absent.state'"),
        (
            ["--force_yml", "datasets:train:gt_size=13"],
            "gt_size: is 13, not a multiple of the scale 2",
        ),
        (["--force_yml", "datasets:train:dataroot_lq={images}"], "0.png' has 40x36 px, but "),
        (
            ["--force_yml", "train:total_iter=__import__('os').mkdir('made')"],
            "not \"__import__('os')",
        ),
        (["--force_yml", "train:optim_g:lr=-1"], "the optimizer Adam cannot be built: Invalid learning rate"),
    ],
)
@pytest.mark.parametrize("program", ["basicsr", "hfsr"])
def test_what_is_wrong_is_one_line_and_leaves_nothing(tmp_path, file, capsys, program, arguments, told):
    run = {"basicsr": basicsr.main, "hfsr": hfsr}[program]
    arguments = [argument.replace("{images}", str(tmp_path / "pictures")) for argument in arguments]
    assert run(["train", "-opt", file, *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"{program} train: ")
    assert told in error
    assert error.count("\n") == 1
    assert not list((tmp_path / "work").iterdir())


def test_a_truncated_image_is_one_line(tmp_path, file, capsys):
    image = tmp_path / "pictures" / "2.png"
    image.write_bytes(image.read_bytes()[:100])
    assert basicsr.main(["train", "-opt", file]) == 1
    error = capsys.readouterr().err
    assert "2.png' is damaged or cut short" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["train"], ["nonsense"], ["train", "-opt", "x", "--nonsense"]])
def test_wrong_usage_is_2(arguments):
    try:
        code = basicsr.main(arguments)
    except SystemExit as stop:
        code = stop.code
    assert code == 2


@pytest.mark.parametrize("package", ["accelerate", "pydantic"])
def test_without_the_extra_it_says_what_to_install(file, package):
    code = f"import sys; sys.modules['{package}'] = None; from hfsr.cli.basicsr import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "train", "-opt", file]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    told = f"training needs {package}, which is not installed; run: {install_command('train')}"
    assert done.stderr == f"basicsr train: {told}\n"


def test_the_command_is_installed():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from hfsr.cli.basicsr import main; raise SystemExit(main(['train', '--help']))",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert "--auto_resume" in done.stdout
