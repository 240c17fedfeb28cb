"""Calls of the checkout's shell scripts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent


def run(directory: Path, script: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Call a script of the checkout in ``directory``, without Kaldi unless ``variables`` name one."""
    environment = {k: v for k, v in os.environ.items() if k not in ("KALDI_ROOT", "DKT_ROOT")}
    environment |= {"PATH": f"{BIN}:{environment['PATH']}", "VIRTUAL_ENV": str(BIN.parent), "LC_ALL": "C"}
    environment.setdefault("OMP_NUM_THREADS", "1")  # as in conftest.py
    return subprocess.run(
        [str(ROOT / script), *arguments],
        cwd=directory,
        env=environment | variables,
        capture_output=True,
        text=True,
    )


def succeed(directory: Path, script: str, *arguments: str, **variables: str) -> str:
    """Call a script that has to succeed; gives what it printed, stdout first."""
    done = run(directory, script, *arguments, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def fails(directory: Path, script: str, *arguments: str, **variables: str) -> str:
    """Call a script that has to fail; gives what it printed, stdout first."""
    done = run(directory, script, *arguments, **variables)
    assert done.returncode != 0, done.stdout
    return done.stdout + done.stderr
