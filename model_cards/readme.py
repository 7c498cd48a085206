"""Writes README's table of bundled models from their cards: `python model_cards/readme.py`."""

from __future__ import annotations

import json
import re
from pathlib import Path

from hfsr import _resources
from hfsr.checkpoints import read_model_folder
from hfsr.hub.cards.results import reports_from_card, setting_name

README = Path(__file__).resolve().parent.parent / "README.md"
MARKED = re.compile(
    r"(?<=<!-- bundled models, written by model_cards/readme.py -->\n)\n.*?\n\n(?=<!-- /bundled models -->)",
    re.DOTALL,
)
HEAD = (
    "| weights | does | network | parameters | 1280x720 px in fp32 | PSNR-Y in dB (baseline) |\n"
    "|---|---|---|---|---|---|\n"
)
SPEED = re.compile(r"^Speed: (\S+ s) for a result of 1280x720 px in fp32, on ", re.M)


def with_table(readme: str) -> str:
    """The README with the table as the cards have it now."""
    rows = "\n".join(row(name) for name in _resources.bundled_models())
    return MARKED.sub(lambda _: f"\n{HEAD}{rows}\n\n", readme)


def row(name: str) -> str:
    """One bundled model: what it does, and what its card measured."""
    card = (Path(__file__).parent / f"{name}.md").read_text(encoding="utf-8")
    folder = _resources.path("weights", name)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    parameters = sum(p.numel() for p in read_model_folder(folder).parameters())
    measured = ", ".join(
        f"{report['set']} {setting_name(report)} {report['psnr_y']:.2f} ({report['bicubic_psnr_y']:.2f})"
        for report in reports_from_card(card)
    )
    speed = SPEED.search(card)
    if speed is None:
        raise SystemExit(f"the card of {name} tells no speed in fp32; write it anew by model_cards/make.py")
    does = f"{config['task']} x{config['scale']}" if config["scale"] > 1 else config["task"]
    link, network = f"[`{name}`](model_cards/{name}.md)", config["architecture"]
    cells = [link, does, network, f"{parameters:,}", speed[1], measured]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
