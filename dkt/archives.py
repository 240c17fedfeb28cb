"""Kaldi's archives: keys and objects in turn, ``key object key object ...`` (``util/kaldi-table-inl.h``)."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from dkt.errors import DktError
from dkt.streams import open_input
from dkt.text import refusal, refused_character
from dkt.values import Reader, read_value

_SPACE = re.compile(rb"\s")
_LONGEST_KEY = 4096


def read_archive(read: Reader, rxfilename: str) -> Iterator[tuple[str, Any]]:
    """The keys and objects of an archive one by one; ``read`` takes one object from the stream.

    Raises:
        DktError: anything that is no whole, well-formed archive.
    """
    with open_input(rxfilename) as stream:
        while (key := read_key(stream, rxfilename)) is not None:
            yield key, read_value(read, stream, rxfilename, key)


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
