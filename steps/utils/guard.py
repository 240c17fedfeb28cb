"""Runs a command so that nothing of it is left when it is stopped.

    guard.py <name> <command> [<argument>...]

SIGTERM, SIGHUP, SIGINT and SIGQUIT end the command and all that it has started: with SIGTERM, so that a
training saves what it has, and after ``GRACE_SECONDS``, or a second signal, with SIGKILL. The processes are
found by their parents, in process groups and sessions of their own too, and (on Linux) also where the parent
has ended already. A guard within a guard ends its part when the outer one dies, even of SIGKILL. The exit
status is that of the command, or 128 and the number of the signal.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

GRACE_SECONDS = 15.0
PAUSE_SECONDS = 0.05
STOPS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)
#: Tells a guard that it is within another, and a script that it has a guard: see steps/signals.sh.
WITHIN, SCRIPT = "DKT_GUARDED", "DKT_GUARDED_SCRIPT"
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def prctl(option: int, value: int) -> None:
    """Call ``prctl`` where there is one, on Linux."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0)


def parents() -> dict[int, int]:
    """The parent of every process that is not a zombie."""
    found = {}
    if Path("/proc/self/stat").exists():
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):  # it has just ended
                state, parent = stat.read_text(errors="replace").rpartition(") ")[2].split()[:2]
                if state != "Z":
                    found[int(stat.parent.name)] = int(parent)
        return found
    listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat="], stdout=subprocess.PIPE, text=True)
    for line in listing.stdout.splitlines():
        pid, number, state = line.split()
        if not state.startswith("Z"):
            found[int(pid)] = int(number)
    return found


def descendants() -> list[int]:
    """All processes that this one has started, parents before their children."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents().items():
        children.setdefault(parent, []).append(pid)
    found = [os.getpid()]
    for pid in found:
        found += children.get(pid, [])
    return found[1:]


class Guard:
    """The command that is run.

    Attributes:
        stopped_by: the signal that stopped it, 0 for none.
    """

    def __init__(self, command: list[str]) -> None:
        self.stopped_by = 0
        # What is ignored, as by nohup, stays so.
        self._stops = {signum for signum in STOPS if signal.getsignal(signum) is not signal.SIG_IGN}
        # Blocked, and waited for: none comes between a look and a wait.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, self._stops | {signal.SIGCHLD})
        guard = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                self._become(command, guard, before)
            finally:
                os._exit(127)

    def _become(self, command: list[str], guard: int, mask: set[int]) -> None:
        # Those that Python itself ignores or handles, too.
        for signum in {*self._stops, signal.SIGPIPE, signal.SIGXFSZ}:
            signal.signal(signum, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:  # it died before we asked to be told
            return
        os.environ[SCRIPT] = str(os.getpid())
        try:
            os.execvp(command[0], command)
        except OSError as error:
            print(f"{command[0]}: error: cannot be run: {error.strerror}", file=sys.stderr, flush=True)

    def wait(self) -> int:
        """Wait for the command; returns its exit status."""
        while True:
            status = self._reap()
            if status is not None:
                if status != 0:
                    self._end_all()
                return status
            signum = signal.sigwait(self._stops | {signal.SIGCHLD})
            if signum != signal.SIGCHLD:
                self.stopped_by = int(signum)
                self._end_all()
                return 128 + self.stopped_by

    def _reap(self) -> int | None:
        """Take note of all that have ended; the exit status of the command if it is among them."""
        status = None
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, code = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                if pid == self._pid:
                    status = 128 + os.WTERMSIG(code) if os.WIFSIGNALED(code) else os.WEXITSTATUS(code)
        return status

    def _end_all(self) -> None:
        """End whatever is left of the command."""
        deadline = time.monotonic() + GRACE_SECONDS
        told: set[int] = set()
        while left := descendants():
            late = time.monotonic() > deadline or bool(self._stops & signal.sigpending())
            for pid in left:
                if late or pid not in told:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
                    told.add(pid)
            time.sleep(PAUSE_SECONDS)
            self._reap()


def main(argv: list[str]) -> int:
    """Run the command; returns the exit status."""
    name, *command = argv
    within = WITHIN in os.environ
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    if within:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    os.environ[WITHIN] = "1"
    guard = Guard(command)
    status = guard.wait()
    if guard.stopped_by and not within:
        stopped_by = signal.Signals(guard.stopped_by).name
        print(f"{name}: stopped by {stopped_by}, and its jobs with it", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
