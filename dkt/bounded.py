"""Reading as many bytes as a header promises, without believing it: memory is taken as data arrive."""

from __future__ import annotations

import io
from typing import BinaryIO, cast

import numpy as np

from dkt.errors import DktError

# As much is taken on a header's word.
_PIECE = 1 << 20
_SHORT = 1 << 16


def read_bytes(stream: BinaryIO, size: int) -> bytes | memoryview:
    """The next ``size`` bytes, memory taken as by ``read_exactly``; quicker where they are few.

    Raises:
        DktError: the stream ends before.
    """
    # Only what claims to be long needs the care that arrays are read with.
    data = stream.read(size) if size <= _SHORT else read_exactly(stream, size).data
    if len(data) != size:
        raise _cut_short(size, len(data))
    return data


def read_exactly(stream: BinaryIO, size: int) -> np.ndarray:
    """The next ``size`` bytes as a new, writable array, uint8 of shape ``(size,)``.

    Takes at most 1 MiB, or three times what the stream holds, if ``size`` is wrong.

    Raises:
        DktError: the stream ends before.
    """
    if size <= _PIECE:
        data = np.empty(size, dtype=np.uint8)
        _fill(stream, data, size, 0)
        return data
    return _read_long(stream, size)


def _read_long(stream: BinaryIO, size: int) -> np.ndarray:
    first = _PIECE
    if stream.seekable():
        place = stream.tell()
        left = stream.seek(0, io.SEEK_END) - place
        stream.seek(place)
        if left < size:
            raise _cut_short(size, left)
        first = size
    data = np.empty(first, dtype=np.uint8)
    _fill(stream, data, size, 0)
    while len(data) < size:
        # A pipe: as much again as came already.
        longer = np.empty(min(size, 2 * len(data)), dtype=np.uint8)
        longer[: len(data)] = data
        _fill(stream, longer[len(data) :], size, len(data))
        data = longer
    return data


def _fill(stream: BinaryIO, data: np.ndarray, size: int, before: int) -> None:
    count = cast(io.BufferedReader, stream).readinto(data.data)
    if count < len(data):
        raise _cut_short(size, before + count)


def _cut_short(size: int, found: int) -> DktError:
    return DktError(f"the archive is cut short: {size} bytes expected, {found} found")


def skip_zeros(stream: BinaryIO, most: int) -> None:
    """Pass over the zero bytes that come next, ``most`` at most."""
    for _ in range(most):
        if cast(io.BufferedReader, stream).peek(1)[:1] != b"\0":
            return
        stream.read(1)
