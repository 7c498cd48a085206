"""Measurements for a card: every set has its own name."""

from __future__ import annotations

import pytest

from hfsr.errors import OptionsError
from hfsr.publishing.measure import _set_names


def test_sets_of_the_hub_are_named_apart() -> None:
    first, second = "hf://datasets/a/x/test", "hf://datasets/b/y/test/"
    assert _set_names([first, second]) == {first: "a/x/test", second: "b/y/test"}
    assert _set_names(["here/test", first, "Set5/HR"]) == {
        "here/test": "test",
        first: "a/x/test",
        "Set5/HR": "Set5",
    }
    assert _set_names([first]) == {first: "test"}


@pytest.mark.parametrize(
    "folders", [("a/test", "b/test"), ("a/test", "a/test"), ("hf://datasets/a/x/test",) * 2]
)
def test_folders_of_one_name_are_refused(folders: tuple[str, ...]) -> None:
    with pytest.raises(OptionsError, match="several sets called 'test'"):
        _set_names(folders)
