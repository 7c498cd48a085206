"""What every registered restorer promises, whoever wrote it."""

from __future__ import annotations

import json

import pytest
import torch
from torch.nn import functional as F

from hfsr.archs import ArchSpec, Evidence
from hfsr.checkpoints import identify, load_checkpoint, save_checkpoint
from hfsr.model_zoo import build, create_model, presets
from hfsr.registry import ARCHS

from .graphs import assert_radius, pools, trace, written_in_place

# Exact numbers of parameters: the published ones where there are any.
COUNTS = {
    "a2n_x2": 1_036_443,
    "a2n_x3": 1_036_443,
    "a2n_x4": 1_047_459,
    "a2n_m_x2": 831_643,
    "a2n_m_x3": 831_643,
    "a2n_m_x4": 842_659,
    "a2n_tiny": 24_947,
    # Published with 24 numbers of the mean, as are pa_edsr and panet: ours is no parameter.
    "csnln_x2": 3_061_289 - 24,
    "csnln_x3": 6_010_409 - 24,
    "csnln_x4": 6_568_627 - 24,
    "csnln_tiny": 12_545,
    "dbpn_x2": 5_953_526,
    "dbpn_x4": 10_426_358,
    "dbpn_x8": 23_205_878,
    "dbpn_ll_x2": 8_811_086,
    "dbpn_ll_x4": 15_348_302,
    "dbpn_ll_x8": 34_026_062,
    "dbpn_mr_x2": 5_946_614,
    "dbpn_mr_x4": 10_419_446,
    "dbpn_mr_x8": 23_198_966,
    "dbpn_res_mr_x2": 5_946_614,
    "dbpn_res_mr_x4": 10_419_446,
    "dbpn_res_mr_x8": 23_198_966,
    "dbpn_s_x2": 341_518,
    "dbpn_s_x4": 599_566,
    "dbpn_s_x8": 1_336_846,
    "dbpn_tiny": 9_378,
    **{f"drcn_x{s}": 1_775_121 for s in (2, 3, 4)},
    "drcn_tiny": 1_908,
    "drn_s_x4": 4_804_065,
    "drn_s_x8": 5_403_000,
    "drn_l_x4": 9_825_893,
    "drn_l_x8": 10_004_018,
    "drn_tiny": 31_725,
    "edsr_baseline_x2": 1_369_859,
    "edsr_baseline_x3": 1_554_499,
    "edsr_baseline_x4": 1_517_571,
    "edsr_x2": 40_729_603,
    "edsr_x3": 43_680_003,
    "edsr_x4": 43_089_923,
    "edsr_tiny": 5_699,
    "enhancenet_x2": 815_939,
    "enhancenet_x4": 852_867,
    "enhancenet_tiny": 3_947,
    "espcn_x2": 21_284,
    "espcn_x3": 22_729,
    "espcn_x4": 24_752,
    "espcn_tiny": 648,
    **{f"fsrcnn_x{s}": 12_809 for s in (2, 3, 4)},
    **{f"fsrcnn_s_x{s}": 4_086 for s in (2, 3, 4)},
    "fsrcnn_tiny": 1_105,
    "lapsrn_x2": 407_441,
    "lapsrn_x3": 814_242,
    "lapsrn_x4": 814_242,
    "lapsrn_x8": 1_221_043,
    "lapsrn_tiny": 1_921,
    "mdsr_x2": 7_953_987,
    "mdsr_x3": 7_953_987,
    "mdsr_x4": 7_953_987,
    "mdsr_baseline_x2": 3_227_203,
    "mdsr_baseline_x3": 3_227_203,
    "mdsr_baseline_x4": 3_227_203,
    "mdsr_tiny": 34_923,
    "metardn_x2": 22_419_096,
    "metardn_x3": 22_419_096,
    "metardn_x4": 22_419_096,
    "metardn_tiny": 61_976,
    "mirnet": 31_787_419,
    "mirnet_tiny": 333_392,
    **{f"mslapsrn_d5r{r}_x{s}": 222_801 for r in (2, 5, 8) for s in (2, 3, 4, 8)},
    "mslapsrn_tiny": 1_921,
    "mmagic_msrresnet_x2": 1_369_859,
    "mmagic_msrresnet_x3": 1_554_499,
    "mmagic_msrresnet_x4": 1_517_571,
    "msrresnet_x2": 1_369_859,
    "msrresnet_x3": 1_554_499,
    "msrresnet_x4": 1_517_571,
    "msrresnet_tiny": 5_699,
    "pa_edsr_x2": 40_811_870 - 24,
    "pa_edsr_x3": 43_762_270 - 24,
    "pa_edsr_x4": 43_172_190 - 24,
    "pa_edsr_tiny": 22_174,
    "panet_demosaic": 5_957_279 - 24,
    "panet_denoise": 5_957_279 - 24,
    "panet_jpeg": 5_954_973 - 24,
    "panet_tiny": 3_511,
    "rcan_x2": 15_444_643,
    "rcan_x3": 15_629_283,
    "rcan_x4": 15_592_355,
    "rcan_x8": 15_740_067,
    "rcan_tiny": 36_275,
    "rdn_x2": 22_123_395,
    "rdn_x3": 22_308_035,
    "rdn_x4": 22_271_107,
    "rdn_tiny": 7_971,
    "rrdbnet_x1": 16_723_907,
    "rrdbnet_x2": 16_703_171,
    "rrdbnet_x4": 16_697_987,
    "rrdbnet_6b_x4": 4_467_779,
    "rrdbnet_16b_x4": 11_662_019,
    "rrdbnet_tiny": 14_083,
    **{f"srcnn_915_x{s}": 8_129 for s in (2, 3, 4)},
    **{f"srcnn_935_x{s}": 24_513 for s in (2, 3, 4)},
    **{f"srcnn_955_x{s}": 57_281 for s in (2, 3, 4)},
    **{f"srcnn_rgb_915_x{s}": 20_099 for s in (2, 3, 4)},
    **{f"srcnn_rgb_935_x{s}": 36_483 for s in (2, 3, 4)},
    **{f"srcnn_rgb_955_x{s}": 69_251 for s in (2, 3, 4)},
    "srcnn_tiny": 1_049,
    "srresnet_x2": 1_401_749,
    "srresnet_x3": 1_586_389,
    "srresnet_x4": 1_549_462,
    "srresnet_tiny": 9_239,
    **{f"vdsr_x{s}": 665_921 for s in (2, 3, 4)},
    "vdsr_tiny": 1_321,
    **{f"zssr_x{s}": 224_640 for s in (2, 3, 4)},
    "zssr_tiny": 1_008,
}
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


def test_every_preset_has_a_stated_count() -> None:
    assert set(COUNTS) == {preset for spec in RESTORERS for preset in spec.presets}


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
