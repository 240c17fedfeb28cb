"""Text files in Kaldi's sense: lines that end in a newline, fields parted by ASCII white space, UTF-8."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable
from pathlib import Path

from dkt.errors import DktError
from dkt.files import replace_file
from dkt.streams import open_input

# Kaldi parts fields by ASCII white space alone: a no-break or ideographic space is part of a word.
_WHITE_SPACE = " \t\n\r\f\v"
_FIELD = re.compile(r"\S+", re.ASCII)
_NATURAL = re.compile(r"[0-9]{1,9}", re.ASCII)
_KEYED_LINE = re.compile(r"\s*(\S+)\s*(.*)", re.ASCII | re.DOTALL)


def fields(line: str) -> list[str]:
    """The fields of a line, parted by ASCII white space as Kaldi's tools do it."""
    return _FIELD.findall(line)


def natural(word: str) -> int | None:
    """The integer from 0 on that ``word`` is in ASCII digits, nine at most; None if it is something else."""
    return int(word) if _NATURAL.fullmatch(word) else None


def decode_lines(data: bytes, path: str | Path) -> list[str]:
    """Lines of UTF-8 text without their newlines.

    Raises:
        DktError: the bytes are not UTF-8, or a line ends in a carriage return.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DktError(
            f"line {line} is not UTF-8", path=path, hint="convert it, for example with iconv -t UTF-8"
        ) from None
    if "\r" in text:
        line = text.count("\n", 0, text.index("\r")) + 1
        raise DktError(
            f"line {line} holds a carriage return, expected Unix line ends",
            path=path,
            hint="convert the file with dos2unix",
        )
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return lines


def read_lines(path: str | Path) -> list[str]:
    """Lines of a text file without their newlines.

    Args:
        path: a file, compressed if its name ends in ``.gz``, or another of Kaldi's extended filenames.

    Raises:
        DktError: it cannot be read, is a broken gzip file or not UTF-8, or has Windows line ends.
    """
    with open_input(str(path)) as stream:
        data = stream.read()
    if str(path).endswith(".gz"):
        # Imported here: it needs numpy, for which commands that only read text need not wait.
        from dkt.bounded import gunzip

        data = gunzip(data, path)
    return decode_lines(data, path)


def parse_keyed_lines(lines: Iterable[str], path: str | Path) -> dict[str, str]:
    """Lines ``<key> <rest>``: key to the rest, which may be empty, in the order of the lines.

    Args:
        lines: entry n of the result is line n.
        path: the name that errors tell.

    Raises:
        DktError: a line is empty, or a key stands twice.
    """
    entries: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        match = _KEYED_LINE.match(line)
        if match is None:
            raise DktError(f"line {number} is empty", path=path, hint="remove it, or begin it with a key")
        key, rest = match.groups()
        if key in entries:
            raise DktError(f"line {number}: this utterance occurs twice", path=path, utt=key)
        entries[key] = rest.rstrip(_WHITE_SPACE)
    return entries


def read_keyed_lines(path: str | Path) -> dict[str, str]:
    """A file of lines ``<key> <rest>``, as ``parse_keyed_lines`` gives them.

    Raises:
        DktError: as ``read_lines`` and ``parse_keyed_lines``.
    """
    return parse_keyed_lines(read_lines(path), path)


def write_lines(path: str | Path, lines: list[str]) -> None:
    """Write lines to a text file, compressed if its name ends in ``.gz``, whole or not at all.

    Raises:
        DktError: the file cannot be written.
    """
    data = "".join(f"{line}\n" for line in lines).encode("utf-8")
    if Path(path).suffix == ".gz":
        data = gzip.compress(data, compresslevel=6, mtime=0)
    replace_file(path, data)
