"""Bundles a model and writes its card: measured here and now, on the pictures that are named.

    python model_cards/make.py hfsr-x4 --run experiments/hfsr_x4 experiments/hfsr_x4_more \\
        --gt DIR/Set5 DIR/Set14 --machine "2 CPU cores, an hour"
    python model_cards/make.py hfsr-denoise --gt DIR/CBSD68 --sigma 15 25 50 --machine "2 CPU cores, 2 hours"
    python model_cards/make.py hfsr-x2-photo --gt DIR/Set14 --quality 90 75 50 30 10 --machine "2 CPU cores"

A model that enlarges is measured on images that were only reduced; with `--quality`, then on compressed ones.

`--run` names the runs that made it, one begun from the other: the weights of the last, or of `--weights`, are
bundled in float16, and the course of all is drawn. Without it the weights stay, and the card is written anew.
What the option file tells (recipe, iterations, loss, degradation) is read from it; `FACTS` holds the rest.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from hfsr import _resources
from hfsr.checkpoints import halved, read_model_folder, write_model_folder
from hfsr.cli._degrading import add_words, degradations_of, told_task
from hfsr.cli._measuring import example_of, measure
from hfsr.degradations import Bicubic, Seeded
from hfsr.hub.cards import make_card
from hfsr.hub.loading import task_in
from hfsr.hub.parts import CURVE, EXAMPLE
from hfsr.hub.recipe import read_recipe
from hfsr.samples import SAMPLE
from hfsr.training.plot import draw_curve

PICTURES = "82 photographs, BSDS500 train and test (400 pictures), T91 (91 pictures)"
THEIR_LICENCES = "photographs: CC0, Unsplash and Pexels; BSDS500: non-commercial research; T91: research"
PHOTOS = (
    "82 photos; the weights it starts from ({start}) were trained on BSDS500 train and test (400 images) and "
    "T91 (91 images) as well"
)
AS_PEOPLE_HAVE_THEM = (
    "reduction by {scale} (bicubic, area or Lanczos), JPEG compression (quality 5 to 100, never, once or "
    "twice, on any grid), slight noise (sigma up to 15, also of the chroma alone), slight blur and halos of "
    "sharpening"
)
SMALL = "It is small, made to be quick on a CPU; larger networks restore finer texture."
DEEPER = "It is of middling size, made for a CPU; larger networks restore finer texture."


@dataclass(frozen=True)
class Facts:
    """What no file tells."""

    option_file: str
    limits: tuple[str, ...]
    licence: str = "apache-2.0"
    data: str = PICTURES
    data_licence: str = THEIR_LICENCES
    degradation: str | None = None
    """What it was trained to undo, where the option file says it at too great a length."""


FACTS = {
    "hfsr-x2": Facts(option_file="hfsr_x2.yml", limits=(DEEPER,)),
    "hfsr-x2-small": Facts(option_file="hfsr_x2_small.yml", limits=(SMALL,)),
    "hfsr-x2-photo": Facts(
        option_file="hfsr_x2_photo.yml",
        limits=(DEEPER, "Images without compression come out sharper by hfsr-x2."),
        data=PHOTOS.format(start="hfsr-x2"),
        degradation=AS_PEOPLE_HAVE_THEM.format(scale=2),
    ),
    "hfsr-x3": Facts(option_file="hfsr_x3.yml", limits=(DEEPER,)),
    "hfsr-x4": Facts(option_file="hfsr_x4.yml", limits=(DEEPER,)),
    "hfsr-x4-photo": Facts(
        option_file="hfsr_x4_photo.yml",
        limits=(DEEPER, "Images without compression come out sharper by hfsr-x4."),
        data=PHOTOS.format(start="hfsr-x4"),
        degradation=AS_PEOPLE_HAVE_THEM.format(scale=4),
    ),
    "hfsr-dejpeg": Facts(
        option_file="hfsr_dejpeg.yml",
        limits=(SMALL,),
        data=PHOTOS.format(start="hfsr-denoise"),
        degradation="JPEG compression (quality 5 to 100, once or twice, 4:2:0 to 4:4:4, on any grid)",
    ),
    "hfsr-denoise": Facts(
        option_file="hfsr_denoise.yml",
        limits=(
            "The noise in a camera's pictures is not white: it has a grain, of which some stays.",
            SMALL,
        ),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Bundle a model and write its card.")
    parser.add_argument("name", choices=sorted(FACTS))
    parser.add_argument("--gt", nargs="+", required=True, metavar="DIR", help="folders of GT pictures")
    parser.add_argument("--machine", metavar="TEXT", help="what it was trained on and for how long")
    parser.add_argument("--run", nargs="+", type=Path, metavar="DIR", help="the runs that made it, in order")
    parser.add_argument("--weights", type=Path, metavar="DIR", help="a model folder (default: the last run)")
    add_words(parser, several=True)
    args = parser.parse_args()
    facts = FACTS[args.name]
    recipe = read_recipe(_resources.path("options", facts.option_file))
    folder = _resources.folder("weights") / args.name
    if args.run:
        bundle(args.weights or args.run[-1] / "models" / "net_g_latest", folder, task=recipe.task)
    model = read_model_folder(folder)
    training = replace(
        recipe.training,
        degradation=facts.degradation or recipe.training.degradation,
        data=facts.data,
        data_licence=facts.data_licence,
        recipe=f"options/{facts.option_file}",
        recipe_link=f"../options/{facts.option_file}",
        machine=args.machine,
    )
    here = Path(__file__).parent
    curve = here / f"{args.name}.png"
    if args.run:
        draw_curve(list(course(args.run)), curve, title=args.name)
    degradations = degradations_of(args, told_task(args) or "sr", model.scale)
    if model.scale > 1 and args.quality:
        degradations = [Seeded(Bicubic(scale=model.scale)), *degradations]
    # Of a picture that is ours to pass on, which those of test sets are not.
    example = example_of(model, [str(SAMPLE)], degradation=degradations[len(degradations) // 2])
    card = make_card(
        model,
        name=args.name,
        task=task_in(folder),
        licence=facts.licence,
        training=training,
        reports=[measure(model, gt, args.name, degradation=how) for gt in args.gt for how in degradations],
        example=example,
        curve=curve.is_file(),
        limits=facts.limits,
    )
    (here / f"{args.name}.webp").write_bytes(example.picture)
    shown = card.replace(f"]({EXAMPLE})", f"]({args.name}.webp)").replace(f"]({CURVE})", f"]({curve.name})")
    (here / f"{args.name}.md").write_text(shown, encoding="utf-8")


def bundle(trained: Path, folder: Path, *, task: str | None) -> None:
    """Stores weights in half the room; they are measured as they are read back."""
    model = halved(read_model_folder(trained), source=f"'{trained}'")
    write_model_folder(model, folder, task=task or task_in(trained))


def course(runs: list[Path]) -> Iterator[dict[str, str]]:
    """What the curves of runs tell of loss and PSNR-Y, one run after the other."""
    before = 0
    for run in runs:
        with (run / "training_curve.csv").open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        for row in rows:
            told = {name: text for name, text in row.items() if name == "l_pix" or name.endswith("/psnr_y")}
            yield {"iter": str(before + int(row["iter"])), **told}
        before += int(rows[-1]["iter"])


if __name__ == "__main__":
    main()
