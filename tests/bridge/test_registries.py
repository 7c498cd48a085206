"""Tests of the connected registries: names, collisions, order of registration, other plugins."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from torch import nn

from hfsr import bridge
from hfsr.archs.edsr import EDSR
from hfsr.errors import UnknownNameError
from hfsr.registry import ARCHS, DATASETS, LOSSES, METRICS


class ForeignLoss(nn.Module):
    """Loss of another plugin."""


@pytest.fixture(scope="module")
def exported() -> dict[str, str]:
    return bridge.install()


@pytest.fixture
def theirs(exported: dict[str, str]) -> Iterator[object]:
    """BasicSR's registries; restored after the test."""
    from basicsr.utils import registry

    kinds = ("ARCH", "DATASET", "LOSS", "METRIC")
    before = {kind: dict(getattr(registry, f"{kind}_REGISTRY")._obj_map) for kind in kinds}
    yield registry
    for kind, items in before.items():
        getattr(registry, f"{kind}_REGISTRY")._obj_map = items


def test_install_returns_the_exported_names(exported, theirs):
    assert set(exported) == set(ARCHS)
    for name, exported_name in exported.items():
        assert theirs.ARCH_REGISTRY.get(exported_name) is ARCHS[name].cls


def test_names_of_basicsr_get_a_suffix(exported, theirs):
    assert exported["EDSR"] == "EDSR_hfsr"
    assert theirs.ARCH_REGISTRY.get("EDSR") is not EDSR
    assert theirs.ARCH_REGISTRY.get("EDSR").__module__ == "basicsr.archs.edsr_arch"


def test_install_is_idempotent(exported, theirs):
    before = {
        kind: list(getattr(theirs, f"{kind}_REGISTRY").keys())
        for kind in ("ARCH", "DATASET", "LOSS", "METRIC")
    }
    losses = list(LOSSES)
    assert bridge.install() == exported
    assert before == {kind: list(getattr(theirs, f"{kind}_REGISTRY").keys()) for kind in before}
    assert list(LOSSES) == losses


def test_basicsr_items_are_found_in_our_registries(exported):
    assert LOSSES["CharbonnierLoss"].__module__.startswith(("basicsr.", "hfsr."))
    assert DATASETS["PairedImageDataset"].__module__.startswith(("basicsr.", "hfsr."))
    assert METRICS["calculate_psnr"].__module__.startswith(("basicsr.", "hfsr."))


def test_basicsr_suffix_is_optional(exported):
    assert DATASETS["RealESRGANDataset"] is DATASETS["RealESRGANDataset_basicsr"]


def test_unknown_name_suggests_names_of_both(exported):
    with pytest.raises(
        UnknownNameError, match="no loss named 'CharbonierLoss'; did you mean 'CharbonnierLoss'"
    ):
        LOSSES["CharbonierLoss"]


def test_plugins_imported_after_install_are_found(exported, theirs):
    assert "ForeignLoss" not in LOSSES
    theirs.LOSS_REGISTRY.register(ForeignLoss)
    assert LOSSES["ForeignLoss"] is ForeignLoss


def test_own_items_take_precedence(exported, theirs, monkeypatch):
    monkeypatch.setattr(LOSSES, "_items", dict(LOSSES._items))
    theirs.LOSS_REGISTRY.register(ForeignLoss)
    ours = type("ForeignLoss", (nn.Module,), {})
    LOSSES.register(ours)
    assert LOSSES["ForeignLoss"] is ours
    bridge.install()
    assert theirs.LOSS_REGISTRY.get("ForeignLoss") is ForeignLoss
    assert theirs.LOSS_REGISTRY.get("ForeignLoss_hfsr") is ours
    assert "ForeignLoss_hfsr" in LOSSES  # its name in BasicSR, so that one option file works in both


def test_item_is_not_exported_if_both_names_are_taken(exported, theirs, monkeypatch, caplog):
    monkeypatch.setattr(LOSSES, "_items", dict(LOSSES._items))
    theirs.LOSS_REGISTRY.register(ForeignLoss)
    theirs.LOSS_REGISTRY.register(ForeignLoss, suffix="hfsr")
    LOSSES.register(type("ForeignLoss", (nn.Module,), {}))
    with caplog.at_level(logging.WARNING, logger="hfsr"):
        bridge.install()
    assert "'ForeignLoss_hfsr'" in caplog.text
    assert theirs.LOSS_REGISTRY.get("ForeignLoss_hfsr") is ForeignLoss


@pytest.mark.parametrize("name", ["EDSR", "EDSR_hfsr"])
def test_find_network_prefers_own_networks(name):
    assert bridge.find_network(name) is EDSR


@pytest.mark.parametrize(
    ("name", "module"),
    [("EDSR_basicsr", "edsr_arch"), ("SwinIR", "swinir_arch"), ("SRVGGNetCompact", "srvgg_arch")],
)
def test_find_network_finds_networks_of_basicsr(name, module):
    assert bridge.find_network(name).__module__ == f"basicsr.archs.{module}"


def test_find_network_suggests_a_similar_name():
    with pytest.raises(UnknownNameError, match="no network named 'SwinR'; did you mean 'SwinIR'"):
        bridge.find_network("SwinR")


def test_foreign_networks_are_not_in_archs(exported):
    assert "SwinIR" not in ARCHS
    assert set(ARCHS) == {spec.name for spec in ARCHS.values()}


def test_plugin_imported_before_install_keeps_its_names(run_python):
    """Another plugin registers a network and a loss under names of hfsr before `install()`."""
    out = run_python(
        """
        import hfsr.bridge
        hfsr.bridge.import_basicsr()
        from basicsr.utils.registry import ARCH_REGISTRY, LOSS_REGISTRY
        from torch import nn

        @ARCH_REGISTRY.register()
        class A2N(nn.Module):
            pass

        @LOSS_REGISTRY.register()
        class PluginLoss(nn.Module):
            pass

        from hfsr.registry import ARCHS, LOSSES
        names = hfsr.bridge.install()
        if "A2N" not in ARCHS:
            raise SystemExit("A2N is not registered")
        print(names["A2N"])
        print(ARCH_REGISTRY.get("A2N") is A2N)
        print(ARCH_REGISTRY.get("A2N_hfsr") is ARCHS["A2N"].cls)
        print(hfsr.bridge.find_network("A2N") is ARCHS["A2N"].cls)
        print(hfsr.bridge.find_network("A2N_basicsr") is A2N)
        print(LOSSES["PluginLoss"] is PluginLoss)
        print(hfsr.bridge.install() == names)
        """
    )
    assert out.splitlines() == ["A2N_hfsr", *["True"] * 6]
