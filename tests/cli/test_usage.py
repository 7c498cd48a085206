"""Wrong usage and interruptions of every command: one line."""

from __future__ import annotations

import pytest

from hfsr import cli


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["upsacle"], "hfsr: no command 'upsacle'; did you mean 'upscale'? See hfsr --help"),
        (["finetune", "m", "p", "--itr", "5"], "unrecognized arguments: --itr 5; did you mean '--iter'? See"),
        (["finetune", "m", "p", "--itr=5"], "; did you mean '--iter'? See hfsr finetune --help"),
        (["finetune", "m", "p", "--qqqqqq"], "unrecognized arguments: --qqqqqq; see hfsr finetune --help"),
        (["finetune", "m", "p", "more"], "unrecognized arguments: more; see hfsr finetune --help"),
    ],
)
def test_misspelled_commands_and_options(
    capsys: pytest.CaptureFixture[str], argv: list[str], told: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(argv)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_an_interruption_of_the_imports(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hfsr.cli.importlib.import_module", interrupted)
    assert cli.main(["upscale", "a.png"]) == 130
    assert capsys.readouterr().err == "hfsr upscale: interrupted\n"
