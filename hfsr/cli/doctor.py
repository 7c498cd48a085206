"""`hfsr doctor`: reports the installation; with a model, checks that its tiles equal the whole image."""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import platform

from hfsr import __version__, _resources
from hfsr.errors import PlanError

BASE = ("torch", "numpy", "pillow", "safetensors", "huggingface-hub")
EXTRAS = {
    "train": ("basicsr", "accelerate", "timm", "pydantic"),
    "demo": ("gradio",),
    "mcp": ("mcp",),
    "spandrel": ("spandrel",),
    "openvino": ("openvino", "nncf"),
    "export": ("onnx", "onnxruntime", "onnxscript"),
    "ncnn": ("ncnn",),
    "formats": ("imagecodecs",),
    "heic": ("pillow-heif",),
}
TOLERANCE = 1e-5
"""Largest difference in float32, relative to the range of the result."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", nargs="?", help="also check that tiles of this model equal the whole image")
    size, tile = functools.partial(_side, least=16), functools.partial(_side, least=8)
    parser.add_argument("--size", type=size, default=192, help="side of the test image in px (default 192)")
    parser.add_argument("--tile", type=tile, default=48, help="side of the tiles in px (default 48)")


def _side(text: str, *, least: int) -> int:
    if text.isdecimal() and int(text) >= least:
        return int(text)
    raise argparse.ArgumentTypeError(f"'{text}' is not allowed; use at least {least} px")


def run(args: argparse.Namespace) -> int:
    if args.model is not None:
        return _check_model(args)
    print(f"hfsr {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    for name in BASE:
        print(f"  {name:<16} {_version(name) or 'missing'}")
    for extra, names in EXTRAS.items():
        found = ", ".join(f"{name} {_version(name) or 'missing'}" for name in names)
        print(f"  [{extra}]".ljust(18) + f" {found}")
    print(f"  bundled models   {', '.join(_resources.bundled_models()) or 'none'}")
    print(f"  option files     {len(list(_resources.folder('options').glob('*.yml')))}")
    _print_device()
    return 0


def _print_device() -> None:
    import torch

    from hfsr.inference.runtime.memory import free_memory
    from hfsr.inference.runtime.precision import choose_device, is_native_bf16

    device = choose_device(None)
    native = "bf16 native" if is_native_bf16(device) else "bf16 not native: auto means fp32"
    print(f"  device           {device}, {torch.get_num_threads()} threads, {native}, ", end="")
    print(f"{free_memory(device) / 2**30:.1f} GiB free")


def _check_model(args: argparse.Namespace) -> int:
    import torch

    from hfsr.hub import from_pretrained
    from hfsr.inference import Upscaler
    from hfsr.inference.program.tracing import trace

    model = from_pretrained(args.model)
    image = torch.rand(1, 3, args.size, args.size + 7, generator=torch.Generator().manual_seed(0))
    # Two halves of different statistics: tiles with their own global pools would differ from the whole.
    image[..., : args.size // 2] *= 0.1
    up = Upscaler(model, tile=args.tile, dtype="fp32")
    pieces = up.tensor(image)
    whole = Upscaler(model, tile=0, dtype="fp32").tensor(image)
    difference = ((whole - pieces).abs().max() / max(1.0, float(whole.abs().max()))).item()
    told = f"{args.tile} px differ from the whole {args.size + 7}x{args.size} image by {difference:.1e}"
    if str(up.used_tile).startswith("windowed"):
        print(f"{up.name}: windowed, an approximation; overlapping tiles of {told}")
        return 0
    program = trace(model)
    print(
        f"{up.name}: {program.kind}, radius {program.radius()} px, {len(program.stages)} stage(s); "
        f"tiles of {told}"
    )
    if difference > TOLERANCE:
        raise PlanError(
            f"{up.name} is not exact in tiles: {difference:.1e} is above {TOLERANCE:.0e}; please report it"
        )
    return 0


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
