"""Kaldi's extended filenames: files, ``-``, offsets, pipes whose status counts (``util/kaldi-io.cc``)."""

from __future__ import annotations

import contextlib
import io
import os
import re
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from dkt.base.errors import DktError
from dkt.base.files import abandon_stdout

#: The environment variable that forbids commands, here and in all processes that are started from here.
NO_PIPES = "DKT_NO_PIPES"

_CHUNK = 1 << 20
_OFFSET = re.compile(r"(.*):([0-9]{1,18})", re.DOTALL)
# What a shell tells of a command that died because nobody read on (128 + SIGPIPE).
_BROKEN_PIPE_STATUS = 141
# That of SIGKILL, of the command itself or, as a shell tells it, of a part of it.
_KILLED_STATUSES = (-9, 137)
# Seconds that a command is given to end, once its output has ended and before.
_GRACE, _MOMENT = 10.0, 0.2


def is_input_pipe(rxfilename: str) -> bool:
    """Whether ``rxfilename`` is a command whose output is read: ``gunzip -c a.gz |``."""
    return rxfilename.rstrip().endswith("|")


def is_output_pipe(wxfilename: str) -> bool:
    """Whether ``wxfilename`` is a command that is written to: ``| gzip -c > a.gz``."""
    return wxfilename.lstrip().startswith("|")


def pipes_allowed() -> bool:
    """Whether commands in names and script files may be run: not if ``DKT_NO_PIPES`` is set, but to 0."""
    return os.environ.get(NO_PIPES, "").strip().lower() in ("", "0", "false", "no", "off")


@contextlib.contextmanager
def pipes_forbidden() -> Iterator[None]:
    """Run no command in the meantime, in this process and in those that it starts."""
    before = os.environ.get(NO_PIPES)
    os.environ[NO_PIPES] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[NO_PIPES]
        else:
            os.environ[NO_PIPES] = before


def check_pipe(command: str, path: str | Path | None = None, utt: str | None = None, line: int = 0) -> None:
    """Refuse a command if none may be run.

    Args:
        command: as it is written.
        path: the file that holds it, if one does.
        utt: the utterance that it is of.
        line: of the file, from 1.

    Raises:
        DktError: commands are forbidden.
    """
    if pipes_allowed():
        return
    what = f"line {line}: a command, '{command.strip()}'" if line else f"'{command.strip()}' is a command"
    raise DktError(
        f"{what}, and commands are forbidden (--no-pipes, {NO_PIPES})",
        path=path,
        utt=utt,
        hint="write what it prints to a file and name that, or allow commands if you trust their author",
    )


def _start(command: str, **streams: int) -> subprocess.Popen[bytes]:
    check_pipe(command)
    # pipefail, so that the death of any part of "a | b" is seen; plain sh has no such option.
    bash = shutil.which("bash")
    shell = [bash, "-o", "pipefail", "-c", command] if bash else ["/bin/sh", "-c", command]
    try:
        return subprocess.Popen(shell, **streams)  # type: ignore[call-overload]
    except (OSError, ValueError) as error:
        raise DktError(f"cannot be run: {_reason(error)}", path=command) from None


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _check_status(command: str, status: int) -> None:
    if status == 0:
        return
    hint = None
    if status == _BROKEN_PIPE_STATUS:
        hint = "a command after it stopped reading, as head does: use one that reads on, as sed -n 1,9p"
    elif status in _KILLED_STATUSES:
        hint = (
            "when memory runs out the system kills: run fewer jobs at once, or ask the queue for more memory"
        )
    how = f"ended with status {status}" if status > 0 else f"was killed by signal {-status}"
    raise DktError(f"the command {how}", path=command, hint=hint)


@contextlib.contextmanager
def open_input(rxfilename: str) -> Iterator[BinaryIO]:
    """Open an extended filename for reading bytes.

    Args:
        rxfilename: a path, ``path:offset``, ``-`` for standard input, or ``command |``.

    Raises:
        DktError: the file cannot be opened, the command may not be run or ends with a status other than 0.
    """
    if is_input_pipe(rxfilename):
        yield from _read_pipe(rxfilename.rstrip()[:-1])
        return
    if rxfilename.strip() in ("-", ""):
        yield sys.stdin.buffer
        return
    path, offset = split_offset(rxfilename)
    try:
        handle = Path(path).open("rb")  # noqa: SIM115 - an error in the body is not ours
    except (OSError, ValueError) as error:  # the latter for a zero byte in the name
        raise DktError(f"cannot be read: {_reason(error)}", path=path) from None
    with handle:
        if offset:
            if offset > handle.seek(0, io.SEEK_END):
                raise DktError(f"offset {offset} lies past the end of the file", path=path)
            handle.seek(offset)
        yield handle


def _read_pipe(command: str) -> Iterator[BinaryIO]:
    process = _start(command, stdout=subprocess.PIPE)
    stdout = cast(BinaryIO, process.stdout)
    try:
        yield stdout
        # What the reader left must be taken, or the command dies of a closed pipe and looks like a failure.
        while stdout.read(_CHUNK):
            pass
    except BaseException as error:
        if isinstance(error, DktError):
            # Data cut short are a consequence: the command's death is what the user has to know.
            with contextlib.suppress(subprocess.TimeoutExpired):
                _check_status(command, process.wait(_GRACE if _at_end(stdout) else _MOMENT))
        process.kill()
        process.wait()
        raise
    finally:
        stdout.close()
    _check_status(command, process.wait())


def _at_end(stdout: BinaryIO) -> bool:
    # Without waiting for a command that is silent but alive.
    poll = select.poll()
    poll.register(stdout, select.POLLIN)
    return bool(poll.poll(0)) and not cast(io.BufferedReader, stdout).peek(1)


@contextlib.contextmanager
def open_output(wxfilename: str) -> Iterator[BinaryIO]:
    """Open an extended filename for writing bytes.

    Args:
        wxfilename: a path, ``-`` for standard output, or ``| command``.

    Raises:
        DktError: the file cannot be opened, the command may not be run or ends with a status other than 0.
    """
    if is_output_pipe(wxfilename):
        yield from _write_pipe(wxfilename.lstrip()[1:])
        return
    if wxfilename.strip() in ("-", ""):
        try:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            if error.filename is not None:
                raise
            abandon_stdout()
            raise DktError(f"cannot be written: {_reason(error)}", path="standard output") from None
        return
    try:
        handle = io.BufferedWriter(_NamedFile(wxfilename, "wb"))
    except (OSError, ValueError) as error:
        raise DktError(f"cannot be written: {_reason(error)}", path=wxfilename) from None
    with handle:
        yield handle


class _NamedFile(io.FileIO):
    """A file whose errors tell its name: the system's, of a full disk, do not."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            raise DktError(f"cannot be written: {_reason(error)}", path=str(self.name)) from None


def _write_pipe(command: str) -> Iterator[BinaryIO]:
    process = _start(command, stdin=subprocess.PIPE)
    stdin = cast(BinaryIO, process.stdin)
    broken = False
    try:
        yield stdin
        stdin.flush()
    except BrokenPipeError:
        broken = True
    finally:
        with contextlib.suppress(BrokenPipeError):
            stdin.close()
        status = process.wait()
    _check_status(command, status)
    if broken:
        raise DktError("the command stopped reading before all was written", path=command)


def split_offset(rxfilename: str) -> tuple[str, int]:
    """Split ``path:offset`` into its parts; the offset is 0 where there is none."""
    match = _OFFSET.fullmatch(rxfilename)
    return (match[1], int(match[2])) if match and match[1] else (rxfilename, 0)
