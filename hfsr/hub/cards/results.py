"""Measured numbers on their way to a card: one object for the table and for the `model-index`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from huggingface_hub import EvalResult, ModelCard

from hfsr.hub.download.datasets import ADDRESS

__all__ = [
    "ReportJson",
    "Row",
    "eval_results",
    "protocol_sentences",
    "reports_from_card",
    "result_columns",
    "setting_name",
    "table",
]

ReportJson = Mapping[str, Any]
"""What `hfsr.evaluation.Report.to_json()` gives and `hfsr evaluate --json` prints."""

BASELINE = "baseline_psnr_y"
"""Among the arguments of PSNR (Y): the same of bicubic enlargement, or of the LQ picture at scale 1."""

MEASURES = {
    # key of the report: (type on the Hub, name, decimals stored, format in the table); PSNR in dB
    "psnr_y": ("psnr", "PSNR (Y)", 4, "{:.2f}"),
    "ssim_y": ("ssim", "SSIM (Y)", 5, "{:.4f}"),
    "psnr_rgb": ("psnr", "PSNR (RGB)", 4, "{:.2f}"),
    "ssim_rgb": ("ssim", "SSIM (RGB)", 5, "{:.4f}"),
}


FACTS = ("images", "scale", "gt")
"""Words of a report that are facts of its set; `gt` is told of sets on the Hub, by their address."""

SETTINGS = ("sigma", "quality")
"""Words of a protocol that the table has in a column of its own."""


@dataclass(frozen=True)
class Row:
    """One line of the table: one set, every measure."""

    set: str
    setting: str
    """What was undone: "x2", "sigma 25", "quality 40"."""
    images: str
    cells: list[str]
    baseline: str


def eval_results(reports: Sequence[ReportJson]) -> list[EvalResult]:
    """The Hub's form of the reports: one entry per set and measure, with the protocol as its arguments."""
    results = []
    for report in reports:
        for key, (kind, name, decimals, _) in MEASURES.items():
            if report.get(key) is None:
                continue
            protocol = {word: value for word, value in report["protocol"].items() if value is not None}
            if key == "psnr_y" and report.get("bicubic_psnr_y") is not None:
                protocol[BASELINE] = round(report["bicubic_psnr_y"], decimals)
            results.append(
                EvalResult(
                    task_type="image-to-image",
                    task_name=f"restoration at scale {report['scale']:g}",
                    dataset_type=_dataset_id(report),
                    dataset_name=report["set"],
                    dataset_config=setting_name(report),
                    dataset_args={word: report[word] for word in FACTS if word in report},
                    metric_type=kind,
                    metric_name=name,
                    metric_value=round(report[key], decimals),
                    metric_args=protocol,
                )
            )
    return results


def setting_name(report: ReportJson) -> str:
    """What was undone, in a word: "x2", "sigma 25" for noise, "quality 40" for JPEG."""
    protocol = report["protocol"]
    for word in SETTINGS:
        if (value := protocol.get(word)) is not None:
            told = f"{word} {value:g}" if isinstance(value, (int, float)) else f"{word} {value}"
            return f"{told}, unclipped" if "neither" in str(protocol.get("noise")) else told
    if report["scale"] == 1:
        given = "pairs" if "as given" in str(protocol.get("resize")) else "same size"
        return str(protocol.get("mosaic", given)).partition(",")[0]
    return f"x{report['scale']:g}"


def _dataset_id(report: ReportJson) -> str:
    """The id of the data set on the Hub, where the pictures are from there; else the set's name as an id."""
    if match := ADDRESS.fullmatch(str(report.get("gt"))):
        return match["repo"]
    return re.sub(r"[^a-z0-9]+", "-", report["set"].lower()).strip("-")


def reports_from_card(card: str) -> list[dict[str, Any]]:
    """The reports that a card was made of: the way back from `eval_results`, without the single pictures.

    Args:
        card: text of the card; one that says nothing of measurements gives an empty list.
    """
    keys = {name: key for key, (_, name, _, _) in MEASURES.items()}
    reports: dict[tuple[Any, ...], dict[str, Any]] = {}
    for result in ModelCard(card, ignore_metadata_errors=True).data.get("eval_results") or []:
        if result.metric_name not in keys:
            continue
        facts = dict(result.dataset_args or {})
        protocol = dict(result.metric_args or {})
        baseline = protocol.pop(BASELINE, None)
        report = reports.setdefault(
            (result.dataset_name, result.dataset_config),
            {"set": result.dataset_name, **facts, "protocol": protocol},
        )
        report[keys[result.metric_name]] = result.metric_value
        if baseline is not None:
            report["bicubic_psnr_y"] = baseline
    return list(reports.values())


def result_columns(results: Sequence[EvalResult]) -> list[str]:
    """The measures that any of the results has, in the order of the table."""
    present = {result.metric_name for result in results}
    return [name for _, name, _, _ in MEASURES.values() if name in present]


def table(results: Sequence[EvalResult]) -> list[Row]:
    """The lines of the table, one per set, from the objects that make the `model-index`."""
    columns = result_columns(results)
    formats = {name: form for _, name, _, form in MEASURES.values()}
    sets: dict[tuple[Any, ...], dict[str, EvalResult]] = {}
    for result in results:
        sets.setdefault((result.dataset_name, result.dataset_config), {})[str(result.metric_name)] = result
    rows = []
    for measured in sets.values():
        first = next(iter(measured.values()))
        facts = first.dataset_args or {}
        luma = measured.get("PSNR (Y)")
        baseline = (luma.metric_args or {}).get(BASELINE) if luma else None
        rows.append(
            Row(
                set=first.dataset_name,
                setting=first.dataset_config or "",
                images=str(facts.get("images", "")),
                cells=[
                    formats[name].format(measured[name].metric_value) if name in measured else ""
                    for name in columns
                ],
                baseline="" if baseline is None else formats["PSNR (Y)"].format(baseline),
            )
        )
    return rows


def protocol_sentences(results: Sequence[EvalResult]) -> list[str]:
    """How the numbers were made, in one sentence for each way that occurs."""
    sentences: dict[str, str] = {}
    for result in results:
        protocol = {
            word: value
            for word, value in (result.metric_args or {}).items()
            if word not in (BASELINE, *SETTINGS)
        }
        if protocol.get("tile") == 0:
            protocol["tile"] = "none, whole pictures"
        told = "; ".join(f"{word}: {value}" for word, value in protocol.items())
        sentences.setdefault(told, f"Measured by `hfsr evaluate` ({told}).")
    return list(sentences.values())
