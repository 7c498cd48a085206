"""What every registered restorer promises, whoever wrote it."""

from __future__ import annotations

import importlib
import json
import pkgutil
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from hfsr.archs import ArchSpec, Evidence
from hfsr.checkpoints import identify, load_checkpoint, save_checkpoint
from hfsr.model_zoo import build, create_model, presets
from hfsr.registry import ARCHS

from .graphs import assert_radius, pools, trace, written_in_place


def stated_counts() -> dict[str, int]:
    """Exact number of parameters of each preset, the published one where there is any, from all tests."""
    counts: dict[str, int] = {}
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if module.name.startswith("test_") and module.name != Path(__file__).stem:
            test = importlib.import_module(f"{__package__}.{module.name}")
            counts |= getattr(test, "PARAMETERS", {})
    return counts


COUNTS = stated_counts()
RESTORERS = [spec for spec in ARCHS.own().values() if spec.role == "restorer"]
BF16_DB = 50  # what ArchSpec.bf16 guarantees


def tiny(spec: ArchSpec) -> str:
    [name] = [preset for preset in spec.presets if preset.endswith("_tiny")]
    return name


TINY = [tiny(spec) for spec in RESTORERS]
TINY_AT_SCALES = [(tiny(spec), scale) for spec in RESTORERS for scale in spec.scales]
# Networks with whole-image attention are not cut by their graph: they have a plan of their own.
TRACED = [spec for spec in RESTORERS if spec.tiling != "windowed"]
TRACED_AT_SCALES = [(tiny(spec), scale) for spec in TRACED for scale in spec.scales]
every_tiny = pytest.mark.parametrize("preset", TINY)
every_scale = pytest.mark.parametrize(("preset", "scale"), TINY_AT_SCALES)
every_traced_tiny = pytest.mark.parametrize("preset", [tiny(spec) for spec in TRACED])
every_traced_scale = pytest.mark.parametrize(("preset", "scale"), TRACED_AT_SCALES)


def image(batch: int, height: int, width: int) -> torch.Tensor:
    """Smooth colors in [0, 1], as a photograph has, not noise."""
    coarse = torch.rand(batch, 3, max(2, height // 3), max(2, width // 3))
    return F.interpolate(coarse, (height, width), mode="bicubic", align_corners=False).clamp(0, 1)


@pytest.mark.parametrize("spec", RESTORERS, ids=lambda spec: spec.name)
def test_every_preset_has_a_stated_count(spec: ArchSpec) -> None:
    missing = [preset for preset in spec.presets if preset not in COUNTS]
    module = spec.cls.__module__.rpartition(".")[2]
    entries = ", ".join(f'"{preset}": ...' for preset in missing)
    assert not missing, (
        f"add to tests/archs/test_{module}.py, with the paper's numbers where it has them: "
        f"PARAMETERS = {{{entries}}}"
    )


def test_no_stated_count_is_left_over() -> None:
    assert set(COUNTS) <= {preset for spec in RESTORERS for preset in spec.presets}


@pytest.mark.parametrize("preset", COUNTS)
def test_parameter_count_on_the_meta_device(preset: str) -> None:
    with torch.device("meta"):
        model = create_model(preset)
    tensors = [*model.parameters(), *model.buffers()]
    assert all(tensor.is_meta for tensor in tensors)
    assert sum(parameter.numel() for parameter in model.parameters()) == COUNTS[preset]


@pytest.mark.parametrize("spec", RESTORERS, ids=lambda spec: spec.name)
def test_spec_states_its_facts(spec: ArchSpec) -> None:
    assert spec.name == spec.cls.__name__
    assert spec.paper.startswith("https://")
    assert spec.title
    assert spec.license
    for preset, arguments in spec.presets.items():
        assert spec.scale_of(arguments) in spec.scales, preset


@every_scale
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (13, 2), (7, 11), (12, 8)], ids=str)
def test_any_size(preset: str, scale: int, size: tuple[int, int]) -> None:
    model = create_model(preset, scale=scale).eval()
    x = image(1, *size)
    before = x.clone()
    with torch.no_grad():
        y = model(x)
        again = model(x)
    assert model.scale == scale
    assert y.shape == (1, 3, size[0] * scale, size[1] * scale)
    assert y.dtype == torch.float32
    assert y.isfinite().all()
    assert torch.equal(y, again)
    assert torch.equal(x, before)


