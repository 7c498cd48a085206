"""Actions of the main process whose failure is reported to all processes."""

from __future__ import annotations

from collections.abc import Callable

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from hfsr.errors import HfsrError

__all__ = ["in_main_process"]


def in_main_process(accelerator: Accelerator, action: Callable[[], object]) -> None:
    """Runs an action in the main process; the other processes wait for its end.

    Raises:
        HfsrError: if it failed; raised in every process, so that none waits forever.
    """
    failure: HfsrError | None = None
    if accelerator.is_main_process:
        try:
            action()
        except HfsrError as error:
            failure = error
    if accelerator.num_processes > 1:
        message = [None if failure is None else str(failure)]
        broadcast_object_list(message, from_process=0)
        if failure is None and message[0] is not None:
            failure = HfsrError(message[0])
    if failure is not None:
        raise failure
