"""Construction of a network from a checkpoint without a config: evidence, then a check on synthetic images.

1. The tensors identify the network, and the arguments that shapes or mean layers show (`ArchSpec.infer`).
2. The user's arguments, a `config.json` of another library, and names supply more of them.
3. `ArchSpec.readings` lists the remaining possibilities. The one that restores synthetic images best is
   chosen (`restoration_check`), or a warning is given.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from hfsr import model_zoo
from hfsr.archs import ArchSpec, Evidence, SavedBy
from hfsr.errors import CheckpointError, HfsrError, HfsrWarning, OptionsError
from hfsr.registry import ARCHS

from .file_evidence import CONFIG_NAME, named_scale
from .files import first_line
from .identification import Claim, claim, load_weights, settle_scale
from .model_args import check_model_args
from .restoration_check import UNFIT, WORSE, can_be_checked, flat_error, is_better, restoration_error

__all__ = ["build_network", "check_config", "network_of"]

Reasons = dict[str, str]


@dataclass(frozen=True)
class _Candidate:
    """Full set of constructor arguments, with a reason for each one that no shape shows."""

    arguments: dict[str, Any]
    reasons: Reasons
    margin: float = 1.0


def check_config(config: Mapping[str, Any], source: str) -> tuple[ArchSpec, SavedBy] | None:
    """Returns the network and the library that the `model_type` of a config names; None if it has none.

    Raises:
        CheckpointError: hfsr has no rule for such files.
    """
    if "model_type" not in config:
        return None
    kind = str(config["model_type"])
    rules = {name: (spec, rule) for spec in ARCHS.own().values() for name, rule in spec.saved_by.items()}
    if kind not in rules or config.get("bam") or config.get("no_upsampling"):
        extra = " with block attention" if config.get("bam") else ""
        raise CheckpointError(
            f"{source} holds the network '{kind}'{extra} according to the {CONFIG_NAME} next to it, and hfsr "
            f"does not have it; of this library hfsr reads {', '.join(rules)}"
        )
    return rules[kind]


def network_of(
    state_dict: Mapping[str, Tensor],
    *,
    source: str,
    evidence: Evidence,
    arch: str | None = None,
    scale: float | None = None,
    task: str | None = None,
    model_args: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Builds the registered network that a state dict belongs to, with its weights, in evaluation mode.

    The network's attribute `evidence` maps each argument that no shape shows to its value and reason.

    Args:
        state_dict: tensors under the file's keys.
        source: the origin of the tensors, which begins messages.
        evidence: further evidence about the file.
        arch: the network, if the tensors alone fit none or several.
        scale: the requested scale.
        task: the task of the weights, if it is known.
        model_args: constructor arguments that the user states.

    Raises:
        UnclaimedError: no registered network has these tensors.
        CheckpointError: several networks have them, the scale is unknown, or the weights do not fit.
        OptionsError: `model_args` are not possible.

    Warns:
        HfsrWarning: no reading returns flat images unchanged, the scale is a guess, or a config is ignored.
    """
    writer = check_config(evidence.config, source)
    if writer is not None and evidence.is_config_uncertain:
        if claim(state_dict, arch).spec is writer[0]:
            warnings.warn(
                f"{source} is read without the {CONFIG_NAME} next to it, which {writer[1].library} wrote for "
                "files of another name; if it belongs to this file, rename the file to pytorch_model_2x.pt",
                HfsrWarning,
                stacklevel=2,
            )
        evidence, writer = replace(evidence, config={}), None
    if writer is not None:
        unused = writer[1].unused
        state_dict = {key: tensor for key, tensor in state_dict.items() if not key.startswith(unused)}
    found = claim(state_dict, arch)
    if writer is not None and writer[0] is not found.spec:
        raise CheckpointError(
            f"{source} holds the network {found.spec.name}, but its {CONFIG_NAME} states '{writer[0].name}'"
        )
    stated = check_model_args(found.spec, found.arguments, model_args or {}, source=source)
    configured, reason = _configured(found.spec, evidence, writer)
    if writer is not None:
        scale = _scale_of_writer(found.spec, evidence, scale)
    candidates = _candidates(found, evidence, configured, reason, stated)
    candidates = _settle(found.spec, candidates, scale, evidence, source)

    def build(candidate: _Candidate) -> nn.Module:
        model = build_network(found.spec.name, candidate.arguments, source)
        load_weights(model, found.tensors, source=source)
        return model.eval()

    model, reasons = _choose(candidates, build, task, source)
    if reasons:
        vars(model)["evidence"] = reasons
    return model


