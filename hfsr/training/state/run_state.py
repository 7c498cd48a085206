"""Progress of a run: the part of its training state that is not in the learners."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
    """Values that change during a run, except those of the learners."""

    iteration: int = 0
    """Number of finished iterations."""
    seen: int = 0
    """Patches drawn by all processes, which is the position of the sampler."""
    best: Best | None = None
    landmarks: dict[str, float] = field(default_factory=dict)
    """PSNR-Y of the first set in dB: `bicubic`, at the `start`, at the `end`."""
    trackers: dict[str, str] = field(default_factory=dict)
    """Names of this run by tracker."""

    def note(self, report: Report) -> None:
        """Records the results on the first set."""
        self.landmarks |= {"bicubic": report.bicubic_psnr_y, "end": report.psnr_y}
        self.landmarks.setdefault("start", report.psnr_y)

    def summary(self, sets: Iterable[str]) -> str | None:
        """Returns one line with start, end and bicubic, or None without validation."""
        if not self.landmarks:
            return None
        start, end, bicubic = (self.landmarks[key] for key in ("start", "end", "bicubic"))
        return (
            f"{next(iter(sets))}, PSNR-Y: bicubic {bicubic:.2f} dB, step 0 {start:.2f} dB, "
            f"end {end:.2f} dB ({end - bicubic:+.2f} dB to bicubic); {self.best}"
        )

    def state(
        self, recipe: Recipe, *, network_g: str, epoch: int, scaler: Any, options: Mapping[str, Any]
    ) -> State:
        """Returns the complete state from which the run can resume.

        Args:
            recipe: recipe of the run.
            network_g: type of the network.
            epoch: epoch, for readers of the file.
            scaler: gradient scaler of float16, or None.
            options: values of the options, as `flat_options` returns them.
        """
        return {
            "iter": self.iteration,
            "epoch": epoch,
            "seen": self.seen,
            "network_g": network_g,
            "options": dict(options),
            "scaler": scaler.state_dict() if scaler is not None else {},
            "best": asdict(self.best) if self.best else None,
            "landmarks": self.landmarks,
            "trackers": self.trackers,
            **state_of(recipe),
        }

    @classmethod
    def restored(cls, state: State, recipe: Recipe, *, network_g: str) -> RunState:
        """Loads a state into a recipe before `prepare`; the engine restores accelerate's scaler later.

        Raises:
            CheckpointError: if the state is of another network.
        """
        source = f"the training state of iteration {state['iter']:,}"
        if state["network_g"] != network_g:
            raise CheckpointError(f"{source} is of {state['network_g']}: start this run under another name")
        restore(recipe, state, source=source)
        best = Best(**state["best"]) if state["best"] else None
        trackers = dict(state.get("trackers", {}))
        return cls(state["iter"], state["seen"], best, dict(state["landmarks"]), trackers)
