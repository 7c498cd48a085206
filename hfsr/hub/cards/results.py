"""Results on a card: conversion of reports to the `model-index` and its table, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from huggingface_hub import EvalResult, ModelCard

from hfsr.errors import OptionsError
from hfsr.hub.download.datasets import ADDRESS

__all__ = [
    "ReportJson",
    "ResultRow",
    "damage_of",
    "eval_results",
    "protocol_sentences",
    "reports_from_card",
    "result_columns",
    "result_rows",
    "setting_name",
]

ReportJson = Mapping[str, Any]
"""Output of `hfsr.evaluation.Report.to_json()` and of `hfsr evaluate --json`."""

BASELINE = "baseline_psnr_y"
"""Argument of PSNR (Y) on the card: PSNR (Y) of bicubic enlargement, or of the LQ image at scale 1."""

METRIC_FIELDS = {
    # key of the report: (type on the Hub, name, decimals stored, format in the table); PSNR in dB
    "psnr_y": ("psnr", "PSNR (Y)", 4, "{:.2f}"),
    "ssim_y": ("ssim", "SSIM (Y)", 5, "{:.4f}"),
    "psnr_rgb": ("psnr", "PSNR (RGB)", 4, "{:.2f}"),
    "ssim_rgb": ("ssim", "SSIM (RGB)", 5, "{:.4f}"),
}


SET_KEYS = ("images", "scale", "gt")
"""Keys of a report that describe its set; `gt` is the address of a set on the Hub."""

SETTING_KEYS = ("sigma", "quality")
"""Keys of a protocol that the table shows in its column "setting"."""


@dataclass(frozen=True)
class ResultRow:
    """Row of the table: all metrics of one set."""

    set: str
    setting: str
    """The degradation: "x2", "x2, quality 75", "sigma 25", "quality 40"."""
    images: str
    cells: list[str]
    baseline: str


def eval_results(reports: Sequence[ReportJson]) -> list[EvalResult]:
    """Converts reports to entries of the `model-index`: one per set and metric, with the protocol.

    Raises:
        OptionsError: two measurements have the same set and setting, which a card has one row for.
    """
    results = []
    for report, dataset in zip(reports, _datasets(reports), strict=True):
        for key, (kind, name, decimals, _) in METRIC_FIELDS.items():
            if report.get(key) is None:
                continue
            protocol = {field: value for field, value in report["protocol"].items() if value is not None}
            if key == "psnr_y" and report.get("bicubic_psnr_y") is not None:
                protocol[BASELINE] = round(report["bicubic_psnr_y"], decimals)
            results.append(
                EvalResult(
                    task_type="image-to-image",
                    task_name=f"restoration at scale {report['scale']:g}",
                    dataset_type=dataset.id,
                    dataset_split=dataset.split,
                    dataset_revision=dataset.revision,
                    dataset_name=report["set"],
                    dataset_config=setting_name(report),
                    dataset_args={field: report[field] for field in SET_KEYS if field in report},
                    metric_type=kind,
                    metric_name=name,
                    metric_value=round(report[key], decimals),
                    metric_args=protocol,
                )
            )
    return results


def setting_name(report: ReportJson) -> str:
    """Returns a short degradation name: "x2", "x2, quality 75", "sigma 25" (noise), "quality 40" (JPEG)."""
    protocol = report["protocol"]
    scale = f"x{report['scale']:g}"
    for field in SETTING_KEYS:
        if (value := protocol.get(field)) is not None:
            text = f"{field} {value:g}" if isinstance(value, (int, float)) else f"{field} {value}"
            text = f"{text}, unclipped" if "neither" in str(protocol.get("noise")) else text
            return text if report["scale"] == 1 else f"{scale}, {text}"
    if report["scale"] == 1:
        given = "pairs" if "as given" in str(protocol.get("resize")) else "same size"
        return str(protocol.get("mosaic", given)).partition(",")[0]
    return scale


class _Dataset(NamedTuple):
    """Identity of a set in the `model-index`."""

    id: str
    split: str | None = None
    revision: str | None = None


def _datasets(reports: Sequence[ReportJson]) -> list[_Dataset]:
    """Returns the identities of the sets of reports, unique for each set.

    Entries that agree in them would be merged into one by the Hub's client.

    Raises:
        OptionsError: two measurements have the same set and setting.
    """
    names: dict[_Dataset, str] = {}
    datasets, rows = [], set()
    for report in reports:
        row = report["set"], setting_name(report)
        if row in rows:
            raise OptionsError(
                f"there are two measurements of the set '{row[0]}' at {row[1]}, and a card has one row for "
                "them: rename the folder of one set, or leave one measurement out"
            )
        rows.add(row)
        if match := ADDRESS.fullmatch(str(report.get("gt"))):
            first = _Dataset(match["repo"], match["folder"] or None, match["revision"])
        else:
            first = _Dataset(_slug(report["set"]))
        dataset, number = first, 1
        while names.setdefault(dataset, report["set"]) != report["set"]:
            number += 1
            dataset = first._replace(id=f"{first.id}-{number}")
        datasets.append(dataset)
    return datasets


def _slug(name: str) -> str:
    """Returns the name of a set as an id: letters of any script, digits and hyphens."""
    return re.sub(r"[\W_]+", "-", name.lower()).strip("-") or "images"


def reports_from_card(card: str) -> list[dict[str, Any]]:
    """Reads the reports on a card: the inverse of `eval_results`, without values of single images.

    Args:
        card: text of the card; without measurements the list is empty.
    """
    if not card.lstrip().startswith("---"):  # huggingface_hub would warn
        return []
    keys = {name: key for key, (_, name, _, _) in METRIC_FIELDS.items()}
    reports: dict[tuple[Any, ...], dict[str, Any]] = {}
    for result in ModelCard(card, ignore_metadata_errors=True).data.get("eval_results") or []:
        if result.metric_name not in keys:
            continue
        facts, protocol = ({**args} if isinstance(args, Mapping) else {} for args in _arguments(result))
        baseline = protocol.pop(BASELINE, None)
        report = reports.setdefault(
            (result.dataset_name, result.dataset_config),
            {"set": result.dataset_name, **facts, "protocol": protocol},
        )
        report[keys[result.metric_name]] = result.metric_value
        if baseline is not None:
            report["bicubic_psnr_y"] = baseline
    return list(reports.values())


def _arguments(result: EvalResult) -> tuple[Any, Any]:
    """Returns the arguments of set and metric, which are anything on a card that was written by hand."""
    return result.dataset_args, result.metric_args


def damage_of(report: ReportJson) -> str | None:
    """Returns what makes a report from a card unusable, for a message; None if nothing does."""
    if not isinstance(report["set"], str):
        return f"the name of the set {report['set']!r} is no text; write it in quotes"
    numbers = {"scale": report.get("scale"), **{key: report.get(key) for key in METRIC_FIELDS}}
    for key, value in {**numbers, BASELINE: report.get("bicubic_psnr_y")}.items():
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number and (value is not None or key == "scale"):
            stated = "is missing" if value is None else f"is {value!r}, which is no number"
            return f"{key} of the set '{report['set']}' {stated}"
    return None if report["protocol"] else f"the protocol of the set '{report['set']}' is missing"


def result_columns(results: Sequence[EvalResult]) -> list[str]:
    """Returns the names of the metrics that occur in the results, in the order of the table."""
    present = {result.metric_name for result in results}
    return [name for _, name, _, _ in METRIC_FIELDS.values() if name in present]


def result_rows(results: Sequence[EvalResult]) -> list[ResultRow]:
    """Returns the rows of the table, one per set, from the same objects as the `model-index`."""
    columns = result_columns(results)
    formats = {name: form for _, name, _, form in METRIC_FIELDS.values()}
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
            ResultRow(
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
    """Returns one sentence for each protocol that occurs in the results."""
    sentences: dict[str, str] = {}
    for result in results:
        protocol = {
            field: value
            for field, value in (result.metric_args or {}).items()
            if field not in (BASELINE, *SETTING_KEYS)
        }
        if protocol.get("tile") == 0:
            protocol["tile"] = "none, whole images"
        text = "; ".join(f"{field}: {value}" for field, value in protocol.items())
        sentences.setdefault(text, f"Measured by `hfsr evaluate` ({text}).")
    return list(sentences.values())
