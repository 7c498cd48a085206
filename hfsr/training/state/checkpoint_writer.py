"""Writes the weights of a run: BasicSR's `.pth`, and model folders."""

from __future__ import annotations

from torch import nn

from hfsr.checkpoints import write_model_folder
from hfsr.hub.cards.option_file import task_of_degradation
from hfsr.options import TrainOptions
from hfsr.registry import ARCHS

from ..recipes import Recipe
from .file_writing import save_atomically
from .run_dirs import RunDirs
from .training_state import State, find_states, write_state

__all__ = ["CheckpointWriter"]


class CheckpointWriter:
    """Writes `models/net_g_<label>.pth` (`params`, `params_ema`), `models/net_g_<label>/` and the states."""

    def __init__(self, options: TrainOptions, folders: RunDirs, recipe: Recipe) -> None:
        self.options, self.folders, self.recipe = options, folders, recipe

    def save(self, iteration: int, published: nn.Module, state: State) -> None:
        """Saves every network under its iteration and as `latest`, then the state that refers to them."""
        for name in self.recipe.networks:
            self._write_pth(name, str(iteration))
            if name != "net_g":
                self._write_pth(name, "latest")
        self.save_network("latest", published)
        write_state(self.folders.states, state, keep=self.options.logger.keep_states)
        self._remove_old()

    def save_network(self, label: str, published: nn.Module) -> None:
        """Saves `net_g` under a label: `.pth`, and a model folder with the published weights.

        Networks of other packages have no model folder: their `.pth` is read with the run's option file.
        """
        self._write_pth("net_g", label)
        if self.options.network_g.type in ARCHS:
            data = self.options.datasets.get("train")
            task = task_of_degradation(
                data.arguments.get("degradation") if data else None, self.options.scale
            )
            write_model_folder(published, self.folders.models / f"net_g_{label}", task=task)

    def _write_pth(self, name: str, label: str) -> None:
        content = {"params": self.recipe.networks[name].state_dict()}
        if name in self.recipe.averages:
            content["params_ema"] = self.recipe.averages[name].network.state_dict()
        save_atomically(self.folders.models / f"{name}_{label}.pth", content)

    def _remove_old(self) -> None:
        """Removes numbered weights whose state was removed."""
        kept = {path.stem for path in find_states(self.folders.states)}
        for name in self.recipe.networks:
            for path in self.folders.models.glob(f"{name}_*.pth"):
                label = path.stem.removeprefix(f"{name}_")
                if label.isdigit() and label not in kept:
                    path.unlink()
