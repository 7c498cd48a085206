"""Fixtures of all tests; tests can connect to the loopback address only."""

from __future__ import annotations

import os
import socket
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
if "PYTEST_XDIST_WORKER" in os.environ:  # one of several: more threads than cores only wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

torch.manual_seed(0)  # for what modules of tests make when they are imported

_connect = socket.socket.connect


def _connect_to_loopback_only(self: socket.socket, address: object) -> None:
    if isinstance(address, tuple) and address and str(address[0]) not in {"127.0.0.1", "::1", "localhost"}:
        raise AssertionError(f"a test tried to reach {address}")
    _connect(self, address)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _hermetic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test starts from the same seed and can connect to this machine only."""
    monkeypatch.setattr(socket.socket, "connect", _connect_to_loopback_only)
    torch.manual_seed(0)


@pytest.fixture
def with_curve() -> None:
    """Tests that use it draw the training curve."""


@pytest.fixture(autouse=True)
def _without_curve(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of a few iterations draw no training curve, which would take longer than the training."""
    logger = sys.modules.get("hfsr.training.logging.run_logger")
    if logger is not None and "with_curve" not in request.fixturenames:
        monkeypatch.setattr(logger, "draw_curve", lambda *_args, **_settings: None)
