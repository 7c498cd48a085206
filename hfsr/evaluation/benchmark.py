"""A model measured on a set of pictures: what `evaluate` prints and `push` puts on cards."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hfsr.degradations import Seeded
    from hfsr.evaluation import Report, Scores
    from hfsr.inference import Upscaler

__all__ = ["evaluate_set"]


def evaluate_set(
    up: Upscaler,
    gt: str,
    lq: str | None = None,
    *,
    degradation: Seeded | None = None,
    model: str,
    shows_progress: bool,
) -> Report:
    """Runs every picture of a set and measures it; the protocol tells how they were really run.

    Args:
        up: the model, as it is to be measured.
        gt: folder of GT pictures, or its address on the Hub.
        lq: likewise, where they are given.
        degradation: makes them else; MATLAB bicubic when None.
        model: its name, for the report.
        shows_progress: in a bar.

    Raises:
        DataError, ImageError: a folder is missing or empty, or a picture cannot be read.
        HubError: a data set on the Hub cannot be had.
    """
    from tqdm import tqdm

    from hfsr.evaluation import evaluate, find_pairs, set_name
    from hfsr.hub.download.datasets import local_folder
    from hfsr.zoo import is_luma_network

    pairs = find_pairs(local_folder(gt), lq and local_folder(lq), up.scale)
    tiles: dict[int | str, None] = {}  # in the order they came
    with tqdm(
        total=len(pairs), desc=set_name(gt), unit="picture", leave=False, disable=not shows_progress
    ) as bar:

        def show(done: int, total: int, scores: Scores) -> None:
            tiles[up.used_tile] = None
            bar.set_postfix_str(f"{scores.name} {scores.psnr_y:.2f} dB")
            bar.update()

        report = evaluate(
            up.tensor,
            pairs,
            scale=up.scale,
            degradation=degradation,
            model=model,
            set_name=set_name(gt),
            dtype=up.dtype_name,
            luma=is_luma_network(up.model),
            progress=show,
        )
    run = {"tile": next(iter(tiles)) if len(tiles) == 1 else ", ".join(map(str, tiles))}
    if up.self_ensemble:
        run["self_ensemble"] = "mean of 8 flips and transposes"
    return dataclasses.replace(report, protocol={**report.protocol, **run})
