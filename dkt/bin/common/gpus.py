"""The choice of one GPU of this machine, before CUDA is touched: jobs that start at once take different ones.

CUDA shows a process every GPU, and makes a context on the first unless told otherwise. Here ``nvidia-smi``
is asked what is free, a lock file tells what other jobs of dkt have taken, and ``CUDA_VISIBLE_DEVICES`` is
left with one device.
"""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dkt.base.ranges import real_number

VISIBLE = "CUDA_VISIBLE_DEVICES"
QUERY = (
    "nvidia-smi",
    "--query-gpu=index,uuid,memory.used,memory.total,utilization.gpu",
    "--format=csv,noheader,nounits",
)
_TIMEOUT_SECONDS = 60
# What a driver and a desktop take of an idle GPU.
_IDLE_MEMORY = 0.1
_IDLE_UTILIZATION = 10.0
_MIG = re.compile(r"\(UUID:\s*(MIG-[^)\s]+)\)")

#: Where the lock files are. Not TMPDIR at once: queues give each job one of its own.
LOCKS = Path("/tmp") if os.access("/tmp", os.W_OK) else Path(tempfile.gettempdir())
#: Locks of this process, held until it ends.
_held: list[int] = []


@dataclass(frozen=True)
class Gpu:
    """A GPU, or a MIG instance of one, as ``nvidia-smi`` tells it.

    Attributes:
        name: what ``CUDA_VISIBLE_DEVICES`` calls it: index, UUID or MIG name.
        uuid: the name that its lock has, the same for all processes.
        used, total: memory in MiB; None where it is not told.
        utilization: in percent; None where it is not told.
    """

    name: str
    uuid: str
    used: float | None = None
    total: float | None = None
    utilization: float | None = None

    @property
    def free(self) -> float:
        """Free memory in MiB; below zero if it is not known."""
        return -1.0 if self.used is None or self.total is None else self.total - self.used

    @property
    def is_idle(self) -> bool:
        """Whether nobody seems to compute on it."""
        busy_memory = self.used is not None and self.total and self.used > _IDLE_MEMORY * self.total
        return not busy_memory and (self.utilization or 0.0) <= _IDLE_UTILIZATION

    def __str__(self) -> str:
        text = f"GPU {self.name}" if self.name == self.uuid else f"GPU {self.name} ({self.uuid})"
        if self.used is None or self.total is None:
            return text
        return f"{text}, {self.free:.0f} of {self.total:.0f} MiB free"


@dataclass(frozen=True)
class Choice:
    """The GPU that was taken, None if there is none, and why, in words.

    Attributes:
        listed: this machine has a GPU for all that is known; False where nobody told of one.
    """

    gpu: Gpu | None
    why: str
    listed: bool = True


def _number(text: str) -> float | None:
    try:
        return real_number(text.strip())
    except ValueError:  # [N/A], [Not Supported]
        return None


def parse_gpus(listing: str) -> list[Gpu]:
    """The GPUs in the output of ``QUERY``, named by their indices; lines of another form are passed over."""
    gpus = []
    for line in listing.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) == 5 and fields[0].isdecimal():
            gpus.append(Gpu(fields[0], fields[1], *map(_number, fields[2:])))
    return gpus


def visible_gpus(gpus: Sequence[Gpu], visible: str | None) -> list[Gpu]:
    """Those of the machine's GPUs that a job may use.

    Args:
        gpus: all of the machine, named by their indices.
        visible: the value of ``CUDA_VISIBLE_DEVICES``; None if it is not set.

    Returns:
        GPUs named as ``visible`` names them, as CUDA may count them in another order than ``nvidia-smi``; by
        their UUIDs if it is not set. As for CUDA, the list ends before the first name of nothing.
    """
    if visible is None:
        return [replace(gpu, name=gpu.uuid) for gpu in gpus]
    found: list[Gpu] = []
    for name in (word.strip() for word in visible.split(",")):
        if name.startswith("MIG-"):
            found.append(Gpu(name, name))
            continue
        # CUDA takes the beginning of a UUID, too.
        matches = [gpu for gpu in gpus if name and (gpu.name == name or gpu.uuid.startswith(name))]
        if len(matches) != 1:
            break
        found.append(replace(matches[0], name=name))
    return found


