"""Programs of users, made of the Python in README and the guides, pass `mypy --strict`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = ["README.md", "docs/quickstart.md", "docs/guides/upscale.md", "docs/guides/publish.md"]
BLOCK = re.compile(r"^```python[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MORE = """
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

import hfsr


def enlarge(name: str, image: Image.Image, array: NDArray[np.uint8]) -> tuple[Image.Image, NDArray[np.uint8]]:
    model = hfsr.from_pretrained(name)
    scale: int | float = model.scale
    result: torch.Tensor = model(torch.rand(1, 3, 8, 8))
    assert result.shape[-1] == 8 * scale
    upscaler = hfsr.Upscaler(model)
    return upscaler(image), upscaler(array)
"""


@pytest.mark.slow
def test_programs_of_users_are_typed(tmp_path: Path) -> None:
    programs = [("\n".join(BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))), page) for page in PAGES]
    for number, (code, page) in enumerate([*programs, (MORE, "more")]):
        assert code, f"{page} has no Python"
        (tmp_path / f"program_{number}.py").write_text(code, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports", "silent", str(tmp_path)]
    config = ["--config-file", str(tmp_path / "none.ini"), "--cache-dir", str(tmp_path / "cache")]
    (tmp_path / "none.ini").write_text("[mypy]\n")
    done = subprocess.run(
        [*command, *config], cwd=ROOT, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
