"""Lines of the training log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from accelerate import Accelerator

from hfsr.data import Batches
from hfsr.options import TrainOptions

from ..loop.mixed_precision import choose_precision
from ..loop.throughput import ThroughputMeter
from ..pretrained import Start
from ..recipes import Recipe
from ..setup import training_section, without_effect
from ..state.run_state import RunState
from .run_logger import duration

__all__ = ["LogMessages", "shown"]


class LogMessages:
    """Formats the lines of the log.

    Args:
        options: options of the run.
        accelerator: its device and processes.
        batches: its data.
        recipe: its networks and optimizers.
    """

    def __init__(
        self, options: TrainOptions, accelerator: Accelerator, batches: Batches, recipe: Recipe
    ) -> None:
        self.options, self.accelerator, self.batches, self.recipe = options, accelerator, batches, recipe
        self.total = options.train.total_iter if options.train else 0

    def introduction(self, start: Start | None, iteration: int) -> Iterator[str]:
        """Yields lines about network, device and data, about the initial weights, and about resuming."""
        parameters = list(self.recipe.networks["net_g"].parameters())
        frozen = sum(p.numel() for p in parameters if not p.requires_grad)
        source, accelerator = self.batches.source, self.accelerator
        batch = self.batches.global_batch * training_section(self.options).accum_iter
        precision = choose_precision(self.options, accelerator.device)
        yield (
            f"{self.options.network_g.type} x{self.options.scale}, {sum(p.numel() for p in parameters):,} "
            f"parameters{f' ({frozen:,} frozen)' if frozen else ''}, on "
            f"{accelerator.device} in {accelerator.num_processes} process(es), "
            f"precision {precision.name}; "
            f"{len(source)} images ({source.left_out} smaller than a patch left out), batch {batch}"
        )
        if self.options.is_seed_drawn:
            seed = self.options.manual_seed
            yield f"manual_seed: {seed} was drawn; write it into the file to repeat this run"
        if precision.note:
            yield precision.note
        if source.deep:
            yield (
                f"{source.deep} of the images have 16 bits per channel and train with all of them; "
                "validation rounds to 8 bits, as its metrics are defined"
            )
        if unused := without_effect(self.options, source):
            yield f"accepted for compatibility with BasicSR, without effect: {', '.join(unused)}"
        if start and not iteration:
            yield f"net_g: {start}"
        if iteration:
            yield f"resuming after iteration {iteration:,} of {self.total:,}"

    def rate(self) -> float:
        """Returns the largest learning rate of `net_g`."""
        return max(group["lr"] for group in self.recipe.optimizers["net_g"].param_groups)

    def report(self, progress: RunState, losses: Mapping[str, float], meter: ThroughputMeter) -> str:
        """Returns a line with epoch, iteration, learning rate, losses, speed, share of data, time left."""
        iteration, epoch = progress.iteration, self.batches.epoch_of(progress.seen)
        left = duration((self.total - iteration) / meter.speed())
        return (
            f"epoch {epoch}, iter {iteration:,}: lr {self.rate():.3e}, {shown(losses)}, "
            f"{meter.speed():.2f} it/s, data {meter.data_share():.1%}, time left {left}"
        )


def shown(losses: Mapping[str, float]) -> str:
    """Formats losses briefly."""
    return ", ".join(f"{name} {value:.4e}" for name, value in losses.items())
