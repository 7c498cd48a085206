"""Pushes the best weights to the Hub while training goes on, in a process of its own.

A process, as the client must neither hold up the training nor draw from its random numbers.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from hfsr.errors import HubError, OptionsError
from hfsr.evaluation import Report
from hfsr.hub.client import check_repo_id, require_token
from hfsr.options import TrainOptions
from hfsr.registry import ARCHS

from .files import write_atomically

__all__ = ["Publisher", "check_push"]

logger = logging.getLogger("hfsr")

_PROGRAM = """
import json, sys
from pathlib import Path
from hfsr.errors import HfsrError
from hfsr.publishing import push_to_hub
folder, repository, reports = sys.argv[1:]
try:
    known = json.loads(Path(reports).read_text()) if Path(reports).is_file() else []
    print(push_to_hub(folder, repository, reports=known))
except HfsrError as error:
    sys.exit(" ".join(str(error).split()))
"""
_PAUSES = (2.0, 10.0, 30.0)
"""Seconds before each further try of the last push."""
_PATIENCE = 300.0
"""Seconds that one push may take once the training is over."""


def check_push(options: TrainOptions) -> None:
    """
    Raises:
        OptionsError: `logger.push_to_hub` is no id, or the network is one that nobody could load from there.
    """
    if options.logger.push_to_hub is None:
        return
    check_repo_id(options.logger.push_to_hub)
    if options.network_g.type not in ARCHS:
        raise OptionsError(
            f"logger.push_to_hub: {options.network_g.type} is another package's network, which hfsr cannot "
            "load from the Hub; push its .pth by other means"
        )


class Publisher:
    """Sends a run's best weights, each time they got better; of several waiting pushes only the last is made.

    Args:
        folder: of the run; its `best.json` holds the reports that go on the card.
        repository: `org/name`.
    """

    def __init__(self, folder: Path, repository: str) -> None:
        self.folder, self.repository = folder, repository
        self.reports = folder / "best.json"
        self._child: subprocess.Popen[str] | None = None
        self._due = True
        """Whether something is not on the Hub yet, or may not be."""
        self._wanted = False
        """Whether a push begins as soon as none is under way; one that failed waits for the next best."""
        self._may_push = not self._locked_out()

    def submit(self, reports: Sequence[Report]) -> None:
        """New best weights are in the run's folder: they will be pushed, with these numbers on the card."""
        text = json.dumps([report.to_json() for report in reports], indent=2) + "\n"
        write_atomically(self.reports, lambda stream: stream.write(text.encode()))
        self._wanted = True
        self.poll()

    def poll(self) -> None:
        """Tells how a push ended, and starts the next one that is due; takes no time."""
        if self._child is not None and self._child.poll() is not None:
            self._tell(final=False)
        if self._child is None and self._wanted and self._may_push:
            self._start()

    def finish(self) -> None:
        """Waits for the push under way; what is not on the Hub is tried again a few times."""
        if self._child is not None:
            self._wait()
            self._tell(final=False)
        pauses = [0.0, *_PAUSES]
        while (self._due or self._wanted) and not self._locked_out() and pauses:
            time.sleep(pauses.pop(0))
            self._start()
            self._wait()
            self._tell(final=not pauses)

    def abandon(self) -> None:
        """The training stopped early: what is under way may end, nothing new begins."""
        if self._child is not None:
            self._wait()
            self._tell(final=True)

    def _locked_out(self) -> bool:
        """Whether there is no token to publish with, which is said; training goes on all the same."""
        try:
            require_token()
        except HubError as error:
            retry = f"hfsr push {self.folder} {self.repository}"
            logger.warning("logger.push_to_hub: %s; the weights stay here, push them with: %s", error, retry)
            return True
        return False

    def _start(self) -> None:
        self._due = self._wanted = False
        command = [sys.executable, "-c", _PROGRAM, str(self.folder), self.repository, str(self.reports)]
        # One thread: it shares the processor with the training.
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        self._child = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def _wait(self) -> None:
        assert self._child is not None
        try:
            self._child.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def _tell(self, *, final: bool) -> None:
        assert self._child is not None
        child, self._child = self._child, None
        out, errors = child.communicate()
        if child.returncode == 0:
            logger.info("published: %s", out.strip().splitlines()[-1])
            return
        self._due = True
        reason = (errors.strip().splitlines() or ["it took too long"])[-1]
        if final:
            logger.warning(
                "not published: %s; the weights are safe, try again with: hfsr push %s %s",
                reason,
                self.folder,
                self.repository,
            )
        else:
            logger.warning("not published yet: %s; training goes on, it is tried again", reason)
