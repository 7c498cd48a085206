"""Options that changed between a training state and the run that resumes from it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from hfsr.errors import CheckpointError, some_of

__all__ = ["check_changes"]

_WITHOUT_INFLUENCE = re.compile(
    r"(name|import|num_gpu|use_checkpointing|find_unused_parameters)\b"
    r"|(logger|path|dist_params)\."
    r"|val\.(val_freq|save_img|pbar|suffix|tile_size)$"
    r"|datasets\.\w+\.(cache|cache_gb|io_backend|num_worker_per_gpu|prefetch_mode|num_prefetch_queue|pin_memory)\b"
)
"""Options that change no weight and no metric of a resumed run."""
_OTHER_TRAINING = re.compile(
    r"(model_type|scale|manual_seed)$|(network_g|network_d|network_dual)(\.|$)"
    r"|train\.(optim_\w+\.type|\w+_opt(\..*)?|pixel_y_channel|ragan|net_d_iters|recursion\..*|usm(\..*)?)$"
)
"""Options that define the training: what is trained, on which objective, by which optimizer and numbers."""


def check_changes(
    earlier: Mapping[str, Any], now: Mapping[str, Any], *, source: str, unread: Collection[str] = ()
) -> list[str]:
    """Compares the options of a training state with those of the run.

    Args:
        earlier: the result of `flat_options` when the state was saved; empty for states without it.
        now: that of this run.
        source: description of the state, for the start of an error message.
        unread: keys that the recipe does not read, with or without keys below them; they do not count.

    Returns:
        The changes to state in the log, as "train.optim_g.lr: 0.001 -> 0.0005", except those of frequencies,
        trackers and the like.

    Raises:
        CheckpointError: if the changes make this another training.
    """
    if not earlier:
        return []
    earlier, now = ({k: v for k, v in each.items() if not _is_below(k, unread)} for each in (earlier, now))
    changed = [key for key in {**earlier, **now} if earlier.get(key) != now.get(key)]
    told = {key: f"{key}: {_shown(earlier, key)} -> {_shown(now, key)}" for key in changed}
    refused = [told[key] for key in changed if _OTHER_TRAINING.match(key)]
    if refused:
        raise CheckpointError(
            f"{source} is of another training: {some_of(refused)}; set this back, or start under another "
            "name from its weights (path.pretrain_network_g)"
        )
    return [text for key, text in told.items() if not _WITHOUT_INFLUENCE.match(key)]


def _is_below(key: str, places: Collection[str]) -> bool:
    """Returns True for one of the places, or a key in a section there."""
    return any(key == place or key.startswith(f"{place}.") for place in places)


def _shown(options: Mapping[str, Any], key: str) -> str:
    return str(options[key]) if key in options else "not set"
