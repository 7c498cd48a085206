"""Small ONNX files, for phones: weights and feature maps in 16-bit floats, or blocks in 8-bit integers.

Both are made from the float32 file by onnxruntime's own tools. Input and output stay float32.

8-bit: the convolutions inside repeated blocks, QDQ (QuantizeLinear and DequantizeLinear around each), with
static ranges of the feature maps from calibration images, and weights of 7 bits, channel by channel: with 8
bits the integer kernels of CPUs without VNNI saturate. The convolutions around the blocks stay in float: they
are few, and rounding them costs more than rounding all blocks (hfsr-x2 on Set5: 0.3 dB with, 0.1 without).
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from hfsr.atomic import replacing
from hfsr.checkpoints import ONNX_CONFIG, ONNX_DTYPE, ONNX_KEYS
from hfsr.errors import CheckpointError, OptionsError, PlanError

from .onnx_export import difference_to_torch, export_onnx
from .quantization import inner_convolutions

__all__ = ["SMALLEST_PSNR", "export_onnx_reduced", "onnx_function"]

SMALLEST_PSNR = {"fp16": 45.0, "int8": 30.0}
"""PSNR of the results to those of torch, dB, from which a file is kept."""
_PERCENTILE = 99.999
"""Share of the values of a feature map that its range covers, percent: a few outliers are clipped."""
_NOISE = (torch.rand(1, 3, 48, 40, generator=torch.Generator().manual_seed(0)),)
_COMPARED = 4
"""Samples on which the file is compared with torch."""
_SAMPLES = 16
"""Images that the ranges are measured on: more take long and change little."""


def export_onnx_reduced(
    model: nn.Module, path: str | Path, dtype: str, samples: Sequence[Tensor] = ()
) -> float:
    """Writes a model as a small ONNX file, with inputs and outputs as `export_onnx`.

    The file is compared with torch in onnxruntime before it is moved to `path`. hfsr does not load it as a
    model.

    Args:
        model: a registered restorer.
        path: ends in .onnx.
        dtype: "fp16" or "int8".
        samples: images for calibration, RGB in [0, 1], (1, 3, H, W), like those to be processed; for int8.

    Returns:
        PSNR in dB of the file's results to torch's: on samples, or on noise if there are none.

    Raises:
        OptionsError: as of `export_onnx`, the dtype is unknown, or there are no samples for int8.
        PlanError: as of `export_onnx`, the network overflows in fp16, or has no convolutions to quantize.
        MissingDependencyError: onnx, onnxscript or onnxruntime is not installed.
        CheckpointError: the file cannot be written.
    """
    path = Path(path)
    if dtype not in SMALLEST_PSNR:
        raise OptionsError(
            f"dtype '{dtype}' is not one of a small ONNX file; use {' or '.join(SMALLEST_PSNR)}"
        )
    if dtype == "int8" and not samples:
        raise OptionsError("no images for calibration; name a folder that contains some")
    if path.suffix != ".onnx":
        raise OptionsError(f"'{path}' must end in .onnx")
    with (
        TemporaryDirectory(prefix="hfsr-") as folder,
        replacing(path, error=CheckpointError) as partial,
    ):
        whole = Path(folder, "float32.onnx")
        export_onnx(model, whole)
        if dtype == "fp16":
            _write_fp16(whole, partial)
        else:
            _write_int8(model, whole, partial, samples)
        _replace_metadata(partial, dtype)
        is_finite = isfinite(difference_to_torch(model, partial))  # at three sizes
        found = _psnr_to_torch(
            model, partial, samples[:: -(-len(samples) // _COMPARED)] if samples else _NOISE
        )
        if not (is_finite and found >= SMALLEST_PSNR[dtype]):
            raise PlanError(
                f"{type(model).__name__} as ONNX in {dtype} has only {found:.1f} dB to torch; it was not "
                "written, use fp32"
            )
    return found


def onnx_function(path: str | Path, *, threads: int = 0) -> Callable[[Tensor], Tensor]:
    """Returns a function that runs an exported file in onnxruntime on the CPU.

    Args:
        path: the file.
        threads: of the arithmetic; 0 for all cores.

    Returns:
        Function of RGB in [0, 1], (B, 3, H, W), float32, that returns the result, float32.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(["sr"], {"lq": x.numpy()})[0])


def _psnr_to_torch(model: nn.Module, path: Path, samples: Sequence[Tensor]) -> float:
    run, errors = onnx_function(path), []
    for sample in samples:
        with torch.inference_mode():
            errors.append((run(sample) - model(sample)).square().mean())
    return float(-10 * torch.stack(errors).mean().clamp(min=1e-12).log10())


def _write_fp16(source: Path, target: Path) -> None:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tiny weights, which become zero
        onnx.save(convert_float_to_float16(onnx.load(source), keep_io_types=True), target)


def _write_int8(model: nn.Module, source: Path, target: Path, samples: Sequence[Tensor]) -> None:
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    weights = {f"{name}.weight" for name in _in_blocks(inner_convolutions(model))}
    nodes = [
        node.name
        for node in onnx.load(source).graph.node
        if node.op_type == "Conv" and node.input[1] in weights
    ]
    if not nodes:
        raise PlanError(f"{type(model).__name__} has no inner convolutions to quantize; use fp16")
    with _quiet():
        quantize_static(
            source,
            target,
            _reader(samples[:: -(-len(samples) // _SAMPLES)]),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_quantize=nodes,
            per_channel=True,
            reduce_range=True,  # weights of 7 bits
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.Percentile,
            extra_options={"CalibPercentile": _PERCENTILE},
        )


def _in_blocks(names: Sequence[str]) -> list[str]:
    """Returns the convolutions inside numbered blocks, such as "body.3.conv1"; all if there are no blocks."""
    found = [name for name in names if any(part.isdecimal() for part in name.split(".")[:-1])]
    return found or list(names)


def _reader(samples: Sequence[Tensor]) -> Any:
    """Returns onnxruntime's reader of calibration samples."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._left = iter(samples)

        def get_next(self) -> dict[str, Any] | None:
            sample = next(self._left, None)
            return None if sample is None else {"lq": sample.numpy()}

    return Reader()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Drops what onnxruntime's tool prints and logs, and leaves the root logger as it was."""
    root = logging.getLogger()
    level, handler = root.level, logging.NullHandler()
    root.addHandler(handler)  # else the first message would configure the logger
    root.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(level)
        root.removeHandler(handler)


def _replace_metadata(path: Path, dtype: str) -> None:
    """Names the dtype; removes what says that the weights are in the file."""
    import onnx

    graph = onnx.load(path)
    kept = [entry for entry in graph.metadata_props if entry.key not in (ONNX_CONFIG, ONNX_KEYS)]
    del graph.metadata_props[:]
    graph.metadata_props.extend([*kept, onnx.StringStringEntryProto(key=ONNX_DTYPE, value=dtype)])
    onnx.save(graph, path)
