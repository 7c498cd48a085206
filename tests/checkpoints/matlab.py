"""Writes networks as MatConvNet does, for the tests that read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


def save_dagnn(path: Path, values: dict[str, np.ndarray], layers: list[tuple[str, list[str]]]) -> None:
    """`DagNN.saveobj`: arrays of structs `params` (name, value, ...) and `layers` (name, params, ...).

    Args:
        path: the .mat file.
        values: parameters by name, in MATLAB's order of axes.
        layers: names of layers, and of the parameters each uses.
    """
    io = pytest.importorskip("scipy.io", reason="scipy comes with hfsr[train]")
    params = np.zeros((1, len(values)), [("name", "O"), ("value", "O"), ("learningRate", "O")])
    for i, (name, value) in enumerate(values.items()):
        params[0, i] = (name, value, 1.0)
    structs = np.zeros((1, len(layers)), [("name", "O"), ("type", "O"), ("params", "O")])
    for i, (name, names) in enumerate(layers):
        cell = np.empty((1, len(names)), object)
        cell[0, :] = names
        structs[0, i] = (name, "dagnn.Conv", cell)
    io.savemat(path, {"net": {"params": params, "layers": structs}}, do_compression=True)
