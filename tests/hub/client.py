"""A process with the real huggingface_hub client, working against a `HubServer`: many short scripts.

HF_ENDPOINT and the other variables are read when huggingface_hub is imported, and a "fresh process" is what a
user has: so the scripts run in a process of their own, never in pytest's.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

__all__ = ["Client", "Outcome"]


@dataclass(frozen=True)
class Outcome:
    """What a script left: its variable `result`, or the error it ended with, and what was printed."""

    result: Any
    error: str | None
    message: str
    stdout: str
    stderr: str


class Client:
    """A Python process with its own Hub settings.

    Args:
        endpoint: address of the Hub.
        home: HF_HOME; two clients with one home share a cache.
        cwd: current directory of the scripts.
        token: HF_TOKEN, None for somebody who is not logged in.
        offline: sets HF_HUB_OFFLINE.
        xet: large files go by Xet, the client's default, and not by classic LFS.
        without: packages that this process does not find, as if they were not installed.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        home: Path,
        cwd: Path,
        token: str | None = None,
        offline: bool = False,
        xet: bool = False,
        without: Sequence[str] = (),
    ) -> None:
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))
        }
        environment |= {
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "0" if xet else "1",
            "HF_XET_CLIENT_RETRY_BASE_DELAY": "1ms",
            "NO_PROXY": "127.0.0.1,localhost",
            "OMP_NUM_THREADS": "1",
        }
        if token:
            environment["HF_TOKEN"] = token
        if offline:
            environment["HF_HUB_OFFLINE"] = "1"
        cwd.mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", __file__, *without],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=cwd,
        )

    def start(self, script: str, **variables: Any) -> None:
        """`run`, without waiting for its end: for a process that will be killed."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"script": script, "variables": variables}) + "\n")
        self._process.stdin.flush()

    def run(self, script: str, **variables: Any) -> Outcome:
        """Runs a script with these variables (what JSON can carry); names it defines stay for the next."""
        self.start(script, **variables)
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        assert answer, "the client process died"
        return Outcome(**json.loads(answer))

    def ok(self, script: str, **variables: Any) -> Any:
        """`run`, for a script that must succeed; returns its `result`."""
        outcome = self.run(script, **variables)
        assert outcome.error is None, f"{outcome.error}: {outcome.message}\n{outcome.stderr}"
        return outcome.result

    def error(self, script: str, **variables: Any) -> str:
        """`run`, for a script that must end with an HfsrError of one line; returns that line."""
        outcome = self.run(script, **variables)
        assert outcome.error in {"HubError", "CheckpointError", "OptionsError"}, f"{outcome}"
        assert "\n" not in outcome.message.strip()
        return outcome.message

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.kill()  # nothing is left to do, and an orderly end takes seconds
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=30)


class _Without(MetaPathFinder):
    """Another finder that does not find some packages, as if they were not installed."""

    def __init__(self, finder: Any, packages: Sequence[str]) -> None:
        self.finder, self.packages = finder, frozenset(packages)

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname.partition(".")[0] in self.packages:
            return None
        return self.finder.find_spec(fullname, path, target)

    def find_distributions(self, *context: Any) -> Any:
        return getattr(self.finder, "find_distributions", lambda *_: ())(*context)


def _serve() -> None:
    """Reads scripts from stdin and answers each with one line of JSON."""
    import time
    import warnings

    warnings.filterwarnings("ignore", ".*images of one color come back wrong")  # random weights
    if missing := sys.argv[1:]:
        sys.meta_path[:] = [_Without(finder, missing) for finder in sys.meta_path]

    sleep = time.sleep
    time.sleep = lambda seconds: sleep(min(seconds, 0.01))  # the client's pauses between retries, made short
    replies = sys.stdout
    namespace: dict[str, Any] = {}
    for line in sys.stdin:
        task = json.loads(line)
        out, err = io.StringIO(), io.StringIO()
        namespace.pop("result", None)
        namespace.update(task["variables"])
        error, message = None, ""
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                exec(task["script"], namespace)
            except Exception as caught:
                error, message = type(caught).__name__, str(caught)
                if not error.endswith("Error") or error not in {
                    "HubError",
                    "CheckpointError",
                    "OptionsError",
                }:
                    import traceback

                    traceback.print_exc()
        answer = {
            "result": namespace.get("result"),
            "error": error,
            "message": message,
            "stdout": out.getvalue(),
            "stderr": err.getvalue(),
        }
        replies.write(json.dumps(answer) + "\n")
        replies.flush()


if __name__ == "__main__":
    _serve()
