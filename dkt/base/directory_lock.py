"""One writer per directory: a file in it that names who is at work there, and since when."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dkt.base.errors import DktError
from dkt.base.files import cannot_read, cannot_write, partial_name, remove_leftovers
from dkt.base.processes import ProcessId
from dkt.base.stopping import uninterrupted

logger = logging.getLogger(__name__)

#: The lock of a command, and of a step around it: its logs are the step's.
LOCK = ".lock"
STEP_LOCK = ".step.lock"
OPTION = "--steal-lock"
# Where there are no hard links.
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_READ_ONLY = (errno.EROFS, errno.EACCES)
_TRIES = 5

# What this process holds: file to content.
_held: dict[Path, bytes] = {}


class _ReadOnlyError(DktError):
    """Nobody can write in the directory: neither a lock nor anything else."""


@dataclass(frozen=True)
class Holder:
    """Who holds a directory.

    Attributes:
        process: which process.
        since: when it took the lock.
        what: the command that it runs.
    """

    process: ProcessId
    since: str
    what: str

    def encode(self) -> bytes:
        """The content of a lock file."""
        process = self.process
        values = {
            "host": process.host,
            "pid": process.pid,
            "since": self.since,
            "command": self.what,
            "start": "" if process.start is None else process.start,
            "world": process.world,
            "machine": process.machine,
        }
        return "".join(f"{name}: {value}\n" for name, value in values.items()).encode()

    @classmethod
    def decode(cls, data: bytes) -> Holder | None:
        """Read what ``encode`` gave; None if it is something else."""
        pairs = (line.partition(": ") for line in data.decode("utf-8", errors="replace").splitlines())
        values = {name.strip(" :"): value.strip() for name, _, value in pairs}
        try:
            start = int(values["start"]) if values["start"] else None
            # Those of before name no machine.
            machine = values.get("machine", "")
            process = ProcessId(values["host"], int(values["pid"]), start, values["world"], machine)
            return cls(process, values["since"], values["command"])
        except (KeyError, ValueError):
            return None

    def __str__(self) -> str:
        return f"{self.what} on host {self.process.host}, pid {self.process.pid}, since {self.since}"


@contextmanager
def hold_directory(directory: str | Path, what: str, steal: bool = False, name: str = LOCK) -> Iterator[None]:
    """Be the only one that writes in a directory, which is made if need be.

    The lock of a process of this host that has ended is taken over, with a line. Where nothing can be written
    there is no lock, and no need for one. Within the context it may be held again by the same process.

    Args:
        directory: the directory.
        what: the command, for those that are refused.
        steal: take the lock from whoever has it.
        name: of the lock file.

    Raises:
        DktError: somebody else holds it, who is named; or the directory cannot be written in.
    """
    directory = Path(directory)
    made = _make(directory)
    path = directory.resolve() / name
    if _is_own(path):
        yield
        return
    try:
        # A stop comes after it: what is taken is given back.
        with uninterrupted(), contextlib.suppress(_ReadOnlyError):
            take(directory / name, what, os.getpid(), steal)
        remove_leftovers(directory)
        yield
    finally:
        _release(path)
        for place in made:
            # What nothing was written to goes again.
            with contextlib.suppress(OSError):
                place.rmdir()


def _make(directory: Path) -> list[Path]:
    """Make a directory; returns it and those above it that were not there, from the deepest on."""
    missing = [place for place in (directory, *directory.parents) if not place.exists()]
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(directory, error) from None
    return missing


def take(path: Path, what: str, pid: int, steal: bool = False) -> None:
    """Make a lock file for a process of this host, as ``hold_directory`` does.

    Args:
        path: the lock file.
        what: the command.
        pid: the process; another one than this gives the lock back by ``release_step``, or ends.
        steal: take it from whoever has it.
    """
    holder = Holder(ProcessId.of(pid), time.strftime("%Y-%m-%d %H:%M:%S"), what)
    content = holder.encode()
    for _ in range(_TRIES):
        try:
            # Who has found the lock of a dead process must not remove that of one who was quicker.
            with _alone(path.parent):
                _take_over(path, content, steal)
        except FileNotFoundError:
            # Of another who made the directory, wrote nothing and removed it again.
            _make(path.parent)
        except OSError as error:
            if error.errno in _READ_ONLY:
                raise _ReadOnlyError(f"cannot be written: {error.strerror}", path=path) from None
            raise cannot_write(path, error) from None
        else:
            _held[path.parent.resolve() / path.name] = content
            return
    raise DktError("others take this lock again and again", path=path, hint="try again")


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Be the only process that takes a lock in a directory; where the file system has no such thing, hope."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _take_over(path: Path, content: bytes, steal: bool) -> None:
    if _create(path, content):
        return
    _refuse_others(path)
    try:
        found = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise cannot_read(path, error) from None
    _judge(path, Holder.decode(found), steal, _option(path))
    _remove(path, found)
    if not _create(path, content):
        raise FileNotFoundError


def _refuse_others(path: Path) -> None:
    """Raise DktError if what has the name of a lock was made by somebody else."""
    mode = path.lstat().st_mode
    if not stat.S_ISREG(mode):
        kind = "directory" if stat.S_ISDIR(mode) else "link" if stat.S_ISLNK(mode) else "special file"
        hint = "remove it, or choose another directory"
        raise DktError(f"is a {kind}, expected a lock that dkt made", path=path, hint=hint)


def _judge(path: Path, holder: Holder | None, steal: bool, option: str) -> None:
    """Return, with a line, if a lock may be taken over; else raise DktError, which names its holder."""
    directory = path.parent
    if holder is not None and holder.process.has_ended():
        logger.info("%s: the lock of %s is taken over: that process has ended", directory, holder)
    elif steal:
        logger.warning("%s: the lock is taken from %s, as %s says", directory, holder or "whoever", OPTION)
    elif holder is None:
        raise DktError(
            "the lock is damaged: nobody knows who writes in this directory",
            path=path,
            hint=f"if no process does, give {option}",
        )
    else:
        raise DktError(
            f"another process writes in this directory: {holder}",
            path=directory,
            hint=f"wait for it or choose another directory; if it is dead, give {option}",
        )


def _option(path: Path) -> str:
    # Options of steps have a value.
    return f"{OPTION} true" if path.name == STEP_LOCK else OPTION


def _create(path: Path, content: bytes) -> bool:
    """Make a file whole, at once, unless one is there already; False if so."""
    partial = path.with_name(partial_name(path.name))
    try:
        partial.write_bytes(content)
        try:
            os.link(partial, path)
            return True
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
        with path.open("xb") as stream:
            stream.write(content)
        return True
    except FileExistsError:
        return False
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _remove(path: Path, judged: bytes) -> None:
    """Remove the lock of that content; that of one who was quicker to take it over stays."""
    aside = path.with_name(partial_name(f"{path.name}.old"))
    path.rename(aside)
    if aside.read_bytes() != judged:
        with contextlib.suppress(FileExistsError):
            os.link(aside, path)
    aside.unlink()


def take_step(path: Path, what: str, pid: int, steal: bool) -> None:
    """Make the lock file of a step; where nothing can be written there is none.

    Args:
        path, what, steal: as of ``take``.
        pid: the step's process, which gives it back by ``release_step``.

    Raises:
        DktError: somebody else holds the directory.
    """
    _make(path.parent)
    with contextlib.suppress(_ReadOnlyError):
        take(path, what, pid, steal)


def refuse_held(directory: str | Path, steal: bool = False) -> None:
    """Make sure that nobody is at work in a directory or below it, as before it is moved.

    Args:
        directory: the directory.
        steal: whoever holds it is dead, as the user of a script says.

    Raises:
        DktError: a command or a step holds it, who is named.
    """
    for path in sorted(Path(directory).rglob(f"*{LOCK}")):
        if path.name not in (LOCK, STEP_LOCK) and not path.name.startswith(".job"):
            continue
        # Its holder may give it back in this moment.
        with contextlib.suppress(FileNotFoundError):
            _judge(path, Holder.decode(path.read_bytes()), steal, f"{OPTION} true")


def release_step(path: Path, pid: int) -> None:
    """Remove the lock file of a step, if it is that of this process."""
    with contextlib.suppress(OSError):
        holder = Holder.decode(path.read_bytes())
        if holder is not None and holder.process == ProcessId.of(pid):
            path.unlink()


def _is_own(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return path in _held and path.read_bytes() == _held[path]
    return False


def _release(path: Path) -> None:
    content = _held.pop(path, None)
    if content is None:  # what is there is another's, or no file at all
        return
    with contextlib.suppress(OSError):
        if path.read_bytes() == content:
            path.unlink()


def require_lock(directory: str | Path, name: str = LOCK) -> None:
    """Raise DktError if a lock that this process took is no longer its own.

    To be called before anything is written that must not mix with what another process writes.
    """
    path = Path(directory).resolve() / name
    content = _held.get(path)
    if content is None:
        return
    try:
        found = path.read_bytes()
    except OSError:
        found = b""
    if found != content:
        holder = Holder.decode(found)
        raise DktError(
            f"the lock was taken away by {holder or 'somebody'}: this process writes nothing more here",
            path=directory,
        )
