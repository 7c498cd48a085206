"""Compilation of stages by OpenVINO for the CPU.

The fx graph of a stage is traced by TorchScript, converted in memory, reshaped to its windows, and compiled
once. If tracing would freeze a size into the graph, the stage is exported for that one shape instead. Feature
maps go in and out in the layout of the live feature maps, NHWC, and in their dtype.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from hfsr.errors import MissingDependencyError, PlanError

from ..program.program import Program, Stage
from .window_executor import StageIO

__all__ = ["OpenVinoEngine", "OpenVinoStage", "load_openvino", "preserve_root_logger", "telemetry_disabled"]

_PRECISION = {torch.float32: "f32", torch.bfloat16: "bf16"}
_TO_NHWC, _TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)


@contextlib.contextmanager
def preserve_root_logger() -> Iterator[None]:
    """Restores level and filters of the root logger, which OpenVINO's converter changes."""
    root = logging.getLogger()
    level, filters = root.level, list(root.filters)
    try:
        yield
    finally:
        root.setLevel(level)
        root.filters[:] = filters


@contextlib.contextmanager
def telemetry_disabled() -> Iterator[None]:
    """Disables the telemetry of packages imported in the block.

    OpenVINO and NNCF report every conversion from a separate process, through an optional package. If the
    process has imported that package already, nothing is changed.
    """
    name = "openvino_telemetry"
    is_blocked = sys.modules.setdefault(name, None) is None  # type: ignore[arg-type]  # None: import fails
    try:
        yield
    finally:
        if is_blocked:
            del sys.modules[name]


def load_openvino() -> Any:
    """Imports openvino, without its telemetry.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        with telemetry_disabled():
            import openvino
    except ModuleNotFoundError as error:
        raise MissingDependencyError("openvino", extra="openvino", purpose="the backend openvino") from error
    return openvino


class OpenVinoEngine:
    """Engine that compiles the stages of one network.

    Args:
        dtype: dtype of the arithmetic, float32 or bfloat16.

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
        self._compiled: dict[object, OpenVinoStage] = {}

    def compile(self, program: Program, stage: Stage, io: StageIO) -> OpenVinoStage:
        """Compiles a stage for windows of the shape in `io`; a second call returns the same object."""
        name = (tuple(stage.nodes), tuple(io.outputs))
        key = (name, tuple(io.sizes))
        if key not in self._compiled:
            model = self._convert(name, _StageModule(program, stage, io), program, io)
            compiled = self._core.compile_model(self._set_dtypes(model, program, io), "CPU", self._settings)
            shapes = [(1, *s, program.channels[n]) for n, s in zip(io.outputs, io.results, strict=True)]
            types = [program.dtype(node) for node in io.outputs]
            self._compiled[key] = OpenVinoStage(self._ov, compiled, len(io.maps), shapes, types)
        return self._compiled[key]

    def forget(self) -> None:
        """Frees the compiled stages, before images of another shape."""
        self._compiled.clear()

    def _convert(self, name: object, module: nn.Module, program: Program, io: StageIO) -> Any:
        """Converts a stage to an OpenVINO model for the shape of its windows."""
        if name not in self._converted:
            self._converted[name] = _convert_traced(self._ov, module, _inputs(program, io, small=True))
        inputs = _inputs(program, io)
        if self._converted[name] is not None:
            model = self._converted[name].clone()
            model.reshape({i: list(x.shape) for i, x in enumerate(inputs)})
            return model
        return _convert_exported(self._ov, module, inputs)

    def _set_dtypes(self, model: Any, program: Program, io: StageIO) -> Any:
        """Sets the dtypes of the live feature maps at the inputs and outputs of a model."""
        types = {torch.float32: self._ov.Type.f32, torch.bfloat16: self._ov.Type.bf16}
        processor = self._ov.preprocess.PrePostProcessor(model)
        for index, node in enumerate(io.maps):
            processor.input(index).tensor().set_element_type(types[program.dtype(node)])
        for index, node in enumerate(io.outputs):
            processor.output(index).tensor().set_element_type(types[program.dtype(node)])
        return processor.build()


class OpenVinoStage:
    """A compiled stage for windows of one shape.

    Args:
        ov: the package openvino.
        compiled: the compiled OpenVINO model.
        num_maps: number of inputs that are feature maps; they come first.
        shapes: shapes of the outputs, (1, h, w, C) each.
        dtypes: dtypes of the outputs.
    """

    def __init__(
        self,
        ov: Any,
        compiled: Any,
        num_maps: int,
        shapes: Sequence[tuple[int, ...]],
        dtypes: Sequence[torch.dtype],
    ) -> None:
        self._ov = ov
        self._compiled = compiled
        self._num_maps = num_maps
        self._outputs = list(zip(shapes, dtypes, strict=True))
        self._request: Any = None
        self._inputs: list[Tensor] = []
        self._results: list[Tensor] = []
        self._lock = threading.Lock()

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Runs one window: takes feature maps (1, C, h, w) and vectors; targets are valid until the next."""
        with self._lock:  # another thread may release the memory between two runs
            return self._run(inputs)

    def _run(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        if self._request is None:
            self._start()
        maps = [x.permute(_TO_NHWC) for x in inputs[: self._num_maps]]
        held = [x.contiguous() for x in (*maps, *inputs[self._num_maps :])]
        for index, x in enumerate(held):
            self._request.set_input_tensor(index, self._share(x))
        # The request reads their memory, also after the run: they are kept until it is given others or ends.
        self._inputs = held
        self._request.infer()
        return [result.permute(_TO_NCHW) for result in self._results]

    def release(self) -> None:
        """Frees the memory of a run and keeps the compiled model."""
        with self._lock:
            self._request = None  # first, because it refers to the memory that is freed next
            self._inputs, self._results = [], []
            self._compiled.release_memory()

    def _start(self) -> None:
        self._request = self._compiled.create_infer_request()
        for index, (shape, dtype) in enumerate(self._outputs):
            result = torch.empty(shape, dtype=dtype)
            self._request.set_output_tensor(index, self._share(result))
            self._results.append(result)

    def _share(self, x: Tensor) -> Any:
        if x.dtype == torch.bfloat16:
            return self._ov.Tensor(x.view(torch.uint16).numpy(), list(x.shape), self._ov.Type.bf16)
        return self._ov.Tensor(x.numpy(), shared_memory=True)


class _StageModule(nn.Module):
    """A stage as a module with feature maps in NHWC layout as inputs and outputs."""

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
    """Returns example inputs for tracing: feature maps in the shape of the windows, or small ones."""
    sizes = io.examples if small else io.sizes
    maps = [torch.zeros(1, *size, program.channels[node]) for node, size in zip(io.maps, sizes, strict=True)]
    return [*maps, *io.vectors.values()]


def _convert_traced(ov: Any, module: nn.Module, inputs: list[Tensor]) -> Any:
    """Converts a module to a model for any size; None if its graph depends on the traced size."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        script = torch.jit.trace(module, tuple(inputs), check_trace=False)
        if any(issubclass(warning.category, torch.jit.TracerWarning) for warning in caught):
            return None
        with preserve_root_logger():
            return ov.convert_model(script, example_input=tuple(inputs))


def _convert_exported(ov: Any, module: nn.Module, inputs: list[Tensor]) -> Any:
    """Converts a module to a model for exactly these input shapes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter and the converter warn of their own internals
        try:
            exported = torch.export.export(module, tuple(inputs))
        except RuntimeError as error:
            raise PlanError(f"a stage cannot be exported ({error}); use the backend torch") from error
        with preserve_root_logger():
            return ov.convert_model(exported)
