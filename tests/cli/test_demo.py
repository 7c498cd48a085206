"""`hfsr demo`: what it hands to the Space, and what it says when it cannot start."""

from __future__ import annotations

import importlib.util
import socket
from types import SimpleNamespace

import pytest

from hfsr.cli import demo, main
from hfsr.errors import CheckpointError


@pytest.fixture
def space(monkeypatch):
    """A Space that writes down what it is asked."""
    asked = SimpleNamespace(loaded=[], launched=[])

    def load(model):
        if model == "missing":
            raise CheckpointError("no model 'missing'")
        asked.loaded.append(model)

    def launch(models, **where):
        asked.launched.append((models, where))

    monkeypatch.setattr(demo, "load_app", lambda: SimpleNamespace(load=load, launch=launch))
    return asked


def test_the_spaces_own_list_on_this_machine_alone(space):
    assert main(["demo"]) == 0
    assert space.launched == [(None, {"host": "127.0.0.1", "port": None, "browser": True})]


def test_models_and_place_are_chosen(space):
    assert (
        main(["demo", "-m", "a", "--model", "org/b", "--host", "0.0.0.0", "--port", "8123", "--no-browser"])
        == 0
    )
    assert space.loaded == ["a", "org/b"]
    assert space.launched == [
        ({"a": "a", "org/b": "org/b"}, {"host": "0.0.0.0", "port": 8123, "browser": False})
    ]


def test_a_model_that_is_not_there_is_said_before_serving(space, capsys):
    assert main(["demo", "-m", "missing"]) == 1
    assert capsys.readouterr().err == "hfsr demo: no model 'missing'\n"
    assert space.launched == []


def test_a_port_that_is_taken(space, capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["demo", "--port", str(port)]) == 1
    message = capsys.readouterr().err
    assert message.startswith(f"hfsr demo: the page cannot be served on 127.0.0.1, port {port}: ")
    assert message.count("\n") == 1
    assert space.launched == []


@pytest.mark.parametrize("place", [["--port", "65536"], ["--host", "192.0.2.1"]])
def test_a_place_that_is_not_there(space, capsys, place):
    assert main(["demo", *place]) == 1
    assert capsys.readouterr().err.startswith("hfsr demo: the page cannot be served on ")


def test_without_gradio_it_says_what_to_install(monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "gradio" else find(name))
    assert main(["demo"]) == 1
    assert capsys.readouterr().err.endswith(
        "not installed; run: pip install -c constraints.txt '.[demo]' in the checkout of hfsr\n"
    )
