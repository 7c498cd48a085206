"""A Hub server for all tests here, and two clients: one that publishes, one that only reads."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from .client import Client
from .server import HubServer


@pytest.fixture(scope="session")
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


CALLS = pytest.StashKey[int]()


@pytest.fixture(autouse=True)
def _no_unknown_calls(hub: HubServer, request: pytest.FixtureRequest) -> Iterator[None]:
    """A call that the server does not know fails the test that made it."""
    request.node.stash[CALLS] = len(hub.calls)
    yield
    unknown, hub.unknown = hub.unknown, []
    assert not unknown


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails lists the calls that its clients made."""
    report = yield
    hub = getattr(item, "funcargs", {}).get("hub")
    if report.failed and isinstance(hub, HubServer):
        calls = hub.calls[item.stash.get(CALLS, 0) :]
        report.sections.append(("calls to the Hub", "\n".join(map(str, calls)) or "none"))
    return report


@pytest.fixture(scope="session")
def publisher(hub: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A process of somebody who may write to publisher/* and org/*."""
    folder = tmp_path_factory.mktemp("publisher")
    client = Client(hub.url, home=folder / "hf", cwd=folder / "work", token="hf_publisher")
    yield client
    client.close()


@pytest.fixture(scope="session")
def stranger_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stranger")


@pytest.fixture(scope="session")
def stranger(hub: HubServer, stranger_home: Path) -> Iterator[Client]:
    """A process of somebody without a token, on another machine."""
    client = Client(hub.url, home=stranger_home / "hf", cwd=stranger_home / "work")
    yield client
    client.close()
