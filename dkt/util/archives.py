"""Kaldi's archives: keys and objects in turn, ``key object key object ...`` (``util/kaldi-table-inl.h``)."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from dkt.base.bounded import open_gunzip
from dkt.base.errors import DktError
from dkt.base.files import cannot_read
from dkt.base.gzipped import unpacked
from dkt.matrix.matrix_io import Reader, read_value
from dkt.util.kaldi_io import open_input
from dkt.util.text import refusal, refused_character

_SPACE = re.compile(rb"\s")
_LONGEST_KEY = 4096


def read_archive(read: Reader, rxfilename: str) -> Iterator[tuple[str, Any]]:
    """The keys and objects of an archive one by one; ``read`` takes one object from the stream.

    An archive that gzip compressed is unpacked on the way.

    Raises:
        DktError: anything that is not a whole, well-formed archive.
    """
    with open_input(rxfilename) as stream:
        yield from _entries(read, unpacked(stream, rxfilename), rxfilename)


def read_gzipped_archive(read: Reader, path: Path) -> Iterator[tuple[str, Any]]:
    """As ``read_archive``, of a gzip file: in this process, and no larger than data are.

    Raises:
        DktError: as there, or the file is broken, or a bomb.
    """
    try:
        stream = path.open("rb")
    except OSError as error:
        raise cannot_read(path, error) from None
    with stream:
        yield from _entries(read, open_gunzip(stream, os.fstat(stream.fileno()).st_size, path), str(path))


def _entries(read: Reader, stream: BinaryIO, path: str) -> Iterator[tuple[str, Any]]:
    while (key := read_key(stream, path)) is not None:
        yield key, read_value(read, stream, path, key)


def read_key(stream: BinaryIO, path: str) -> str | None:
    """The next key of an archive, the space behind it passed over; None at the end.

    Raises:
        DktError: the archive ends within it, or it is none.
    """
    key = b""
    # What is in the buffer: mostly the whole key.
    while ahead := cast(io.BufferedReader, stream).peek(1):
        space = _SPACE.search(ahead)
        end = space.start() if space else len(ahead)
        if end == 0 and not key:
            stream.read(len(ahead) - len(ahead.lstrip()))
            continue
        key += ahead[:end]
        if len(key) > _LONGEST_KEY or (space and space[0] not in b" \t\n"):
            raise DktError(f"expected an utterance and a space, found {key[:30]!r}", path=path)
        # A line end is left in place: a text object that is empty, written by a tool that saves the space.
        stream.read(end + bool(space and space[0] != b"\n"))
        if space:
            return _decode(key, path)
    if key:
        raise DktError(f"the archive is cut short after {key[:30]!r}", path=path)
    return None


def _decode(key: bytes, path: str) -> str:
    try:
        text = key.decode("utf-8")
    except UnicodeDecodeError:
        raise DktError(f"the utterance-id {key[:30]!r} is not UTF-8", path=path) from None
    if char := None if text.isascii() else refused_character(text):
        what, _ = refusal(char, path)
        raise DktError(f"the utterance-id holds {what}", path=path, utt=text, hint="write the archive again")
    return text
