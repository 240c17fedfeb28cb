"""Reading as many bytes as a header promises, or as a gzip file grows to, without believing either."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from dkt.base.errors import DktError

# As much is taken on a header's word.
_PIECE = 1 << 20
_SHORT = 1 << 16
# A gzip file may grow to this size; beyond it to so many times its own. Alignments grow 10 to 20 times, a
# language model 5, and what was made to fill the memory a thousand times.
_INNOCENT = 32 << 20
_MOST_GROWTH = 200


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


class _Counted:
    """A stream of which it is known how much has been read."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.count = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.count += len(data)
        return data


class _Gunzip(io.RawIOBase):
    """What a gzip stream holds, given piece by piece, as long as it grows no more than data do."""

    def __init__(self, stream: BinaryIO, size: int | None, path: str | Path) -> None:
        self._counted = _Counted(stream)
        self._inner = gzip.GzipFile(fileobj=cast(BinaryIO, self._counted), mode="rb")
        self._size = size
        self._path = path
        self._given = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        if self._size == 0:
            raise DktError("broken gzip file: it is empty", path=self._path)
        try:
            data = self._inner.read(len(view))
        except (OSError, EOFError, zlib.error) as error:
            raise DktError(f"broken gzip file: {error}", path=self._path) from None
        self._given += len(data)
        size = self._counted.count if self._size is None else self._size
        if self._given > max(_INNOCENT, _MOST_GROWTH * size):
            raise DktError(
                f"{size} bytes of gzip become more than {self._given - len(data)}: no data do that",
                path=self._path,
                hint="if they are data all the same, decompress the file",
            )
        view[: len(data)] = data
        return len(data)


def open_gunzip(stream: BinaryIO, size: int | None, path: str | Path) -> io.BufferedReader:
    """What a gzip stream holds; a small file that becomes a huge one is an error before memory is taken.

    Args:
        stream: of the compressed bytes.
        size: how many they are; None for a stream that does not know, such as a pipe.
        path: the file to name in errors, which are raised on reading.
    """
    return io.BufferedReader(_Gunzip(stream, size, path), _PIECE)


def decompress_gzip(data: bytes, path: str | Path) -> bytes:
    """Decompress a gzip file that is in memory.

    Raises:
        DktError: it is broken, or 200 times larger than it was and no small file.
    """
    stream = open_gunzip(io.BytesIO(data), len(data), path)
    # Not read() alone, which goes by small steps.
    return b"".join(iter(lambda: stream.read(_PIECE), b""))
