"""Every code block of the documentation runs as printed.

A block is a fence that begins with ```sh or ```python. Words after the language change how it is tested:
`slow` runs it with the slow tests, `skip: REASON` never runs it. A skipped hfsr command must still be one
that its parser accepts.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import hfsr
from hfsr.checkpoints import save_pth
from hfsr.cli import build_parser, run_command

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"])
CARDS = sorted((ROOT / "model_cards").glob("*.md"))
MAX_SKIPPED = 10
_FENCE = re.compile(r"^```(sh|python)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    language: str
    mark: str
    code: str


def blocks_of(page: Path) -> list[Block]:
    return [Block(m[1], m[2].strip(), m[3]) for m in _FENCE.finditer(page.read_text(encoding="utf-8"))]


WITH_CODE = [page for page in PAGES if blocks_of(page)]
WITH_SLOW_CODE = [page for page in WITH_CODE if any(block.mark == "slow" for block in blocks_of(page))]


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the pages name."""
    monkeypatch.chdir(tmp_path)
    y, x = np.mgrid[:96, :128]
    image = np.stack([x * 2, y * 2, (x * y) % 256], -1).astype(np.uint8)
    Image.fromarray(image).save("photo.jpg", quality=95)
    Image.fromarray(image[:24, :32]).save("small.png")
    Image.fromarray(image[:32, :40, 0].astype(np.uint16) * 257).save("scan.tif")
    large = np.tile(image, (2, 2, 1))  # `hfsr quantize` calibrates on images of at least 192 px
    for folder in ("photos", "held_out"):
        Path(folder).mkdir()
        for i in range(2):
            Image.fromarray(np.roll(large, 17 * i + len(folder), axis=1)).save(f"{folder}/{i}.png")
    save_pth(hfsr.create_model("edsr_tiny"), Path("checkpoint.pth"))
    return tmp_path


def run_block(block: Block, folder: Path) -> None:
    if block.language == "python":
        done = subprocess.run(
            [sys.executable, "-c", block.code],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert done.returncode == 0, f"{block.code}\n{done.stderr}"
        return
    for line in block.code.splitlines():
        if line.strip():
            program, command, *rest = shlex.split(line, comments=True)
            assert program in ("hfsr", "basicsr"), (
                f"'{line}' is no command of hfsr: mark its block with `skip: REASON`"
            )
            assert run_command(program, command, rest) == 0, line


@pytest.mark.parametrize("page", WITH_CODE, ids=_name)
def test_blocks_run(page, desk):
    for block in blocks_of(page):
        if not block.mark:
            run_block(block, desk)


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_SLOW_CODE, ids=_name)
def test_slow_blocks_run(page, desk):
    for block in blocks_of(page):
        if block.mark in ("", "slow"):
            run_block(block, desk)


@pytest.mark.slow
@pytest.mark.parametrize("card", CARDS, ids=_name)
def test_blocks_of_cards_run(card, desk):
    with Image.open("photo.jpg") as photo:
        photo.save("photo.png")
    text = card.read_text(encoding="utf-8")
    blocks = blocks_of(card)
    assert blocks
    commands = re.findall(r"In a shell: `([^`]+)`", text)
    assert commands
    for block in [*blocks, Block("sh", "", "\n".join(commands))]:
        run_block(block, desk)


def test_few_blocks_are_skipped_and_their_commands_exist():
    skipped = [block for page in PAGES for block in blocks_of(page) if block.mark.startswith("skip")]
    assert len(skipped) <= MAX_SKIPPED
    for block in skipped:
        assert re.fullmatch(r"skip: \S.*", block.mark), "a skipped block says why"
        for line in block.code.splitlines() if block.language == "sh" else ():
            words = shlex.split(line, comments=True)
            for program in ("hfsr", "basicsr"):
                if program in words and words.index(program) + 1 < len(words):
                    command, *rest = words[words.index(program) + 1 :]
                    build_parser(program, command).parse_args(rest)


def test_every_other_fence_has_a_known_language():
    for page in PAGES:
        for mark in re.findall(r"^```(\S+)", page.read_text(encoding="utf-8"), re.MULTILINE):
            assert mark in {"sh", "python", "text", "yaml", "{toctree}", "{eval-rst}"}, (page, mark)
