"""The benchmarks run; what they measure is for an idle machine to say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


def test_reading_archives_is_measured():
    command = [sys.executable, str(BENCHMARKS / "read_archives.py"), "--utts=20", "--repeats=1"]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    for told in ("float32 matrices", "dkt scp (kaldi_native_io)", "readinto, one block", "at least 5"):
        assert told in found.stdout
