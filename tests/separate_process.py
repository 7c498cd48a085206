"""Python in a process of its own, whose libraries read environment variables when they are loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run_python(*command: str, variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs Python in the repository with two threads and these environment variables.

    Those of pytest are left out: it may run pytest without being taken for a worker of this run.
    """
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**inherited, "OMP_NUM_THREADS": "2", **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def run_tests(*arguments: str, variables: Mapping[str, str]) -> None:
    """Runs tests in such a process, and fails with its output if one of them does."""
    options = ("-q", "-n", "0", "-p", "no:cacheprovider", "--timeout", "800")
    done = run_python("-m", "pytest", *options, *arguments, variables=variables)
    assert done.returncode == 0, done.stdout + done.stderr
