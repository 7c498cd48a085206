"""Stages compiled by OpenVINO for the CPU.

A stage's part of the fx graph is traced by TorchScript, converted without a file in between, given the shape
of its windows, and compiled once. Where tracing would freeze a size into the graph, the stage is exported for
that one shape instead. Maps go in and out as the live maps lie in memory, px by px (NHWC) and in their type.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from hfsr.errors import MissingDependencyError, PlanError

from ..program.tracing import Program, Stage
from .window_executor import StageIO

__all__ = ["CompiledStage", "OpenVino", "load_openvino", "logs_left_alone", "unreported"]

_PRECISION = {torch.float32: "f32", torch.bfloat16: "bf16"}
_TO_NHWC, _TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)


@contextlib.contextmanager
def logs_left_alone() -> Iterator[None]:
    """OpenVINO's converter sets the root logger's level for itself, and leaves it so where it fails."""
    root = logging.getLogger()
    level, filters = root.level, list(root.filters)
    try:
        yield
    finally:
        root.setLevel(level)
        root.filters[:] = filters


@contextlib.contextmanager
def unreported() -> Iterator[None]:
    """What is imported here reports nothing to its makers: OpenVINO and NNCF tell them of every conversion,
    in a process of its own each time, through a package that they can do without.

    A process that has imported that package by itself is left as it is.
    """
    name = "openvino_telemetry"
    ours = sys.modules.setdefault(name, None) is None  # type: ignore[arg-type]  # None: cannot be imported
    try:
        yield
    finally:
        if ours:
            del sys.modules[name]


def load_openvino() -> Any:
    """The package openvino, which reports nothing to its makers.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        with unreported():
            import openvino
    except ModuleNotFoundError as error:
        raise MissingDependencyError("openvino", extra="openvino", purpose="the backend openvino") from error
    return openvino


class OpenVino:
    """Compiles the stages of one network.

    Args:
        dtype: float32, or bfloat16 for arithmetic in that.

    Raises:
        MissingDependencyError: openvino is not installed.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self._ov = load_openvino()
        self._settings = {
            "INFERENCE_PRECISION_HINT": _PRECISION[dtype],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        self._core = self._ov.Core()
        self._converted: dict[object, Any] = {}
        self._compiled: dict[object, CompiledStage] = {}

    def compile(self, program: Program, stage: Stage, io: StageIO) -> CompiledStage:
        """The stage, compiled for windows of the shape that `io` names; the same again is the same object."""
        name = (tuple(stage.nodes), tuple(io.outputs))
        key = (name, tuple(io.sizes))
        if key not in self._compiled:
            model = self._convert(name, _StageModule(program, stage, io), program, io)
            compiled = self._core.compile_model(self._typed(model, program, io), "CPU", self._settings)
            shapes = [(1, *s, program.channels[n]) for n, s in zip(io.outputs, io.results, strict=True)]
            types = [program.dtype(node) for node in io.outputs]
            self._compiled[key] = CompiledStage(self._ov, compiled, len(io.maps), shapes, types)
        return self._compiled[key]

    def forget(self) -> None:
        """Lets go of what was compiled, before pictures of another shape."""
        self._compiled.clear()

    def _convert(self, name: object, module: nn.Module, program: Program, io: StageIO) -> Any:
        """The stage as a model of OpenVINO, for the shape of its windows."""
        if name not in self._converted:
            self._converted[name] = _traced(self._ov, module, _inputs(program, io, small=True))
        inputs = _inputs(program, io)
        if self._converted[name] is not None:
            model = self._converted[name].clone()
            model.reshape({i: list(x.shape) for i, x in enumerate(inputs)})
            return model
        return _exported(self._ov, module, inputs)

    def _typed(self, model: Any, program: Program, io: StageIO) -> Any:
        """The model with maps of the live maps' own type at its ends."""
        types = {torch.float32: self._ov.Type.f32, torch.bfloat16: self._ov.Type.bf16}
        ends = self._ov.preprocess.PrePostProcessor(model)
        for index, node in enumerate(io.maps):
            ends.input(index).tensor().set_element_type(types[program.dtype(node)])
        for index, node in enumerate(io.outputs):
            ends.output(index).tensor().set_element_type(types[program.dtype(node)])
        return ends.build()


