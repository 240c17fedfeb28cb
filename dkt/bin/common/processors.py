"""How many processors this process may use, and how many of the machine's other programs leave to it."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUP_V2 = Path("/sys/fs/cgroup/cpu.max")
_CGROUP_V1 = tuple(Path("/sys/fs/cgroup/cpu") / name for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us"))
_STAT = Path("/proc/stat")
# What a queue has given to a job: SGE, Slurm, PBS, LSF.
_GRANTS = ("NSLOTS", "SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE", "NCPUS", "LSB_DJOB_NUMPROC")


def available() -> int:
    """Processors that affinity, the quota of a container and the grant of a queue allow, at least one."""
    count = len(_allowed()) or os.cpu_count() or 1
    quota = _quota()
    limits = [int(value) for value in map(os.environ.get, _GRANTS) if value and value.isdecimal()]
    if quota is not None:
        limits.append(math.floor(quota + 0.5))
    return max(1, min([count, *limits]))


def _allowed() -> set[int]:
    """The processors of this process's affinity; none where there is no such thing."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


def _quota() -> float | None:
    """Processors' worth of time that a container may take; None for no limit."""
    try:
        if _CGROUP_V2.exists():
            quota, period = _CGROUP_V2.read_text(encoding="ascii").split()
        else:
            quota, period = (path.read_text(encoding="ascii").strip() for path in _CGROUP_V1)
        return None if quota in ("max", "-1") else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


class SpareProcessors:
    """Processors of this process's affinity that other programs leave to it.

    They may be more than ``available``: a container's quota, or a queue, has given it a share of them.
    """

    def __init__(self) -> None:
        self._before = _times()

    def __call__(self) -> float | None:
        """How many they were since the last call, or since the beginning.

        Returns:
            Processors' worth of time; None where nobody knows.
        """
        before, now = self._before, _times()
        self._before = now
        if before is None or now is None or now[1] <= before[1]:
            return None
        (busy, total, processors, own), (busy_before, total_before, _, own_before) = now, before
        # The machine's ticks, and the seconds of this process, are of the same time.
        seconds = (total - total_before) / processors / os.sysconf("SC_CLK_TCK")
        used = (busy - busy_before) / (total - total_before) * processors
        others = max(0.0, used - (own - own_before) / seconds)
        return processors - others


def _times() -> tuple[int, int, int, float] | None:
    """Busy and all ticks of the processors, their number, and the seconds that this process has computed."""
    allowed, busy, total, count = _allowed(), 0, 0, 0
    try:
        for line in _STAT.read_text(encoding="ascii").splitlines():
            name, *fields = line.split()
            number = name.removeprefix("cpu")
            if not name.startswith("cpu") or not number or (allowed and int(number) not in allowed):
                continue
            ticks = [int(field) for field in fields[:8]]
            busy += sum(ticks) - ticks[3] - ticks[4]
            total += sum(ticks)
            count += 1
    except (OSError, ValueError, IndexError):
        return None
    own = os.times()
    return (busy, total, count, own.user + own.system) if count else None
