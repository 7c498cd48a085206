"""Writes README's table of bundled models from their cards: `python model_cards/readme.py`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
MOST_REPORTS = 6
"""Measurements that a row holds without becoming hard to read."""
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
    reports = reports_from_card(card)
    if len(reports) > MOST_REPORTS:  # at many strengths: the last set, which is the largest
        reports = [report for report in reports if report["set"] == reports[-1]["set"]]
    sets = {report["set"]: [r for r in reports if r["set"] == report["set"]] for report in reports}
    measured = "; ".join(f"{name}: {', '.join(map(measurement, own))}" for name, own in sets.items())
    speed = SPEED.search(card)
    if speed is None:
        raise SystemExit(f"the card of {name} tells no speed in fp32; write it anew by model_cards/make.py")
    does = f"{config['task']} x{config['scale']}" if config["scale"] > 1 else config["task"]
    link, network = f"[`{name}`](model_cards/{name}.md)", config["architecture"]
    cells = [link, does, network, f"{parameters:,}", speed[1], measured]
    return f"| {' | '.join(cells)} |"


def measurement(report: Mapping[str, Any]) -> str:
    """One measurement as "q 75 30.43 (29.21)", the baseline in parentheses; a clean image has no label."""
    _, _, setting = setting_name(report).rpartition(", ")
    setting = setting.replace("quality", "q")
    label = "" if setting.startswith("x") else f"{setting} "
    return f"{label}{report['psnr_y']:.2f} ({report['bicubic_psnr_y']:.2f})"


if __name__ == "__main__":
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
