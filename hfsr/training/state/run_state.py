"""How far a run has come: what its training state holds beside tensors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from hfsr.errors import CheckpointError
from hfsr.evaluation import Report

from ..recipes import Recipe, restore, state_of
from ..validation.validator import Best
from .training_state import State

__all__ = ["RunState"]


@dataclass
class RunState:
    """What changes while a run goes on, the learners apart."""

    iteration: int = 0
    """Iterations done."""
    seen: int = 0
    """Patches drawn by all processes: the sampler's position."""
    best: Best | None = None
    landmarks: dict[str, float] = field(default_factory=dict)
    """PSNR-Y of the first set in dB: `bicubic`, at the `start`, at the `end`."""
    trackers: dict[str, str] = field(default_factory=dict)
    """What trackers call this run."""

    def note(self, report: Report) -> None:
        """Remembers what was measured on the first set."""
        self.landmarks |= {"bicubic": report.bicubic_psnr_y, "end": report.psnr_y}
        self.landmarks.setdefault("start", report.psnr_y)

    def summary(self, sets: Iterable[str]) -> str | None:
        """Start, end and bicubic in one line; None where nothing was measured."""
        if not self.landmarks:
            return None
        start, end, bicubic = (self.landmarks[key] for key in ("start", "end", "bicubic"))
        return (
            f"{next(iter(sets))}, PSNR-Y: bicubic {bicubic:.2f} dB, step 0 {start:.2f} dB, "
            f"end {end:.2f} dB ({end - bicubic:+.2f} dB to bicubic); {self.best}"
        )

    def state(self, recipe: Recipe, *, network_g: str, epoch: int, scaler: Any) -> State:
        """Everything that a run needs to go on.

        Args:
            recipe: its learners.
            network_g: type of the network.
            epoch: for those who look into the file.
            scaler: of float16 gradients, or None.
        """
        return {
            "iter": self.iteration,
            "epoch": epoch,
            "seen": self.seen,
            "network_g": network_g,
            "scaler": scaler.state_dict() if scaler is not None else {},
            "best": asdict(self.best) if self.best else None,
            "landmarks": self.landmarks,
            "trackers": self.trackers,
            **state_of(recipe),
        }

    @classmethod
    def restored(cls, state: State, recipe: Recipe, *, network_g: str) -> RunState:
        """Puts a state back into a recipe that is not prepared yet; accelerate's scaler is made later.

        Raises:
            CheckpointError: the state is another network's.
        """
        source = f"the training state of iteration {state['iter']:,}"
        if state["network_g"] != network_g:
            raise CheckpointError(f"{source} is of {state['network_g']}: start this run under another name")
        restore(recipe, state, source=source)
        best = Best(**state["best"]) if state["best"] else None
        trackers = dict(state.get("trackers", {}))
        return cls(state["iter"], state["seen"], best, dict(state["landmarks"]), trackers)
