"""Actions of the main process whose failure is reported to all processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from hfsr.errors import HfsrError

__all__ = ["in_main_process"]

T = TypeVar("T")


def in_main_process(accelerator: Accelerator, action: Callable[[], T]) -> T:
    """Runs an action in the main process; the other processes wait for its end and get its result.

    Raises:
        HfsrError: if it failed; raised in every process, so that none waits forever.
    """
    failure: HfsrError | None = None
    result: Any = None
    if accelerator.is_main_process:
        try:
            result = action()
        except HfsrError as error:
            failure = error
    if accelerator.num_processes > 1:
        shared = [None if failure is None else str(failure), result]
        broadcast_object_list(shared, from_process=0)
        result = shared[1]
        if failure is None and shared[0] is not None:
            failure = HfsrError(shared[0])
    if failure is not None:
        raise failure
    return cast(T, result)
