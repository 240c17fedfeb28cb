"""How many processors this process may use, and how many of the machine's are busy."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

_CGROUP_V2 = Path("/sys/fs/cgroup/cpu.max")
_CGROUP_V1 = tuple(Path("/sys/fs/cgroup/cpu") / name for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us"))
_STAT = Path("/proc/stat")
_SECONDS = 0.2


def available() -> int:
    """Processors that the affinity of this process and the quota of its container allow, at least one."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    count = len(allowed) or os.cpu_count() or 1
    quota = _quota()
    return max(1, count if quota is None else min(count, math.floor(quota + 0.5)))


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


def busy() -> float:
    """Processors that others keep busy in the next fifth of a second; 0 where nobody knows."""
    before = _times()
    time.sleep(_SECONDS)
    after = _times()
    if before is None or after is None or after[1] <= before[1]:
        return 0.0
    idle, total = after[0] - before[0], after[1] - before[1]
    return (os.cpu_count() or 1) * (1.0 - idle / total)


def _times() -> tuple[int, int] | None:
    """Idle time and all time of all processors, in ticks."""
    try:
        fields = [int(field) for field in _STAT.read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
        return fields[3] + fields[4], sum(fields)
    except (OSError, ValueError, IndexError):
        return None
