"""Which process it was: by host, number and start, so that one that is gone is told from one that runs."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import socket
from dataclasses import dataclass, field
from pathlib import Path

_PROC = Path("/proc")
# Those that have ended, and only wait for their parent to notice.
_ENDED = ("Z", "X", "x")
_MACHINE_ID = Path("/etc/machine-id")
_NETWORK = Path("/sys/class/net")
_TAG = re.compile(
    r"(?P<pid>[0-9]{1,9})@(?P<host>.*)\.(?P<start>[0-9]*)-(?P<machine>[0-9a-f]*)-(?P<boot>[0-9a-f]+)"
    r"-(?P<space>[0-9]+)",
    re.DOTALL,
)


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
        machine: of which machine the boot was; empty where that is not told.
    """

    host: str
    pid: int
    start: int | None
    world: str
    # Cards may be plugged in while it runs.
    machine: str = field(default="", compare=False)

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        """A process of this host, by its number."""
        return cls(socket.gethostname(), pid, _start(pid), _world(), _machine())

    @classmethod
    def of_tag(cls, tag: str) -> ProcessId | None:
        """Read what ``tag`` gave; None if it is something else."""
        found = _TAG.fullmatch(tag)
        if found is None:
            return None
        start = int(found["start"]) if found["start"] else None
        world = f"{found['boot']} {found['space']}"
        return cls(found["host"], int(found["pid"]), start, world, found["machine"])

    @property
    def tag(self) -> str:
        """``PID@HOST.START-MACHINE-BOOT-SPACE``, to stand in the name of a file."""
        boot, _, space = self.world.partition(" ")
        start = "" if self.start is None else self.start
        return f"{self.pid}@{self.host}.{start}-{self.machine}-{_short(boot)}-{space}"

    def has_ended(self) -> bool | None:
        """Whether the process is gone; None if that cannot be seen from here.

        Hosts of one name may be two, and containers share the name of their host: another boot is proof only
        if it was one of this machine.
        """
        boot, _, space = self.world.partition(" ")
        own_boot, _, own_space = _world().partition(" ")
        if self.host != socket.gethostname() or not boot or not own_boot:
            return None
        if _short(boot) != _short(own_boot):
            return True if self.machine and self.machine == _machine() else None
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
        # That of another space, as after "unshare --pid" alone, tells of other processes.
        if (_PROC / "self").readlink() != Path(str(os.getpid())):
            return ""
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {(_PROC / 'self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def _short(boot: str) -> str:
    return boot.replace("-", "")[:12]


@functools.cache
def _machine() -> str:
    """A hash of the machine's number and network cards: copies of a disk image share the number."""
    try:
        number = _MACHINE_ID.read_text().strip()
        # Cards that are made for a container, or by a program, come and go.
        cards = sorted(
            (card / "address").read_text().strip()
            for card in _NETWORK.iterdir()
            if (card / "device").exists()
        )
    except OSError:
        return ""
    if not number or not cards:
        return ""
    # Machine-ids are not to be shown (man 5 machine-id).
    return hashlib.sha256("\n".join(["dkt", number, *cards]).encode()).hexdigest()[:12]
