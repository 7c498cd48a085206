"""Comparison of the numbers on a model card with numbers measured here, for `hfsr evaluate --from-card`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hfsr.errors import OptionsError
from hfsr.hub.cards.results import damage_of, reports_from_card, setting_name
from hfsr.hub.download.resolve import read_card, task_of

from .benchmark import evaluate_folder
from .degradation_spec import DegradationSpec
from .pairs import name_of_set
from .protocol import LQ_GIVEN

if TYPE_CHECKING:
    from torch import nn

__all__ = ["CardComparison", "CardSet", "find_card_sets", "repeat_measurement"]

TOLERANCES = {
    # key of a report: (name, unit, largest difference that rounding and other processors may cause)
    "psnr_y": ("PSNR (Y)", " dB", 1e-3),
    "ssim_y": ("SSIM (Y)", "", 1e-4),
    "psnr_rgb": ("PSNR (RGB)", " dB", 1e-3),
    "ssim_rgb": ("SSIM (RGB)", "", 1e-4),
    "bicubic_psnr_y": ("PSNR (Y) of the baseline", " dB", 1e-3),
}
NOT_COMPARED = {"hfsr", "commit", "tile"}
"""Protocol keys that may differ: the code's version, and the tiles, since these are exact."""


@dataclass(frozen=True)
class CardSet:
    """One set on a card.

    Attributes:
        folder: folder of its ground-truth images, or their address on the Hub.
        report: the card's numbers.
    """

    folder: str
    report: dict[str, Any]


@dataclass(frozen=True)
class CardComparison:
    """The report on the card and the report measured here, of one set."""

    card: dict[str, Any]
    measured: dict[str, Any]

    @property
    def line(self) -> str:
        """The measured numbers in one line."""
        numbers = ", ".join(
            f"{TOLERANCES[key][0]} {self.measured[key]:.4f}{TOLERANCES[key][1]} (card {self.card[key]:.4f})"
            for key in ("psnr_y", "ssim_y")
            if isinstance(self.card.get(key), float) and self.measured[key] is not None
        )
        return f"{_label(self.card)}: {numbers}"

    @property
    def deviations(self) -> list[str]:
        """One line for each difference beyond rounding; empty if the card is confirmed."""
        found = []
        for key, (name, unit, allowed) in TOLERANCES.items():
            on_card, here = self.card.get(key), self.measured[key]
            if on_card is None or (here is not None and abs(here - on_card) <= allowed):
                continue
            by = "no finite number" if here is None else f"{here:.4f}{unit} ({here - on_card:+.4f}{unit})"
            found.append(f"{_label(self.card)}, {name}: the card has {on_card:.4f}{unit}, here it is {by}")
        facts = {"images": self.card.get("images"), **self.card["protocol"]}
        for key, on_card in facts.items():
            here = self.measured["images"] if key == "images" else self.measured["protocol"].get(key)
            if key not in NOT_COMPARED and on_card != here:
                found.append(f"{_label(self.card)}, {key}: the card has '{on_card}', here it is '{here}'")
        return found

    def to_json(self) -> dict[str, Any]:
        """Both reports, without the single images, and their differences."""
        here = {key: value for key, value in self.measured.items() if key != "per_image"}
        return {"set": self.card["set"], "card": self.card, "here": here, "deviations": self.deviations}


def find_card_sets(name: str, folders: Sequence[str]) -> tuple[list[CardSet], list[str]]:
    """Finds the sets of a card among folders, by their names, or on the Hub if the card gives an address.

    Returns:
        The sets that were found, and the labels of the others.

    Raises:
        OptionsError: the card has no measurements, or damaged ones; none of its sets was found, or several
            folders have the name of one.
        CheckpointError, HubError: there is no such card.
    """
    reports = reports_from_card(read_card(name))
    if not reports:
        raise OptionsError(f"the card of '{name}' has no measurements; measure it with -m {name}")
    for report in reports:
        if damage := damage_of(report):
            raise OptionsError(
                f"the measurements on the card of '{name}' cannot be repeated: {damage}; undo the change of "
                "the card, or measure again with hfsr push --gt"
            )
    by_name: dict[str, list[str]] = {}
    for folder in folders:
        by_name.setdefault(name_of_set(folder), []).append(folder)
    found, missing = [], []
    for report in reports:
        same = by_name.get(report["set"], [])
        if len(same) > 1 and report.get("gt") not in folders:
            raise OptionsError(
                f"--gt names several folders called '{report['set']}' ({', '.join(same)}), and the card does "
                "not tell which one it means; name one of them"
            )
        place = same[0] if len(same) == 1 else report.get("gt")
        if place:
            found.append(CardSet(place, report))
        else:
            missing.append(_label(report))
    if not found:
        raise OptionsError(
            f"none of the sets on the card of '{name}' is among --gt ({', '.join(by_name) or 'none named'}): "
            f"name folders called {', '.join(dict.fromkeys(report['set'] for report in reports))}"
        )
    return found, missing


def repeat_measurement(
    network: nn.Module,
    card_set: CardSet,
    *,
    name: str,
    model: str,
    dtype: str,
    device: str | None,
    degradation: DegradationSpec,
    lq: str | None = None,
    show_progress: bool = False,
) -> CardComparison:
    """Measures a network on one set as the card's protocol states.

    Args:
        network: the network, usually with the weights that the card belongs to.
        card_set: a set from `find_card_sets`.
        name: name of the card's model, for the report.
        model: name that the network was loaded by.
        dtype: used if the protocol states none.
        device: device of the computation.
        degradation: used where the protocol states none.
        lq: folder of the LQ images, if the card was measured on given ones.
        show_progress: shows a progress bar.

    Raises:
        OptionsError: the card was measured on given LQ images and `lq` is None.
        DataError, ImageError, HubError: as `evaluate_folder`.
    """
    from hfsr.inference import Upscaler

    protocol = card_set.report["protocol"]
    if protocol.get("resize") == LQ_GIVEN and lq is None:
        raise OptionsError(
            f"the card's {_label(card_set.report)} was measured on given LQ images; name them with --lq"
        )
    tile = protocol.get("tile", 0)
    upscaler = Upscaler(
        network,
        tile=str(tile) if isinstance(tile, int) else "auto",
        dtype=protocol.get("dtype", dtype),
        device=device,
        self_ensemble="self_ensemble" in protocol,
    )
    seeded = None
    if lq is None:
        seeded = degradation.with_protocol(protocol).build_for_model(
            scale=upscaler.scale, model_task=lambda: task_of(model, network), name=model
        )
    report = evaluate_folder(
        upscaler, card_set.folder, lq, degradation=seeded, model=name, show_progress=show_progress
    )
    return CardComparison(card_set.report, report.to_json())


def _label(report: dict[str, Any]) -> str:
    """Set and setting: "Set5 x2", "BSD68 sigma 25"."""
    return f"{report['set']} {setting_name(report)}"
