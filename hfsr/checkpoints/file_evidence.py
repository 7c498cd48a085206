"""Evidence about a checkpoint beyond its tensors: file name, repository, `config.json` in the same folder."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from hfsr.archs import Evidence
from hfsr.errors import CheckpointError

from .files import parse_config

__all__ = ["CONFIG_NAME", "evidence_of_file", "named_scale", "scales_in_name"]

CONFIG_NAME = "config.json"
_BESIDE_A_CONFIG = re.compile(r"pytorch_model(_\dx)?\.(pt|bin)|model\.safetensors")
"""Names that super-image and `PyTorchModelHubMixin` give to the weights next to their `config.json`."""
_NOUNS = ("inde", "verte", "comple", "late", "ma", "mi", "fi", "pi", "tri", "bo", "lu", "mu")
"""Beginnings of nouns and verbs that end in x, as "max" and "pix"."""
_SCALE = re.compile(
    rf"(?<!\d){''.join(f'(?<!{noun})' for noun in _NOUNS)}(?<![^a-z]e)x(\d)(?![\dx])"
    r"|(?<![\dx])(?<![^a-z]v)(\d)x(?!\d)",
    re.IGNORECASE,
)
"""A scale in a name; none after such a beginning ("index2"), and a v makes it a version ("fsrcnn_v2x")."""


def evidence_of_file(path: Path) -> Evidence:
    """Collects the evidence around a checkpoint file that hfsr did not write.

    A `config.json` counts if the file has the name that its writer gives to weights, or if it states a
    `model_type`.

    Raises:
        CheckpointError: the file's config cannot be read.
    """
    file = path.parent / CONFIG_NAME
    config = {}
    belongs = _BESIDE_A_CONFIG.fullmatch(path.name) is not None
    if file.is_file():
        try:
            config = parse_config(file.read_text(encoding="utf-8"), f"'{file}'")
        except (CheckpointError, OSError, UnicodeDecodeError) as error:
            if belongs:
                raise CheckpointError(f"the config next to '{path}' cannot be read: {error}") from error
        if not belongs and "model_type" not in config:
            config = {}
    return Evidence(names=(path.name,), config=config, is_config_uncertain=bool(config) and not belongs)


def scales_in_name(name: str) -> set[int]:
    """Parses the scales in a name: 2 for "rcan_x2.pth", "edsr-2x.pt"; none for "56x12x4" and "index2"."""
    return {int(digit) for pair in _SCALE.findall(f"/{name}") for digit in pair if digit}


def named_scale(allowed: Iterable[int], names: Iterable[str]) -> int | None:
    """Returns the allowed scale in the first name with any; None if it has several, or no name has any."""
    for name in names:
        named = scales_in_name(name) & set(allowed)
        if named:
            return named.pop() if len(named) == 1 else None
    return None