def build_network(arch: str, arguments: Mapping[str, Any], source: str) -> nn.Module:
    """Builds a registered network with fresh weights.

    Raises:
        CheckpointError: the constructor rejects the arguments, or the number of channels is not 1 or 3.
    """
    try:
        model_zoo.check_channels(ARCHS[arch], arguments, source=source)
    except OptionsError as error:
        raise CheckpointError(str(error)) from error
    try:
        return model_zoo.build(arch, **arguments)
    except (HfsrError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{source}: {arch} cannot be built ({first_line(error)})") from error


def _configured(
    spec: ArchSpec, evidence: Evidence, writer: tuple[ArchSpec, SavedBy] | None
) -> tuple[dict[str, Any], str]:
    """Returns constructor arguments from a `config.json` of another library, and a name for that file."""
    if writer is not None:
        rule = writer[1]
        return rule.arguments(evidence.config), f"the {CONFIG_NAME} that {rule.library} wrote"
    known = inspect.signature(spec.cls).parameters
    renames = {"scale": "upscale"} if "upscale" in known else {}
    config = {renames.get(name, name): value for name, value in evidence.config.items()}
    return {name: value for name, value in config.items() if name in known}, f"the {CONFIG_NAME} beside it"


def _scale_of_writer(spec: ArchSpec, evidence: Evidence, scale: float | None) -> float | None:
    """Returns the scale in the file name, as its writer puts it; else the requested one or the config's."""
    return named_scale(spec.scales, evidence.names[:1]) or scale or evidence.config.get("scale")


def _candidates(
    found: Claim, evidence: Evidence, configured: Mapping[str, Any], reason: str, stated: Mapping[str, Any]
) -> list[_Candidate]:
    """Returns the readings that agree with all certain arguments, without duplicates."""
    certain = {**found.arguments, **configured, **stated}
    candidates: list[_Candidate] = []
    for reading in found.spec.readings(found.original, found.arguments, evidence):
        arguments = {**reading.arguments, **certain}
        reasons = {}
        for name in (*reading.arguments, *configured, *stated):
            if name in stated:
                reasons[name] = "as stated"
            elif name in configured:
                reasons[name] = reason
            else:
                reasons[name] = "its mean layers" if name in found.arguments else reading.reason
        if all(candidate.arguments != arguments for candidate in candidates):
            candidates.append(_Candidate(arguments, reasons, reading.margin))
    return candidates


def _settle(
    spec: ArchSpec,
    candidates: Sequence[_Candidate],
    scale: float | None,
    evidence: Evidence,
    source: str,
) -> list[_Candidate]:
    """Completes the scale of every candidate; keeps one of several scales that the tensors allow."""
    word = spec.scale_argument
    if word is None:
        return list(candidates)
    allowed = {candidate.arguments[word] for candidate in candidates if word in candidate.arguments}
    if len(allowed) > 1:
        wanted = scale if scale in allowed else named_scale(allowed, evidence.names)
        if wanted is None:
            wanted = candidates[0].arguments[word]
            others = ", ".join(f"x{other}" for other in sorted(allowed - {wanted}))
            _warn(
                f"{source}: read as x{wanted}, though {others} has the same tensors and its name contains no "
                "scale; state the scale (--scale, scale=)"
            )
        candidates = [candidate for candidate in candidates if candidate.arguments[word] == wanted]
    return [
        replace(candidate, arguments=settle_scale(spec, candidate.arguments, scale, evidence.names))
        for candidate in candidates
    ]


def _choose(
    candidates: Sequence[_Candidate],
    build: Callable[[_Candidate], nn.Module],
    task: str | None,
    source: str,
) -> tuple[nn.Module, Reasons]:
    """Chooses the reading that restores synthetic images best; warns if none restores them.

    Returns:
        The network, and for each argument that no shape shows its value and the reason.
    """
    first = candidates[0]
    model = build(first)
    if not can_be_checked(model, task):
        return model, _with_values(first)
    error = restoration_error(model)
    chosen, best, fitting = first, error, model
    for candidate in candidates[1:]:
        other = build(candidate)
        other_error = restoration_error(other)
        if is_better(other_error, best, candidate.margin):
            chosen, best, fitting = candidate, other_error, other
    if best > WORSE and (flat := flat_error(fitting)) > UNFIT:  # else one pass through the network suffices
        _warn(f"{source}: {_unfit(flat, chosen, candidates)}")
    if chosen is first:
        return model, _with_values(first)
    checked = f"test images are restored with it (error {best:.3f} of bicubic's, {error:.3f} otherwise)"
    changed = {name for name in chosen.reasons if chosen.arguments[name] != first.arguments.get(name)}
    reasons = {name: checked if name in changed else first.reasons[name] for name in chosen.reasons}
    return fitting, _with_values(_Candidate(chosen.arguments, reasons))


def _with_values(candidate: _Candidate) -> Reasons:
    return {
        name: f"{_value(candidate.arguments[name])}: {reason}" for name, reason in candidate.reasons.items()
    }


def _unfit(error: float, chosen: _Candidate, candidates: Sequence[_Candidate]) -> str:
    """Returns the warning for weights that no reading explains."""
    settings = {
        f"--set {name}={_value(value)}"
        for other in candidates
        for name, value in other.arguments.items()
        if value != chosen.arguments.get(name)
    }
    tried = f"; try another reading: hfsr convert with {', '.join(sorted(settings))}" if settings else ""
    return (
        f"images of one color come back wrong by {error:.3f} of the range: the weights are untrained or "
        f"read wrongly{tried}"
    )


def _value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(_value(part) for part in value)
    if isinstance(value, float):
        return f"{round(value, 6):g}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _warn(message: str) -> None:
    warnings.warn(message, HfsrWarning, stacklevel=2)
