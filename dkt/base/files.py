"""Files that are whole or not there: neither a crash nor a full disk leaves one cut short under its name.

They are written aside, as ``.NAME.TAG.partial``, where the tag is that of the process
(``dkt.base.processes.ProcessId.tag``), and renamed. A process that was killed leaves such a file
behind, and the next one that writes in that directory removes it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import sys
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from dkt.base.errors import DktError
from dkt.base.processes import ProcessId

#: The folder of a directory that files are moved to before others take their names.
BACKUP = ".backup"

_PARTIAL = re.compile(r"\..*\.([0-9]+@.*)\.partial", re.DOTALL)
_CHUNK = 1 << 20
# A file's name has 255 bytes at most, those of a character of UTF-8 four, and a tag may have 130.
_LONG = 28

# Directories that this process has looked through for what others left.
_cleaned: set[Path] = set()


def partial_name(name: str) -> str:
    """The name of a file or directory of this process until it is whole."""
    if len(name) > _LONG:
        # Utterance-ids may be as long as a file's name can be.
        name = f"{name[: _LONG // 4]}{zlib.crc32(os.fsencode(name)):08x}"
    return f".{name}.{ProcessId.of(os.getpid()).tag}.partial"


def replace_file(path: str | Path, data: bytes) -> None:
    """Write ``data`` to ``path`` so that a reader, or a crash, never finds half of it.

    Raises:
        DktError: it cannot be written; what was there before stays.
    """
    path = Path(path)
    if is_stream(path):
        _write_into(path, data)
        return
    with _aside(path) as partial:
        partial.write_bytes(data)


@contextlib.contextmanager
def _aside(path: Path) -> Iterator[Path]:
    """The name to write a file under that is renamed to ``path`` once whole, else removed."""
    # Through a link (final.mdl -> 40.mdl) the link is replaced, not the file it points to.
    partial = path.with_name(partial_name(path.name))
    _remove_leftovers_once(path.parent)
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def is_stream(path: Path) -> bool:
    """Whether a name is that of a device or a pipe, such as ``/dev/stdout``: it cannot be replaced."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _write_into(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise cannot_write(path, error) from None


def copy_file(source: str | Path, target: str | Path) -> None:
    """Copy a file, whole or not at all; an error names the one of the two that is at fault.

    Raises:
        DktError: the source cannot be read, or the target cannot be written.
    """
    source, target = Path(source), Path(target)
    if is_stream(target):
        _write_into(target, read_file(source))
        return
    try:
        stream = source.open("rb")
    except OSError as error:
        raise cannot_read(source, error) from None
    with stream, _aside(target) as partial, partial.open("wb") as out:
        while piece := _read(stream, source):
            out.write(piece)


def _read(stream: BinaryIO, source: Path) -> bytes:
    try:
        return stream.read(_CHUNK)
    except OSError as error:
        raise cannot_read(source, error) from None


@contextlib.contextmanager
def partial_directory(target: Path) -> Iterator[Path]:
    """A directory beside ``target`` for what will be renamed to it, or moved into it; then it is removed."""
    remove_leftovers(target.parent)
    directory = target.with_name(partial_name(f"{target.name}.{uuid.uuid4().hex[:8]}"))
    # Not by mkdtemp: what is made there is for its maker alone.
    directory.mkdir()
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def free_name(path: str | Path, folder: str) -> Path:
    """The first name that is free for a file in a folder beside it: ``NAME``, ``NAME.1`` and so on.

    What was set aside before stays: the first of them is the original.
    """
    path = Path(path)
    place, number = path.parent / folder / path.name, 0
    while is_there(place):
        number += 1
        place = place.with_name(f"{path.name}.{number}")
    return place


def replace_link(path: str | Path, target: str) -> None:
    """Make ``path`` a symbolic link to ``target``, in place of what is there; at no time is there none.

    Raises:
        DktError: it cannot be made.
    """
    path = Path(path)
    partial = path.with_name(partial_name(path.name))
    _remove_leftovers_once(path.parent)
    try:
        partial.unlink(missing_ok=True)
        partial.symlink_to(target)
        partial.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from None


def is_there(path: Path) -> bool:
    """Whether there is something of a name: a link to nothing is, and is damaged, or somebody's."""
    return path.exists() or path.is_symlink()


def read_file(path: str | Path) -> bytes:
    """The bytes of a file.

    Raises:
        DktError: it cannot be read, and why: it is missing, a directory, a link to nothing, or forbidden.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise cannot_read(path, error) from None


def cannot_read(path: str | Path, error: OSError) -> DktError:
    """The error to raise for a file that the system does not let read."""
    path = Path(path)
    reason = error.strerror or str(error)
    if isinstance(error, FileNotFoundError) and path.is_symlink():
        reason = f"it is a link to {path.readlink()}, which does not exist"
    return DktError(f"cannot be read: {reason}", path=path)


def cannot_write(path: str | Path, error: OSError) -> DktError:
    """The error to raise for a file that the system does not let write."""
    return DktError(f"cannot be written: {error.strerror or error}", path=path)


def _remove_leftovers_once(directory: Path) -> None:
    place = directory.absolute()
    if place not in _cleaned:
        _cleaned.add(place)
        remove_leftovers(directory)


def remove_leftovers(directory: str | Path) -> None:
    """Remove what processes of this host that have ended were writing in a directory.

    What is of others, or of nobody that dkt knows, stays: who can tell whether they are at work?
    """
    try:
        paths = list(Path(directory).iterdir())
    except OSError:
        return
    for path in paths:
        match = _PARTIAL.fullmatch(path.name)
        process = match and ProcessId.of_tag(match[1])
        if not process or not process.has_ended():
            continue
        with contextlib.suppress(OSError):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


def abandon_stdout() -> None:
    """Throw away what standard output, which failed, has not taken: Python would try again at its end."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
