"""`hfsr test`: repeats the validation of a run, or measures the weights that a test file names."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn

from hfsr.checkpoints import load_weights, read_model_folder, read_state_dict
from hfsr.errors import CheckpointError, OptionsError
from hfsr.options import TrainOptions

from .pretrained import load_pretrained
from .setup import build_network, check_channels
from .state.file_writing import write_atomically
from .state.run_dirs import RunDirs
from .validation.restoration import Restoration
from .validation.validator import Measurement, Validator

__all__ = ["test"]


TestResults = list[Measurement | Restoration]


def test(options: TrainOptions, *, root: Path | None = None) -> TestResults:  # noqa: PT028
    """Measures the file's validation sets and writes `results/<name>/report.json`.

    Sets without ground truth are restored, and measured by metrics that need no reference.

    A training file tests its run's `net_g_best`, else the latest; a test file its `path.pretrain_network_g`.

    Args:
        options: the result of `load_options`.
        root: directory of `experiments` and `results` (default: the current one).

    Raises:
        OptionsError: if the file names no set to measure.
        CheckpointError: if there are no weights to test.
        DataError, ImageError: if the images are missing or unreadable.
    """
    folders = RunDirs(options.name, root or Path.cwd())
    validation = Validator(options)
    if not (validation.sets or validation.sets_without_gt):
        raise OptionsError("nothing to measure: name a set in datasets.val or datasets.test_1")
    if not (validation.sets or options.val.save_img or validation.metrics_without_reference):
        raise OptionsError(
            "nothing to do: the sets have no ground truth; val.save_img: true writes the restored images"
        )
    use_gpu = options.num_gpu != 0 and torch.cuda.is_available()
    network, source = _trained_network(options, folders)
    check_channels(options, network)
    network = network.to("cuda" if use_gpu else "cpu").eval()
    suffix = options.val.suffix or options.name

    def image_file(name: str, image: str) -> Path:
        return folders.results / "visualization" / name / f"{image}_{suffix}.png"

    save = image_file if options.val.save_img else None
    measured = validation.measure(network, save=save)
    restored = validation.restore(network, save=save)
    report = {
        "name": options.name,
        "weights": source,
        "sets": [{**m.report.to_json(), "metrics": dict(m.metrics)} for m in measured],
        "sets_without_gt": [
            {"set": each.set, "images": each.images, "metrics": dict(each.metrics)} for each in restored
        ],
    }
    folders.results.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report, indent=2) + "\n"
    write_atomically(folders.results / "report.json", lambda stream: stream.write(text.encode()))
    return [*measured, *restored]


def _trained_network(options: TrainOptions, folders: RunDirs) -> tuple[nn.Module, str]:
    """Returns the network to test, and the source of its weights."""
    for label in ("best", "latest") if options.train is not None else ():
        folder = folders.models / f"net_g_{label}"
        if folder.is_dir():
            return read_model_folder(folder), str(folder)
        if folder.with_suffix(".pth").is_file():
            network, path = build_network(options), folder.with_suffix(".pth")
            load_weights(network, read_state_dict(path)[0], source=f"'{path}'")
            return network, str(path)
    if options.path.pretrain_network_g is None:
        raise CheckpointError(
            f"there are no weights to test: '{folders.models}' has no net_g_best or net_g_latest, and the "
            "file names no path.pretrain_network_g; train first, or name a checkpoint there"
        )
    network = build_network(options)
    load_pretrained(options, network)
    return network, options.path.pretrain_network_g