@every_scale
def test_every_parameter_gets_a_gradient(preset: str, scale: int) -> None:
    def idle(scale: int) -> set[str]:
        model = create_model(preset, scale=scale)
        outputs = getattr(model, "pyramid", lambda x: [model(x)])(image(2, 9, 7))
        sum((y * torch.randn_like(y)).sum() for y in outputs).backward()
        gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
        return {name for name, gradient in gradients.items() if gradient is None or not gradient.any()}

    spec = presets()[preset]
    # Where one set of weights serves every scale, what one scale leaves idle another one uses.
    scales = spec.scales if spec.multi_scale else (scale,)
    assert not set.intersection(*(idle(each) for each in scales))


@every_tiny
def test_a_batch_is_its_single_images(preset: str) -> None:
    model = create_model(preset).eval()
    x = image(3, 9, 7)
    with torch.no_grad():
        singles = torch.cat([model(x[i : i + 1]) for i in range(3)])
        torch.testing.assert_close(model(x), singles, rtol=0, atol=1e-6)


@every_scale
def test_recorded_arguments_rebuild_it(preset: str, scale: int) -> None:
    model = create_model(preset, scale=scale)
    again = build(type(model).__name__, **json.loads(json.dumps(model.model_args)))
    again.load_state_dict(model.state_dict(), strict=True)
    assert json.dumps(again.model_args) == json.dumps(model.model_args)
    x = image(1, 5, 7)
    with torch.no_grad():
        assert torch.equal(again(x), model(x))


@every_scale
def test_tensors_tell_the_network(preset: str, scale: int) -> None:
    model = create_model(preset, scale=scale)
    spec, arguments, renamed = identify(model.state_dict())
    assert spec is presets()[preset]
    readings = [reading.arguments for reading in spec.readings(model.state_dict(), arguments, Evidence())]
    assert arguments == {**arguments, **readings[0]}
    recorded = json.loads(json.dumps(model.model_args))
    found = [json.loads(json.dumps({**arguments, **reading})) for reading in readings]
    assert any({name: recorded[name] for name in told} == told for told in found)
    assert renamed.keys() == model.state_dict().keys()


@every_traced_scale
def test_core_traces_for_every_size(preset: str, scale: int) -> None:
    model = create_model(preset, scale=scale).eval()
    graph = trace(model)
    multiple = presets()[preset].size_multiple(model.model_args)
    for height, width in ((7, 11), (13, 5)):
        x = image(1, height * multiple, width * multiple)
        with torch.no_grad():
            torch.testing.assert_close(graph(x), model(x), rtol=0, atol=1e-6)


@every_traced_scale
def test_nothing_read_twice_is_overwritten(preset: str, scale: int) -> None:
    graph = trace(create_model(preset, scale=scale))
    assert [node for node in written_in_place(graph) if len(node.users) > 1 or node.op == "placeholder"] == []


@every_traced_tiny
def test_tiling_kind_is_what_the_graph_shows(preset: str) -> None:
    spec = presets()[preset]
    found = len(pools(trace(create_model(preset))))
    assert (found > 0) == (spec.tiling == "pooled")


@every_traced_scale
def test_stated_radius_is_the_measured_one(preset: str, scale: int) -> None:
    assert_radius(preset, scale=scale)


@every_tiny
def test_safetensors_round_trip(preset: str, tmp_path) -> None:
    model = create_model(preset).eval()
    save_checkpoint(model, tmp_path / "model.safetensors")
    again = load_checkpoint(tmp_path / "model.safetensors")
    assert type(again) is type(model)
    assert again.state_dict().keys() == model.state_dict().keys()
    x = image(1, 7, 5)
    with torch.no_grad():
        assert torch.equal(again(x), model(x))


@pytest.mark.parametrize("preset", [tiny(spec) for spec in RESTORERS if spec.bf16])
def test_bfloat16_stays_near_float32(preset: str) -> None:
    model = create_model(preset).eval()
    x = image(1, 24, 24)
    with torch.no_grad():
        exact = model(x)
        rough = model.bfloat16()(x.bfloat16())
    assert rough.dtype == torch.bfloat16
    error = (rough.float() - exact).square().mean()
    assert -10 * error.log10() >= BF16_DB


@every_tiny
def test_it_learns(preset: str) -> None:
    model = create_model(preset)
    lq = image(4, 12, 12)
    gt = 0.9 * F.interpolate(lq, scale_factor=model.scale, mode="bicubic", align_corners=False)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(21):
        loss = (model(lq) - gt).abs().mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.9 * losses[0]