class CompiledStage:
    """A stage for windows of one shape.

    Args:
        ov: the package openvino.
        compiled: OpenVINO's model.
        maps: how many of its inputs are maps; they come first.
        shapes: of what it gives, (1, h, w, C) each.
        types: of the same.
    """

    def __init__(
        self,
        ov: Any,
        compiled: Any,
        maps: int,
        shapes: Sequence[tuple[int, ...]],
        types: Sequence[torch.dtype],
    ) -> None:
        self._ov = ov
        self._compiled = compiled
        self._maps = maps
        self._ends = list(zip(shapes, types, strict=True))
        self._request: Any = None
        self._results: list[Tensor] = []

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Maps (1, C, h, w) and vectors in, the targets out, (1, C, h, w), valid until the next call."""
        if self._request is None:
            self._begin()
        maps = [x.permute(_TO_NHWC) for x in inputs[: self._maps]]
        # Held until it has run: the request reads them where they are.
        held = [x.contiguous() for x in (*maps, *inputs[self._maps :])]
        for index, x in enumerate(held):
            self._request.set_input_tensor(index, self._shared(x))
        self._request.infer()
        return [result.permute(_TO_NCHW) for result in self._results]

    def release(self) -> None:
        """Gives back the memory of a run; what was compiled stays."""
        self._request, self._results = None, []
        self._compiled.release_memory()

    def _begin(self) -> None:
        self._request = self._compiled.create_infer_request()
        for index, (shape, dtype) in enumerate(self._ends):
            result = torch.empty(shape, dtype=dtype)
            self._request.set_output_tensor(index, self._shared(result))
            self._results.append(result)

    def _shared(self, x: Tensor) -> Any:
        if x.dtype == torch.bfloat16:
            return self._ov.Tensor(x.view(torch.uint16).numpy(), list(x.shape), self._ov.Type.bf16)
        return self._ov.Tensor(x.numpy(), shared_memory=True)


class _StageModule(nn.Module):
    """A stage as a module of its own: maps px by px in memory, vectors as they are; the same for targets."""

    def __init__(self, program: Program, stage: Stage, io: StageIO) -> None:
        super().__init__()
        graph = fx.Graph()
        copies = {node: graph.placeholder(node.name) for node in (*io.maps, *io.vectors)}

        def copy_of(node: fx.Node) -> fx.Node:
            if node not in copies:  # a constant
                copies[node] = graph.node_copy(node)
            return copies[node]

        for node in stage.nodes:
            copies[node] = graph.node_copy(node, copy_of)
        graph.output(tuple(copies[node] for node in io.outputs))
        self.body = fx.GraphModule(program.module, graph)
        self.maps = len(io.maps)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        maps = [x.permute(_TO_NCHW) for x in inputs[: self.maps]]
        return tuple(y.permute(_TO_NHWC) for y in self.body(*maps, *inputs[self.maps :]))


def _inputs(program: Program, io: StageIO, small: bool = False) -> list[Tensor]:
    """What a stage may be traced with: maps of the shape of its windows, or small ones."""
    sizes = io.examples if small else io.sizes
    maps = [torch.zeros(1, *size, program.channels[node]) for node, size in zip(io.maps, sizes, strict=True)]
    return [*maps, *io.vectors.values()]


def _traced(ov: Any, module: nn.Module, inputs: list[Tensor]) -> Any:
    """The module as a model for any size; None where its graph depends on the size it is traced with."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        script = torch.jit.trace(module, tuple(inputs), check_trace=False)
        if any(issubclass(warning.category, torch.jit.TracerWarning) for warning in told):
            return None
        with logs_left_alone():
            return ov.convert_model(script, example_input=tuple(inputs))


def _exported(ov: Any, module: nn.Module, inputs: list[Tensor]) -> Any:
    """The module as a model for inputs of these shapes alone; nothing is computed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's and the converter's own, about themselves
        try:
            exported = torch.export.export(module, tuple(inputs))
        except RuntimeError as error:
            raise PlanError(f"a stage cannot be exported ({error}); use the backend torch") from error
        with logs_left_alone():
            return ov.convert_model(exported)
