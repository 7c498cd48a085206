"""One of several chains of steps, drawn at random."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hfsr.errors import OptionsError
from hfsr.registry import DEGRADATIONS

from .base import Chain, ProtocolEntries, Step, build_steps

__all__ = ["RandomChoice"]


@DEGRADATIONS.register
class RandomChoice(Step):
    """Random choice of one chain of steps for each patch, like torchvision's RandomChoice.

    Args:
        choices: for each chain, a section with a `type`, a list of them, or `[]`, which changes nothing.
        prob: probability of each chain, normalized by their sum; None makes all equal.
        scale: scale of reducing steps without one; the default in an option file is the file's scale.

    Raises:
        OptionsError: If a step is unknown, the probabilities do not match, or the chains
            reduce by different scales.
    """

    def __init__(
        self,
        *,
        choices: list[dict[str, Any] | list[dict[str, Any]]],
        prob: list[float] | None = None,
        scale: int = 1,
    ) -> None:
        if not choices:
            raise OptionsError("RandomChoice: choices is empty; give at least one chain")
        self.chains = [Chain(build_steps(_as_list(choice), scale)) for choice in choices]
        shares = np.ones(len(choices)) if prob is None else np.asarray(prob, np.float64)
        if shares.shape != (len(choices),) or np.any(shares < 0) or not 0 < shares.sum() < math.inf:
            raise OptionsError(
                f"RandomChoice: prob {prob} does not fit {len(choices)} choices; "
                "give each of them a number from 0 on"
            )
        self.prob = shares / shares.sum()
        scales = sorted({chain.scale for chain in self.chains})
        if len(scales) > 1:
            raise OptionsError(
                f"RandomChoice: its choices reduce by {' and '.join(map(str, scales))}; use one scale for all"
            )
        self.scale = scales[0]
        self.reach = max(chain.reach for chain in self.chains)
        self.period = math.lcm(*(chain.grid for chain in self.chains))
        self.beforehand = len(choices) == 1 and self.chains[0].beforehand

    def __call__(self, pixels: NDArray, rng: np.random.Generator) -> NDArray:
        return self.chains[int(rng.choice(len(self.chains), p=self.prob))](pixels, rng)

    def protocol(self) -> ProtocolEntries:
        from .describe import describe_degradation

        chains = zip(self.prob.tolist(), self.chains, strict=True)
        return {
            "random_choice": " / ".join(
                f"{100 * share:.3g} %: {describe_degradation(chain.protocol()) or 'unchanged'}"
                for share, chain in chains
            )
        }


def _as_list(choice: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [choice] if isinstance(choice, Mapping) else list(choice)
