"""The numbers of a card beside those measured here: which sets, in what way, and whether they agree."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hfsr.errors import OptionsError

__all__ = ["Repeated", "arguments_of", "told_sets", "words_of"]

MEASURES = {
    # key of a report: (name, unit, what rounding on the card and other processors may change)
    "psnr_y": ("PSNR (Y)", " dB", 1e-3),
    "ssim_y": ("SSIM (Y)", "", 1e-4),
    "psnr_rgb": ("PSNR (RGB)", " dB", 1e-3),
    "ssim_rgb": ("SSIM (RGB)", "", 1e-4),
    "bicubic_psnr_y": ("PSNR (Y) of the baseline", " dB", 1e-3),
}
NOT_COMPARED = {"hfsr", "commit", "tile"}
"""Words of a protocol that may differ: which code measured, and in what pieces, as those are exact."""


@dataclass(frozen=True)
class Repeated:
    """One set: the card's report, and the one made here."""

    card: dict[str, Any]
    here: dict[str, Any]

    @property
    def line(self) -> str:
        """What was measured, in one line."""
        numbers = ", ".join(
            f"{MEASURES[key][0]} {self.here[key]:.4f}{MEASURES[key][1]} (card {self.card[key]:.4f})"
            for key in ("psnr_y", "ssim_y")
            if isinstance(self.card.get(key), float) and self.here[key] is not None
        )
        return f"{_label(self.card)}: {numbers}"

    @property
    def deviations(self) -> list[str]:
        """Where both differ by more than rounding, one line each; empty when the card is repeated."""
        found = []
        for key, (name, unit, allowed) in MEASURES.items():
            told, here = self.card.get(key), self.here[key]
            if told is None or (here is not None and abs(here - told) <= allowed):
                continue
            by = "no finite number" if here is None else f"{here:.4f}{unit} ({here - told:+.4f}{unit})"
            found.append(f"{_label(self.card)}, {name}: the card has {told:.4f}{unit}, here it is {by}")
        facts = {"images": self.card.get("images"), **self.card["protocol"]}
        for word, told in facts.items():
            here = self.here["images"] if word == "images" else self.here["protocol"].get(word)
            if word not in NOT_COMPARED and told != here:
                found.append(f"{_label(self.card)}, {word}: the card has '{told}', here it is '{here}'")
        return found

    def to_json(self) -> dict[str, Any]:
        """Both reports, without the single pictures, and where they differ."""
        here = {key: value for key, value in self.here.items() if key != "per_image"}
        return {"set": self.card["set"], "card": self.card, "here": here, "deviations": self.deviations}


def told_sets(name: str, folders: Sequence[str]) -> tuple[list[tuple[str, dict[str, Any]]], list[str]]:
    """Finds the card's sets among folders, by their names; those from the Hub where the card says.

    Returns:
        Folder and the card's report, for each that is there; and what the others are called.

    Raises:
        OptionsError: no folder is named, or none is a set of the card.
        CheckpointError, HubError: there is no such card, or it tells no numbers.
    """
    from hfsr.evaluation import set_name
    from hfsr.hub.cards.results import reports_from_card
    from hfsr.hub.download.resolve import read_card

    reports = reports_from_card(read_card(name))
    if not reports:
        raise OptionsError(f"the card of '{name}' tells no measurements; measure it with -m {name}")
    by_name = {set_name(folder): folder for folder in folders}
    places = [by_name.get(report["set"], report.get("gt")) for report in reports]
    told = [(place, report) for place, report in zip(places, reports, strict=True) if place]
    if not told:
        raise OptionsError(
            f"none of the sets on the card of '{name}' is among --gt ({', '.join(by_name) or 'none named'}): "
            f"name folders called {', '.join(dict.fromkeys(report['set'] for report in reports))}"
        )
    return told, [_label(report) for place, report in zip(places, reports, strict=True) if not place]


def arguments_of(args: argparse.Namespace, card: dict[str, Any], folder: str) -> argparse.Namespace:
    """The command line that measures as the card's protocol says.

    What `--degradation` says counts where no option tells it; the protocols are compared in any case.

    Raises:
        OptionsError: LQ pictures were given, and are not now.
    """
    protocol = card["protocol"]
    words: dict[str, Any] = {
        "gt": folder,
        "dtype": protocol.get("dtype", args.dtype),
        "tile": str(tile) if isinstance(tile := protocol.get("tile", 0), int) else "auto",
        "self_ensemble": "self_ensemble" in protocol,
        **words_of(protocol),
    }
    if protocol.get("resize") == "LQ pictures as given" and args.lq is None:
        raise OptionsError(
            f"the card's {_label(card)} was measured on given LQ pictures; name them with --lq"
        )
    return argparse.Namespace(**{**vars(args), **words})


def words_of(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """The options by which LQ pictures are made as a protocol says; none where no option says that."""
    words: dict[str, Any] = {"seed": protocol["seed"]} if "seed" in protocol else {}
    noise = str(protocol.get("noise", ""))
    if noise.startswith("Gaussian") and isinstance(protocol.get("sigma"), (int, float)):
        words |= {"task": "denoise", "sigma": protocol["sigma"], "unclipped": "neither" in noise}
    elif isinstance(protocol.get("quality"), (int, float)):
        words |= {"task": "jpeg", "quality": protocol["quality"]}
    elif pattern := re.match(r"Bayer (\w+)", str(protocol.get("mosaic", ""))):
        words |= {"task": "demosaic", "pattern": pattern[1]}
    return words


def _label(report: dict[str, Any]) -> str:
    """Set and setting: "Set5 x2", "BSD68 sigma 25"."""
    from hfsr.hub.cards.results import setting_name

    return f"{report['set']} {setting_name(report)}"
