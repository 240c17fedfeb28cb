"""One call of dkt under supervision, and whether it ended as a program should."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dkt.bin import main

LIMIT_SECONDS, LIMIT_BYTES, LIMIT_LINE = 60.0, 4 << 30, 1000
_ERROR_LINE = re.compile(r"^ERROR \(|^[\w./-]+: error: |^dkt [a-z-]+: error: ", re.MULTILINE)
_POLL_SECONDS = 0.005
_MARK = "DKT_RELIABILITY_TRIAL"


@dataclass
class Outcome:
    """How a call ended: exit status (negative: the signal), output, seconds, peak memory in bytes."""

    status: int
    output: str
    seconds: float
    peak: int = 0
    timed_out: bool = False


def call(
    argv: Sequence[str], place: Path, kill_after: float | None = None, max_file: int | None = None
) -> Outcome:
    """Run ``dkt argv`` in a fork of this process, in the directory ``place``.

    Args:
        argv: the command and its arguments.
        place: its working directory.
        kill_after: seconds until it gets SIGKILL; None to leave it alone.
        max_file: no file may become larger, in bytes; writing on is an error, as on a full disk.
    """
    with tempfile.TemporaryFile() as log:
        began = time.monotonic()
        pid = os.fork()
        if pid == 0:
            _run_child(argv, place, log.fileno(), max_file)
        status, usage, timed_out = _wait(pid, began, kill_after)
        seconds = time.monotonic() - began
        log.seek(0)
        output = log.read().decode("utf-8", "replace")
    return Outcome(status, output, seconds, usage.ru_maxrss * 1024, timed_out)


def _run_child(argv: Sequence[str], place: Path, log: int, max_file: int | None) -> None:
    status = 70
    try:
        os.setsid()
        for stream in (1, 2):
            os.dup2(log, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(place)
        if max_file is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (max_file, max_file))
        status = main(list(argv))
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
        status = 1
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _wait(pid: int, began: float, kill_after: float | None) -> tuple[int, resource.struct_rusage, bool]:
    limit = LIMIT_SECONDS if kill_after is None else kill_after
    while time.monotonic() - began < limit:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), usage, False
        time.sleep(_POLL_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    return os.waitstatus_to_exitcode(status), usage, kill_after is None


def complaint(outcome: Outcome, must_fail: bool = False) -> str | None:
    """What is wrong with the end of a call, in a few words; None if it ended as it should.

    A program that cannot do what it is asked to says so in one line that names the fault, without a
    traceback, within a minute and 4 GiB, and its exit status is not zero.
    """
    last = (outcome.output.strip().splitlines() or [""])[-1][:160]
    if outcome.timed_out:
        return f"no end after {LIMIT_SECONDS:.0f} s"
    if outcome.status < 0:
        return f"died of signal {-outcome.status}"
    if "Traceback (most recent call last)" in outcome.output:
        return f"a traceback: {last}"
    if outcome.peak > LIMIT_BYTES:
        return f"took {outcome.peak / 2**30:.1f} GiB"
    if outcome.status == 0:
        return "exit status 0" if must_fail else None
    if not _ERROR_LINE.search(outcome.output):
        return f"exit status {outcome.status} without a line that says why: {last}"
    longest = max(map(len, outcome.output.splitlines()), default=0)
    # A usage text may be long; a message may not.
    return f"a line of {longest} characters" if longest > LIMIT_LINE else None


@contextlib.contextmanager
def step(argv: Sequence[str], place: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A step in a session of its own, and the mark that its processes carry; it prints to ``place/step.log``.

    Whatever it leaves running is killed in the end.
    """
    mark = uuid.uuid4().hex
    with (place / "step.log").open("w") as log:
        process = subprocess.Popen(
            argv,
            cwd=place,
            env=os.environ | {_MARK: mark, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            text=True,
            start_new_session=True,
        )
        try:
            yield process, mark
        finally:
            for pid in alive(mark):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()


def run_step(argv: Sequence[str], place: Path) -> Outcome:
    """Run a step to its end."""
    began = time.monotonic()
    with step(argv, place) as (process, _):
        status = process.wait(600)
    return Outcome(status, (place / "step.log").read_text(), time.monotonic() - began)


def alive(mark: str) -> list[int]:
    """The processes that carry a mark in their environment, zombies apart."""
    wanted, found = f"{_MARK}={mark}".encode(), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            # Processes of others may not be read, and some are gone by now.
            with contextlib.suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


def command_line(pid: int) -> list[str]:
    """The arguments of a process; none once it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")[:-1]
    return []
