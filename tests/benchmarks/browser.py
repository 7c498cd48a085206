"""Arithmetic of the static Space beside native programs: python tests/benchmarks/browser.py

A tile of one model runs in headless Chromium by WebAssembly (one thread, then all), in native onnxruntime and
in torch, in rounds that follow each other. Useful GFLOP/s: operations of the network on the image per second.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import onnxruntime
import torch

import hfsr
from hfsr.cli.static_server import static_server
from hfsr.publishing.static_space import stage_static_space

CHROMIUM = "/usr/bin/chromium"
SCRIPT = """async ([folder, runtime, threads, side]) => {
    const {Network} = await import(`${location.origin}/network.js`);
    const manifest = await (await fetch(`${folder}/manifest.json`)).json();
    const bytes = new Uint8Array(await (await fetch(`${folder}/model.onnx`)).arrayBuffer());
    const at = `${location.origin}/${runtime}`;
    const {network} = await Network.open(manifest, bytes, at, {threads, wantsGpu: false});
    window.tile = async () => {
        const started = performance.now();
        await network.run(new Float32Array(3 * side * side).fill(0.5), side, side);
        return (performance.now() - started) / 1000;
    };
    return manifest.flops_per_pixel * side * side;
}"""


def main() -> int:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="hfsr-x2")
    parser.add_argument("--runtime", type=Path, help="the .tgz of onnxruntime-web")
    parser.add_argument("--side", type=int, default=192, help="of the square tile, px")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    threads = torch.get_num_threads()
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        site = stage_static_space(Path(folder, "site"), [args.model], runtime=args.runtime)
        with static_server(site, port=0) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            browser = playwright.chromium.launch(
                executable_path=CHROMIUM, args=["--headless", "--no-sandbox", "--disable-gpu"]
            )
            runs: dict[str, Callable[[], float]] = {}
            model_folder = next((site / "models").iterdir())
            runtime = f"runtime/{next((site / 'runtime').iterdir()).name}/"
            flops = 0
            for count in sorted({1, threads}):
                page = browser.new_page()
                page.set_default_timeout(600_000)
                page.goto(f"http://127.0.0.1:{server.server_address[1]}")
                flops = page.evaluate(SCRIPT, [f"models/{model_folder.name}", runtime, count, args.side])
                runs[f"browser, {count} thread(s)"] = lambda page=page: page.evaluate("() => window.tile()")
            runs |= _native(args.model, model_folder / "model.onnx", args.side, threads)
            seconds: dict[str, list[float]] = {name: [] for name in runs}
            for _ in range(args.rounds):
                for name, run in runs.items():
                    seconds[name].append(run())
            server.shutdown()
    print(
        f"{args.model}, {args.side}x{args.side} px, {flops / 1e9:.1f} GFLOP, median of {args.rounds} rounds"
    )
    for name, times in seconds.items():
        median = statistics.median(times)
        print(f"{name:<28} {median:8.2f} s {flops / 1e9 / median:8.1f} GFLOP/s")
    return 0


def _native(name: str, path: Path, side: int, threads: int) -> dict[str, Callable[[], float]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    model, x = hfsr.from_pretrained(name), torch.full((1, 3, side, side), 0.5)
    inputs = {session.get_inputs()[0].name: x.numpy()}

    def timed(run: Callable[[], object]) -> float:
        started = time.perf_counter()
        with torch.inference_mode():
            run()
        return time.perf_counter() - started

    return {
        f"onnxruntime, {threads} thread(s)": lambda: timed(lambda: session.run(None, inputs)),
        f"torch, {threads} thread(s)": lambda: timed(lambda: model(x)),
    }


if __name__ == "__main__":
    raise SystemExit(main())
