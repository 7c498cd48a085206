"""fp32 on the CPU beside other programs: python tests/benchmarks/peers.py

Every peer takes the same uint8 image and gives the uint8 result, with the same weights and threads:

- hfsr fp32: `Upscaler(model, dtype="fp32")`; with `backend="auto"`, which takes OpenVINO for large images and
  local networks; networks with global pooling also with `backend="openvino"`.
- ncnn: the exported network with Winograd convolutions, in tiles of 256 px as Upscayl and
  realesrgan-ncnn-vulkan cut them.
- openvino, onnxruntime: the exported ONNX file, the whole image at once.
- realesrgan tiling: plain torch in tiles of 256 px with 10 px around them.
- comfyui tiling: plain torch in tiles of 512 px that overlap by 32 px and are blended, the network built by
  spandrel where spandrel knows it.

The peers take turns; the table holds the median. Light networks get 7 rounds of 2048x1080 px, heavy ones 3
rounds of 512x270 px: RCAN x4 and RRDBNet x4 take minutes for a large image. A peer that cannot run a
network, or whose result is far from that of hfsr, is reported as that. The rate of a float32 matrix product
of side 2048 is printed at the start and at the end; where they differ, other programs used the machine.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from inference import Peer, giga_operations, image_of, interleaved, ours, realesrgan_tiling
from machine import matrix_rate, processor
from numpy.typing import NDArray
from torch import Tensor, nn

import hfsr
from hfsr._compat import import_torchvision
from hfsr.errors import HfsrError
from hfsr.inference.conversion.ncnn_export import export_ncnn
from hfsr.inference.conversion.onnx_export import export_onnx
from hfsr.inference.conversion.onnx_reduced import onnx_function
from hfsr.inference.program.geometry import Size
from hfsr.model_zoo import spec_of

LIGHT, HEAVY = ("2048x1080", 7), ("512x270", 3)
NETWORKS = {"edsr_baseline_x2": LIGHT, "hfsr-x2": LIGHT, "rcan_x4": HEAVY, "rrdbnet_x4": HEAVY}
"""Size of the image and number of rounds of each network."""
FAR = 2.0
"""Mean difference of two results, in levels of 8 bit, above which a peer does something else."""
Run = Callable[[Tensor], Tensor]
"""Takes RGB in [0, 1], (1, 3, H, W), and returns the result."""


def whole(run: Run) -> Peer:
    """Runs the whole image at once."""

    def upscale(image: NDArray) -> NDArray:
        return to_pixels(run(to_tensor(image)))

    return upscale


def to_tensor(image: NDArray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1), np.float32)[None] / 255)


def to_pixels(result: Tensor) -> NDArray:
    return (result[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy()


def blended_tiles(model: nn.Module, tile: int = 512, overlap: int = 32) -> Peer:
    """Tiles that overlap, with weights that rise linearly over the overlap."""
    scale = int(model.scale)  # type: ignore[arg-type]
    network = in_spandrel(model)

    @torch.inference_mode()
    def run(image: NDArray) -> NDArray:
        x = to_tensor(image)
        height, width = x.shape[-2:]
        total = torch.zeros(1, 3, height * scale, width * scale)
        weight = torch.zeros(1, 1, height * scale, width * scale)
        for top in starts(height, tile, overlap):
            for left in starts(width, tile, overlap):
                part = network(x[..., top : top + tile, left : left + tile])
                mask = ramp(part.shape[-2], overlap * scale)[:, None] * ramp(part.shape[-1], overlap * scale)
                place = (
                    ...,
                    slice(top * scale, top * scale + part.shape[-2]),
                    slice(left * scale, left * scale + part.shape[-1]),
                )
                total[place] += part * mask
                weight[place] += mask
        return to_pixels(total / weight)

    return run


def starts(length: int, tile: int, overlap: int) -> list[int]:
    """First px of each tile along one side."""
    return [0] if length <= tile else [*range(0, length - tile, tile - overlap), length - tile]


def ramp(length: int, overlap: int) -> Tensor:
    """Weights along one side of a tile: small at both ends, 1 in between."""
    rise = torch.arange(1, length + 1) / max(1, min(overlap, length))
    return torch.minimum(rise, rise.flip(0)).clamp(max=1)


def in_spandrel(model: nn.Module) -> nn.Module:
    """The network as spandrel builds it; the model itself where spandrel does not know it."""
    import_torchvision()
    from spandrel import ModelLoader, UnsupportedModelError

    try:
        found = ModelLoader(device="cpu").load_from_state_dict(dict(model.state_dict()))
    except (UnsupportedModelError, KeyError, RuntimeError, ValueError):
        return model
    x = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        is_equal = torch.allclose(found.model.eval()(x), model(x), atol=1e-3)
    return found.model if is_equal else model


def by_ncnn(model: nn.Module, folder: Path) -> Peer:
    import ncnn

    path = folder / "ncnn.param"
    export_ncnn(model, path)
    network = ncnn.Net()
    for option in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(network.opt, option, False)
    network.opt.use_winograd_convolution = True
    network.opt.num_threads = torch.get_num_threads()
    network.load_param(str(path))
    network.load_model(str(path.with_suffix(".bin")))

    class Net(nn.Module):
        scale = model.scale

        def forward(self, x: Tensor) -> Tensor:
            run = network.create_extractor()
            pixels = np.ascontiguousarray(x[0].numpy())  # which the Mat refers to
            run.input("data", ncnn.Mat(pixels).clone())
            return torch.from_numpy(np.array(run.extract("output")[1]))[None]

    return realesrgan_tiling(Net())


def by_openvino(path: Path, size: Size) -> Peer:
    import openvino

    core = openvino.Core()
    network = core.read_model(path)
    network.reshape({0: [1, 3, *size]})
    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(
        network, "CPU", {**settings, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    )
    return whole(lambda x: torch.from_numpy(compiled([x.numpy()])[0]))


def peers(model: nn.Module, size: Size, folder: Path, chosen: list[str] | None) -> dict[str, Peer | str]:
    """hfsr and the chosen peers of a network, or all; the reason instead of one that cannot run it."""
    onnx = folder / "model.onnx"
    found: dict[str, Peer | str] = {"hfsr fp32": ours(model, dtype="fp32")}
    makers: dict[str, Callable[[], Any]] = {
        "hfsr fp32 auto": lambda: ours(model, dtype="fp32", backend="auto"),
        "ncnn": lambda: by_ncnn(model, folder),
        "openvino": lambda: by_openvino(onnx, size),
        "onnxruntime": lambda: whole(onnx_function(onnx, threads=torch.get_num_threads())),
        "realesrgan tiling": lambda: realesrgan_tiling(model),
        "comfyui tiling": lambda: blended_tiles(model),
    }
    spec = spec_of(model)
    if spec is not None and spec.tiling == "pooled":  # of others one row: only one network keeps its memory
        makers["hfsr fp32 openvino"] = lambda: ours(model, dtype="fp32", backend="openvino")
    export_onnx(model, onnx)
    for name in makers if chosen is None else chosen:
        try:
            found[name] = makers[name]()
        except HfsrError as error:
            found[name] = str(error)
    return found


def table(name: str, size: Size, rounds: int, chosen: list[str] | None) -> None:
    torch.manual_seed(0)
    model = (
        hfsr.from_pretrained(name) if name in hfsr.list_models(pretrained=True) else hfsr.create_model(name)
    )
    model.eval()
    image, work = image_of(size), giga_operations(model, size)
    print(f"\n{name}, {size.width}x{size.height} px, median of {rounds}")
    with TemporaryDirectory() as folder:
        found = peers(model, size, Path(folder), chosen)
        runs = {peer: run for peer, run in found.items() if not isinstance(run, str)}
        reference = runs["hfsr fp32"](image).astype(np.int16)  # also prepares what is prepared once
        for peer in list(runs)[1:]:
            difference = float(np.abs(runs[peer](image).astype(np.int16) - reference).mean())
            if difference > FAR:
                found[peer] = f"its result is {difference:.1f} levels away"
                del runs[peer]
        medians = interleaved(runs, image, rounds)
    for peer in found:
        if peer in medians:
            took = medians[peer]
            ratio = took / medians["hfsr fp32"]
            print(
                f"  {peer:<18} {took:8.2f} s {work / took:7.1f} GFLOP/s  {ratio:5.2f} x hfsr's time",
                flush=True,
            )
        else:
            print(f"  {peer:<18} not run: {found[peer]}", flush=True)
    mine = {peer: took for peer, took in medians.items() if peer.startswith("hfsr")}
    best = min(took for peer, took in medians.items() if peer not in mine)
    for peer, took in mine.items():
        print(f"  {peer} is {best / took:.2f} times as fast as the best of the others")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), help=", ".join(NETWORKS))
    parser.add_argument("--size", help="width x height of the image instead of that of the network")
    parser.add_argument("--rounds", type=int, help="instead of that of the network")
    parser.add_argument("--peers", nargs="+", help="only these beside hfsr fp32")
    args = parser.parse_args()
    print(f"{processor()}; matrix product {matrix_rate():.0f} GFLOP/s")
    for name in args.networks:
        size, rounds = NETWORKS.get(name, LIGHT)
        width, height = map(int, (args.size or size).split("x"))
        table(name, Size(height, width), args.rounds or rounds, args.peers)
    print(f"\nmatrix product {matrix_rate():.0f} GFLOP/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
