"""Bundles a model and writes its card, measured on the image sets that are named.

    python model_cards/make.py hfsr-x4 --run experiments/hfsr_x4 experiments/hfsr_x4_more \\
        --gt DIR/Set5 DIR/Set14 --machine "2 CPU cores, an hour"
    python model_cards/make.py hfsr-denoise --gt DIR/CBSD68 --sigma 15 25 50 --machine "2 CPU cores, 2 hours"
    python model_cards/make.py hfsr-x2-photo --gt DIR/Set14 --quality 90 75 50 30 10 --machine "2 CPU cores"

A model that enlarges is measured on images that were only reduced; with `--quality`, then on compressed ones.

`--run` names the training runs in order, each started from the weights of the one before: the weights of the
last run, or of `--weights`, are bundled in float16, and the curve of all runs is drawn. Without it only the
card is written. Iterations, loss and degradation are read from the option file; `FACTS` holds the rest.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from hfsr import _resources
from hfsr.checkpoints import halved, read_model_folder, write_model_folder
from hfsr.cli.degradation_arguments import add_degradation_arguments, degradation_spec
from hfsr.degradations import Bicubic, Seeded
from hfsr.hub.cards.card import make_card
from hfsr.hub.cards.option_file import OptionFile, read_option_file
from hfsr.hub.cards.results import ReportJson
from hfsr.hub.cards.schema import CURVE, EXAMPLE, Example
from hfsr.hub.download.resolve import task_in
from hfsr.publishing.measure import make_example, measure_set, summary_line
from hfsr.training.logging.curve_plot import draw_curve

DATA = "82 photographs, BSDS500 train and test (400 images), T91 (91 images)"
DATA_LICENSE = "photographs: CC0, Unsplash and Pexels; BSDS500: non-commercial research; T91: research"
PHOTO_DATA = (
    "82 photos; the weights it starts from ({start}) were trained on BSDS500 train and test (400 images) and "
    "T91 (91 images) as well"
)
PHOTO_DEGRADATION = (
    "reduction by {scale} (bicubic, area or Lanczos), JPEG compression (quality 5 to 100, never, once or "
    "twice, on any grid), slight noise (sigma up to 15, also of the chroma alone), slight blur and halos of "
    "sharpening"
)
SMALL = "It is small, made to be quick on a CPU; larger networks restore finer texture."
DEEPER = "It is of middling size, made for a CPU; larger networks restore finer texture."


@dataclass(frozen=True)
class Facts:
    """Facts of a model that no file states."""

    option_file: str
    limits: tuple[str, ...]
    license: str = "apache-2.0"
    data: str = DATA
    data_license: str = DATA_LICENSE
    degradation: str | None = None
    """The degradation of the training images, if the option file states it at too great length."""


FACTS = {
    "hfsr-x2": Facts(option_file="hfsr_x2.yml", limits=(DEEPER,)),
    "hfsr-x2-small": Facts(option_file="hfsr_x2_small.yml", limits=(SMALL,)),
    "hfsr-x2-photo": Facts(
        option_file="hfsr_x2_photo.yml",
        limits=(DEEPER, "Images without compression come out sharper by hfsr-x2."),
        data=PHOTO_DATA.format(start="hfsr-x2"),
        degradation=PHOTO_DEGRADATION.format(scale=2),
    ),
    "hfsr-x3": Facts(option_file="hfsr_x3.yml", limits=(DEEPER,)),
    "hfsr-x4": Facts(option_file="hfsr_x4.yml", limits=(DEEPER,)),
    "hfsr-x4-photo": Facts(
        option_file="hfsr_x4_photo.yml",
        limits=(DEEPER, "Images without compression come out sharper by hfsr-x4."),
        data=PHOTO_DATA.format(start="hfsr-x4"),
        degradation=PHOTO_DEGRADATION.format(scale=4),
    ),
    "hfsr-dejpeg": Facts(
        option_file="hfsr_dejpeg.yml",
        limits=(
            SMALL,
            "It removes the artifacts of any earlier compression, too. Some originals of the test sets were "
            "JPEGs (woman in Set5; coastguard, foreman and zebra in Set14), whose own artifacts count as "
            "detail: these images lose up to 9 dB at quality 90, and the means with them.",
            "Text and drawings of quality 90 lose a little (ppt3 of Set14 0.7 dB).",
        ),
        data="82 photos",
        data_license="CC0, Unsplash and Pexels",
        degradation="JPEG compression (quality 5 to 100, once or twice, 4:2:0 to 4:4:4, on any grid)",
    ),
    "hfsr-denoise": Facts(
        option_file="hfsr_denoise.yml",
        limits=(
            "Noise of cameras is not white: it has a grain, some of which stays.",
            SMALL,
        ),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Bundle a model and write its card.")
    parser.add_argument("name", choices=sorted(FACTS))
    parser.add_argument(
        "--gt", nargs="+", required=True, metavar="DIR", help="folders of ground-truth images"
    )
    parser.add_argument("--machine", metavar="TEXT", help="the machine and time of the training")
    parser.add_argument("--run", nargs="+", type=Path, metavar="DIR", help="the training runs, in order")
    parser.add_argument("--weights", type=Path, metavar="DIR", help="a model folder (default: the last run)")
    add_degradation_arguments(parser, several=True)
    args = parser.parse_args()
    folder = _resources.folder("weights") / args.name
    if args.run:
        task = option_file_of(args.name).task
        bundle(args.weights or args.run[-1] / "models" / "net_g_latest", folder, task=task)
    model = read_model_folder(folder)
    here = Path(__file__).parent
    if args.run:
        draw_curve(list(joined_curve(args.run)), here / f"{args.name}.png", title=args.name)
    spec = degradation_spec(args)
    degradations = spec.build(spec.stated_task or "sr", model.scale)
    if model.scale > 1 and spec.quality:
        degradations = [Seeded(Bicubic(scale=model.scale)), *degradations]
    # On the sample image of hfsr, since images of test sets may not be redistributed.
    example = make_example(model, degradation=degradations[len(degradations) // 2])
    reports = []
    for gt in args.gt:
        for degradation in degradations:
            reports.append(measure_set(model, gt, args.name, degradation=degradation))
            print(summary_line(reports[-1]))  # noqa: T201
    (here / f"{args.name}.webp").write_bytes(example.image)
    card = card_text(args.name, model, reports=reports, example=example, machine=args.machine)
    (here / f"{args.name}.md").write_text(card, encoding="utf-8")


def option_file_of(name: str) -> OptionFile:
    """The option file that trained a bundled model."""
    return read_option_file(_resources.path("options", FACTS[name].option_file))


def card_text(
    name: str, model: nn.Module, *, reports: Sequence[ReportJson], example: Example, machine: str | None
) -> str:
    """The card of a bundled model; its images and option file are linked where they are in the repository."""
    facts, option_file = FACTS[name], option_file_of(name)
    training = replace(
        option_file.training,
        degradation=facts.degradation or option_file.training.degradation,
        data=facts.data,
        data_license=facts.data_license,
        recipe=f"options/{facts.option_file}",
        recipe_link=f"../options/{facts.option_file}",
        machine=machine,
    )
    card = make_card(
        model,
        name=name,
        task=task_in(_resources.path("weights", name)),
        license=facts.license,
        training=training,
        reports=reports,
        example=example,
        curve=(Path(__file__).parent / f"{name}.png").is_file(),
        limits=facts.limits,
    )
    return card.replace(f"]({EXAMPLE})", f"]({name}.webp)").replace(f"]({CURVE})", f"]({name}.png)")


def bundle(trained: Path, folder: Path, *, task: str | None) -> None:
    """Writes the bundled model folder, with weights in float16; these are the weights that are measured."""
    model = halved(read_model_folder(trained), source=f"'{trained}'")
    write_model_folder(model, folder, task=task or task_in(trained))


def joined_curve(runs: list[Path]) -> Iterator[dict[str, str]]:
    """Rows of loss and PSNR-Y of several runs, with iterations counted on from run to run."""
    before = 0
    for run in runs:
        with (run / "training_curve.csv").open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        for row in rows:
            values = {name: text for name, text in row.items() if name == "l_pix" or name.endswith("/psnr_y")}
            yield {"iter": str(before + int(row["iter"])), **values}
        before += int(rows[-1]["iter"])


if __name__ == "__main__":
    main()