def _run(*command: str) -> str:
    """The output of a program; raises OSError or SubprocessError, with the reason in words, if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS)
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[0]
        raise subprocess.SubprocessError(f"it failed with status {done.returncode} and said: {said}")
    return done.stdout


def _without_partitioned(gpus: list[Gpu]) -> list[Gpu]:
    """The list with the MIG instances of GPUs that are cut into such, of which no utilisation is told."""
    if all(gpu.utilization is not None for gpu in gpus):
        return gpus
    names: dict[str, list[str]] = {}
    uuid = ""
    for line in _run("nvidia-smi", "-L").splitlines():
        if mig := _MIG.search(line):
            names.setdefault(uuid, []).append(mig[1])
        elif found := re.search(r"\(UUID:\s*([^)\s]+)\)", line):
            uuid = found[1]
    return [
        part
        for gpu in gpus
        for part in ([Gpu(name, name) for name in names[gpu.uuid]] if gpu.uuid in names else [gpu])
    ]


def _lock(uuid: str) -> bool:
    """Take the lock of a GPU until this process ends; False if another process has it, or may have it."""
    path = LOCKS / f"dkt-gpu-{re.sub(r'[^A-Za-z0-9-]', '_', uuid)}.lock"
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        try:
            file = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
            os.fchmod(file, 0o666)  # other users open it too, whatever the umask is
        except FileExistsError:
            # Another user's file in a directory that all may write to is not opened with O_CREAT.
            file = os.open(path, flags)
    except PermissionError:
        # A file that may not be read is locked by another user for all that is known.
        return not os.path.lexists(path)
    except OSError:
        return True  # without locks the choice is by memory alone
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        return False
    _held.append(file)
    return True


def release() -> None:
    """Give up what was locked, for a GPU that turned out to be of no use."""
    while _held:
        os.close(_held.pop())


def take_gpu() -> Choice:
    """Choose a GPU, lock it and let CUDA see it alone; must be called before CUDA is initialised.

    The first choice is an idle GPU that no other job of dkt has taken, the one with most free memory. Where
    all are taken it is that with most free memory, shared. Without ``nvidia-smi`` it is the first that
    ``CUDA_VISIBLE_DEVICES`` names.
    """
    visible = os.environ.get(VISIBLE)
    said = f"{VISIBLE} is " + ("not set" if visible is None else f"'{visible}'")
    if visible is not None and not visible.strip():
        return Choice(None, f"{said}, which allows none", listed=False)
    try:
        gpus = parse_gpus(_run(*QUERY))
        if visible is None:
            candidates = visible_gpus(_without_partitioned(gpus), None)
        else:
            candidates = visible_gpus(gpus, visible)
    except FileNotFoundError:
        first = (visible or "0").split(",")[0].strip()
        os.environ[VISIBLE] = first
        return Choice(Gpu(first, first), f"nvidia-smi is not there to ask, {said}", listed=False)
    except (OSError, subprocess.SubprocessError) as error:
        return Choice(None, f"nvidia-smi: {error}; {said}")
    if not candidates:
        return Choice(None, f"nvidia-smi lists {len(gpus)} GPUs, {said}", listed=bool(gpus))
    ranked = sorted(candidates, key=lambda gpu: (not gpu.is_idle, -gpu.free, gpu.utilization or 0.0))
    chosen = next((gpu for gpu in ranked if _lock(gpu.uuid)), None)
    why = f"{len(candidates)} to choose from, {said}"
    if chosen is None:
        chosen = max(candidates, key=lambda gpu: gpu.free)
        why = f"shared, as other jobs have taken all {len(candidates)}; most memory is free there, {said}"
    elif not chosen.is_idle:
        why = f"in use by other programs, but none is idle of {why}"
    os.environ[VISIBLE] = chosen.name
    return Choice(chosen, why)
