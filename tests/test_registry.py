"""Tests of the registry: mapping interface, transactional registration, borrowed items."""

from __future__ import annotations

import pytest

from hfsr.errors import HfsrError, UnknownNameError
from hfsr.registry import Registry


class Named:
    def __init__(self, name: object) -> None:
        self.name = name


@pytest.fixture
def losses() -> Registry:
    return Registry("loss")


def test_register_decorates_by_class_name(losses):
    @losses.register
    class L1:
        name = "not this one"

    assert losses["L1"] is L1
    assert list(losses) == ["L1"]


def test_instance_registers_by_its_name(losses):
    item = Named("charbonnier")
    assert losses.register(item) is item
    assert losses["charbonnier"] is item


def test_taken_name_raises_and_changes_nothing(losses):
    first = losses.register(Named("l1"))
    before = losses.own()
    with pytest.raises(ValueError, match="a loss named 'l1' is already registered"):
        losses.register(Named("l1"))
    assert losses.own() == before == {"l1": first}


@pytest.mark.parametrize("item", [Named(None), Named(3), object()])
def test_item_without_a_name_raises_and_changes_nothing(losses, item):
    with pytest.raises(TypeError, match="a loss needs a name"):
        losses.register(item)
    assert len(losses) == 0


def test_same_item_may_be_registered_again_or_under_a_second_name(losses):
    item = losses.register(Named("l1"))
    assert losses.register(item) is item
    assert losses.register(item, name="mae") is item
    assert list(losses) == ["l1", "mae"]


def test_unknown_name_raises_unknown_name_error(losses):
    losses.register(Named("CharbonnierLoss"))
    with pytest.raises(
        UnknownNameError, match="no loss named 'CharbonierLoss'; did you mean 'CharbonnierLoss'"
    ) as e:
        losses["CharbonierLoss"]
    assert isinstance(e.value, HfsrError)
    with pytest.raises(UnknownNameError, match="no loss named '3'"):
        losses[3]  # option files may contain numbers


def test_get_and_in_never_raise(losses):
    item = losses.register(Named("l1"))
    assert losses.get("l1") is item
    assert losses.get("l2") is None
    assert losses.get("l2", "fallback") == "fallback"
    assert "l1" in losses
    assert "l2" not in losses
    assert 3 not in losses


def test_basicsr_suffix_is_accepted(losses):
    item = losses.register(Named("l1"))
    assert losses["l1_hfsr"] is item
    assert "l1_hfsr" in losses
    assert "l2_hfsr" not in losses
    assert list(losses) == ["l1"]


def test_borrowed_items_are_live_and_own_items_take_precedence(losses):
    foreign = {"l1": "theirs"}
    losses.borrow(foreign)
    losses.borrow(foreign)
    assert losses["l1"] == "theirs"
    foreign["l2"] = "later"
    assert list(losses) == ["l1", "l2"]
    assert len(losses) == 2
    ours = losses.register(Named("l1"))
    assert losses["l1"] is ours
    assert losses.own() == {"l1": ours}
    assert losses["l2"] == "later"


def test_own_is_a_copy(losses):
    losses.own()["l1"] = "changed"
    assert "l1" not in losses


def test_former_names_are_looked_up_and_not_listed(losses):
    item = Named("charbonnier")
    item.former_names = {"smooth": {}}
    losses.register(item)
    assert losses["smooth"] is item
    assert "smooth" in losses
    assert list(losses) == list(losses.own()) == ["charbonnier"]
    with pytest.raises(UnknownNameError, match="no loss named 'smoth'"):
        losses["smoth"]
