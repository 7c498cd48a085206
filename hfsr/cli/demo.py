"""`hfsr demo`: runs the Gradio Space, or the static one, on this machine."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import signal
import socket
import sys
import tempfile
import webbrowser
from pathlib import Path
from types import ModuleType

from hfsr import _resources
from hfsr.errors import HfsrError, MissingDependencyError, UsageError

__all__ = ["add_arguments", "run"]

PACKAGE = "hfsr_space"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "-m",
        "--model",
        action="append",
        metavar="MODEL",
        help="a model that the page offers: a bundled name, a model folder, a checkpoint or a Hub id; "
        "may be repeated (default: the Space's own list)",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; 0.0.0.0 accepts connections of other machines (default: %(default)s)",
    )
    parser.add_argument("--port", type=int, help="port of the page (default: the first free one from 7860)")
    parser.add_argument("--no-browser", action="store_true", help="do not open the page in a browser")
    parser.add_argument(
        "--static",
        action="store_true",
        help="the static page, which runs the models in the browser itself instead of in this process",
    )
    parser.add_argument(
        "--runtime",
        type=Path,
        metavar="FILE",
        help="with --static: the .tgz of onnxruntime-web (default: fetched once by npm, then kept)",
    )


def run(args: argparse.Namespace) -> int:
    """Serves the page until Ctrl-C."""
    if args.static:
        return _serve_static(args)
    if args.runtime is not None:
        raise UsageError("--runtime is for the static page; add --static")
    app = load_app()
    _check_place(args.host, args.port)
    models = {name: name for name in args.model} if args.model else None
    for name in models or {}:
        app.load(name)  # a missing model fails here instead of at the first visit
    app.launch(models, host=args.host, port=args.port, browser=not args.no_browser)
    return 0


def load_app() -> ModuleType:
    """Imports `hfsr_space`, the package of the Space that is installed with hfsr.

    Raises:
        MissingDependencyError: if gradio is not installed.
    """
    if importlib.util.find_spec("gradio") is None:
        raise MissingDependencyError("gradio", extra="demo", purpose="hfsr demo")
    if PACKAGE not in sys.modules:
        folder = _resources.path("spaces", "upscaler") / PACKAGE
        spec = importlib.util.spec_from_file_location(PACKAGE, folder / "__init__.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[PACKAGE] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(sys.modules[PACKAGE])
        except BaseException:
            del sys.modules[PACKAGE]
            raise
    return sys.modules[PACKAGE]


def _serve_static(args: argparse.Namespace) -> int:
    """Stages the static page in a temporary folder and serves it until Ctrl-C."""
    from hfsr.cli.static_server import static_server
    from hfsr.publishing.static_space import stage_static_space

    _check_place(args.host, args.port)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C, so that the folder is removed
    with tempfile.TemporaryDirectory(prefix="hfsr-") as folder:
        site = Path(folder) / "site"
        stage_static_space(
            site,
            args.model,
            runtime=args.runtime,
            report=lambda name: print(f"preparing {name} for the browser", flush=True),
        )
        with static_server(site, host=args.host, port=args.port) as server:
            host = f"[{args.host}]" if ":" in args.host else args.host
            url = f"http://{host}:{server.server_address[1]}"
            print(f"{url}  (Ctrl-C stops it)", flush=True)
            if not args.no_browser:
                webbrowser.open(url)
            with contextlib.suppress(KeyboardInterrupt):
                server.serve_forever()
    return 0


def _check_place(host: str, port: int | None) -> None:
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address[0], port or 0))
    except (OSError, OverflowError) as error:
        where = host if port is None else f"{host}, port {port}"
        raise HfsrError(
            f"the page cannot be served on {where}: {error}; choose another --host or --port"
        ) from error
