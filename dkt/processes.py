"""Which process it was: by host, number and start, so that one that is gone is told from one that runs."""

from __future__ import annotations

import functools
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
# Those that have ended, and only wait for their parent to notice.
_ENDED = ("Z", "X", "x")
# A clock of files and one of processes: they need not agree to the second.
_SLACK = 2.0


@dataclass(frozen=True)
class ProcessId:
    """A process, told apart from any other on any host.

    Attributes:
        host: its name.
        pid: its number there.
        start: when it was started, in clock ticks since the host was; None where that is not told.
        world: the boot of the host and the space of process numbers that ``pid`` and ``start`` count in; in
            others, after a restart or in another container, they mean other processes. Empty where that is
            not told.
    """

    host: str
    pid: int
    start: int | None
    world: str

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        """A process of this host, by its number."""
        return cls(socket.gethostname(), pid, _start(pid), _world())

    def has_ended(self) -> bool | None:
        """Whether the process is gone; None if that cannot be seen from here."""
        if self.host != socket.gethostname():
            return None
        boot, _, space = self.world.partition(" ")
        own_boot, _, own_space = _world().partition(" ")
        if boot and own_boot and boot != own_boot:
            return True
        if space != own_space:
            return None
        if not is_running(self.pid):
            return True
        start = _start(self.pid)
        return None not in (self.start, start) and start != self.start


def is_running(pid: int) -> bool:
    """Whether a process of this number runs on this host."""
    fields = _stat(pid)
    if fields is not None:
        return fields[0] not in _ENDED
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def may_have_written(pid: int, when: float) -> bool:
    """Whether the process that now has this number on this host may have changed a file.

    Args:
        pid: the number.
        when: the time of the change, in seconds since 1970.
    """
    if not is_running(pid):
        return False
    start = _start(pid)
    if start is None:
        return True
    since_boot = time.clock_gettime(time.CLOCK_BOOTTIME) - start / os.sysconf("SC_CLK_TCK")
    return when >= time.time() - since_boot - _SLACK


def _stat(pid: int) -> list[str] | None:
    """The fields of ``/proc/PID/stat`` from the state on; None if there are none."""
    try:
        # The name of the program stands in parentheses, and may hold anything.
        return (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None


def _start(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[19]) if fields and len(fields) > 19 else None


@functools.cache
def _world() -> str:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {(_PROC / 'self/ns/pid').stat().st_ino}"
    except OSError:
        return ""
