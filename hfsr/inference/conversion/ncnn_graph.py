"""Layers of an ncnn network: its two files, `.param` (the graph as text) and `.bin` (the weights)."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

__all__ = ["INPUT", "OUTPUT", "Layer", "NcnnGraph"]

INPUT, OUTPUT = "data", "output"
"""Names of the two blobs, as the programs that run such networks expect them."""
_MAGIC = 7767517
_FLOAT32, _FLOAT16 = b"\0\0\0\0", (0x01306B47).to_bytes(4, "little")
"""Tags of weights in 32 and 16 bit, before those that may be stored in both."""


@dataclass
class Layer:
    """One layer.

    Attributes:
        kind: the type of ncnn, as "Convolution".
        inputs, outputs: names of blobs.
        parameters: numbered, as ncnn documents them for each type; an array takes the number -23300 - i.
        tagged: weights that ncnn may store in 16 bit, before those of `plain`.
        plain: weights that are stored in 32 bit.
    """

    kind: str
    inputs: list[str]
    outputs: list[str]
    parameters: dict[int, int | float | Sequence[float]] = field(default_factory=dict)
    tagged: Tensor | None = None
    plain: tuple[Tensor, ...] = ()


class NcnnGraph:
    """Layers in the order in which they run, begun by the input."""

    def __init__(self) -> None:
        self._layers = [Layer("Input", [], [INPUT])]
        self._names = (f"blob{i}" for i in itertools.count())

    def add(
        self,
        kind: str,
        inputs: Sequence[str],
        parameters: dict[int, int | float | Sequence[float]] | None = None,
        *,
        tagged: Tensor | None = None,
        plain: tuple[Tensor, ...] = (),
    ) -> str:
        """Appends a layer of one output; returns the name of its blob."""
        name = next(self._names)
        self._layers.append(Layer(kind, list(inputs), [name], parameters or {}, tagged, plain))
        return name

    def write(self, param: Path, weights: Path, *, output: str, half: bool = False) -> None:
        """Writes both files.

        Args:
            param: gets the graph.
            weights: gets the weights.
            output: the blob that is the result.
            half: stores the weights of convolutions in 16 bit.
        """
        layers = _with_splits(self._layers, output)
        blobs = sum(len(layer.outputs) for layer in layers)
        lines = [str(_MAGIC), f"{len(layers)} {blobs}"]
        lines += [_line(number, layer) for number, layer in enumerate(layers)]
        param.write_text("\n".join(lines) + "\n", encoding="ascii")
        with weights.open("wb") as file:
            for layer in layers:
                if layer.tagged is not None:
                    file.write(_half_bytes(layer.tagged) if half else _FLOAT32 + _bytes(layer.tagged))
                for tensor in layer.plain:
                    file.write(_bytes(tensor))


def _with_splits(layers: Sequence[Layer], output: str) -> list[Layer]:
    """The layers with the name of the result, and a Split after each blob that several layers read."""
    uses = Counter(name for layer in layers for name in layer.inputs)
    copies: dict[str, list[str]] = {}
    found: list[Layer] = []
    for layer in layers:
        inputs = [copies[name].pop(0) if name in copies else name for name in layer.inputs]
        outputs = [OUTPUT if name == output else name for name in layer.outputs]
        found.append(Layer(layer.kind, inputs, outputs, layer.parameters, layer.tagged, layer.plain))
        for name in layer.outputs:
            if uses[name] > 1:
                copies[name] = [f"{name}_{i}" for i in range(uses[name])]
                found.append(Layer("Split", [name], list(copies[name])))
    return found


def _line(number: int, layer: Layer) -> str:
    name = f"{layer.kind.lower()}{number}"
    counts = f"{len(layer.inputs)} {len(layer.outputs)}"
    parameters = (f"{key}={_value(value)}" for key, value in layer.parameters.items())
    return " ".join([f"{layer.kind:<16}", f"{name:<20}", counts, *layer.inputs, *layer.outputs, *parameters])


def _value(value: int | float | Sequence[float]) -> str:
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"{value:.9e}"
    return ",".join([str(len(value)), *(f"{float(part):.9e}" for part in value)])


def _bytes(tensor: Tensor) -> bytes:
    values: np.ndarray = tensor.detach().to("cpu", torch.float32).contiguous().numpy()
    return values.astype("<f4").tobytes()


def _half_bytes(tensor: Tensor) -> bytes:
    """Weights in 16 bit with their tag, filled up to a multiple of four bytes."""
    values: np.ndarray = tensor.detach().to("cpu", torch.float32).contiguous().numpy()
    content = values.astype("<f2").tobytes()
    return _FLOAT16 + content + bytes(-len(content) % 4)
