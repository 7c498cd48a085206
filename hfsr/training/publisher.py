"""Pushes the best weights to the Hub during training, in a separate process.

In a separate process the client neither delays the training nor uses its random numbers.
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

from hfsr.atomic import replacing
from hfsr.errors import CheckpointError, HubError, OptionsError
from hfsr.evaluation import Report
from hfsr.hub.client import check_repo_id, require_token
from hfsr.options import TrainOptions
from hfsr.registry import ARCHS

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
"""Seconds before each repetition of the last push."""
_TIMEOUT = 300.0
"""Seconds that one push may take after the end of the training."""


def check_push(options: TrainOptions) -> None:
    """Checks `logger.push_to_hub` before the training.

    Raises:
        OptionsError: if it is not an id on the Hub, or if the network is another package's.
    """
    if options.logger.push_to_hub is None:
        return
    check_repo_id(options.logger.push_to_hub)
    if options.network_g.type not in ARCHS:
        raise OptionsError(
            f"logger.push_to_hub: {options.network_g.type} is another package's network, which is not "
            "pushed while it trains; leave this out and push the finished run with 'hfsr push'"
        )


class Publisher:
    """Pushes a run's best weights after each improvement; of several waiting pushes only the last is made.

    Args:
        folder: folder of the run; its `best.json` contains the reports for the card.
        repository: id of the repository, `org/name`.
    """

    def __init__(self, folder: Path, repository: str) -> None:
        self.folder, self.repository = folder, repository
        self.reports = folder / "best.json"
        self._child: subprocess.Popen[str] | None = None
        self._due = True
        """True if the last push failed, or none was made."""
        self._wanted = False
        """True if a push starts as soon as none is running; a failed push waits for the next best weights."""
        self._may_push = not self._lacks_token()

    def submit(self, reports: Sequence[Report]) -> None:
        """Schedules a push of the new best weights in the run's folder, with these reports on the card."""
        text = json.dumps([report.to_json() for report in reports], indent=2) + "\n"
        with replacing(self.reports, error=CheckpointError) as partial:
            partial.write_text(text, encoding="utf-8")
        self._wanted = True
        self.poll()

    def poll(self) -> None:
        """Logs how a push ended, and starts the next one if it is due; returns at once."""
        if self._child is not None and self._child.poll() is not None:
            self._log_end(final=False)
        if self._child is None and self._wanted and self._may_push:
            self._start()

    def finish(self) -> None:
        """Waits for the running push, and repeats a failed one a few times."""
        if self._child is not None:
            self._wait()
            self._log_end(final=False)
        pauses = [0.0, *_PAUSES]
        while (self._due or self._wanted) and not self._lacks_token() and pauses:
            time.sleep(pauses.pop(0))
            self._start()
            self._wait()
            self._log_end(final=not pauses)

    def abandon(self) -> None:
        """Waits for the running push and starts no other, for a training that stops early."""
        if self._child is not None:
            self._wait()
            self._log_end(final=True)

    def _lacks_token(self) -> bool:
        """Returns True and warns if no token is available; the training goes on."""
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
        # One thread, because the training uses the same processor.
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        self._child = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def _wait(self) -> None:
        assert self._child is not None
        try:
            self._child.wait(_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def _log_end(self, *, final: bool) -> None:
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
            logger.warning("not published yet: %s; training continues, and hfsr will try again", reason)
