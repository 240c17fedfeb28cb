"""The objects that tables hold, matrices and integer vectors, to and from bytes.

The only module that imports kaldiio. Around it: arrays are writable, pickled archives are refused, damaged
data is an error that names the utterance, and integer vectors are read in one step.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import BinaryIO

import numpy as np
from kaldiio import matio

from dkt.errors import DktError

_BAD_DATA = (ValueError, AssertionError, struct.error, EOFError, MemoryError, OverflowError, RuntimeError)
_MATRIX_TYPES = (b"FM", b"DM", b"FV", b"DV", b"CM", b"CM2", b"CM3")
_INT_ITEM = np.dtype([("size", "u1"), ("value", "<i4")])

Reader = Callable[[BinaryIO], np.ndarray]


class _Prefixed:
    """A stream with a few bytes put back in front of it."""

    def __init__(self, prefix: bytes, stream: BinaryIO) -> None:
        self.prefix = prefix
        self.stream = stream

    def read(self, size: int = -1) -> bytes:
        head, self.prefix = (self.prefix, b"") if size < 0 else (self.prefix[:size], self.prefix[size:])
        return head + self.stream.read(size - len(head) if size >= 0 else -1)

    @staticmethod
    def seekable() -> bool:
        return False


def read_matrix(stream: BinaryIO) -> np.ndarray:
    """Read one matrix or real vector of any Kaldi type: writable, float32 or float64 as stored."""
    head = stream.read(2)
    if head != b"\0B":
        return _read_text_matrix(head, stream)
    name = b""
    while len(name) < 4 and not name.endswith(b" "):
        name += stream.read(1) or b" "
    if name[:-1] not in _MATRIX_TYPES:
        raise DktError(f"expected a matrix, found an object that begins with {name!r}")
    # kaldiio's arrays are views of read-only bytes.
    return np.array(matio.read_matrix_or_vector(_Prefixed(head + name, stream)))


def _read_text_matrix(head: bytes, stream: BinaryIO) -> np.ndarray:
    text = head + stream.readline()
    if not text.lstrip().startswith(b"["):
        raise DktError(f"expected a matrix, found {text[:20]!r}")
    rows = []
    while True:
        closed = b"]" in text
        row = [float(word) for word in text.replace(b"[", b" ").replace(b"]", b" ").split()]
        if row:
            rows.append(row)
        if closed:
            break
        text = stream.readline()
        if not text:
            raise DktError("the archive is cut short: no closing ']'")
    if len({len(row) for row in rows}) > 1:
        raise DktError("the rows of the matrix differ in length")
    return np.array(rows, dtype=np.float32).reshape(len(rows), -1 if rows else 0)


def read_int_vector(stream: BinaryIO) -> np.ndarray:
    """Read one integer vector as int32 of shape ``(n,)``: all at once, not number by number."""
    first = stream.read(1)
    if first != b"\0":
        # An empty vector is a line end alone: what follows is the next utterance's.
        line = first if first in (b"\n", b"") else first + stream.readline()
        return np.array(line.split(), dtype=np.int32)
    if stream.read(1) != b"B":
        raise DktError("expected a vector of integers, found a zero byte")
    item, count = struct.unpack("<Bi", stream.read(5))
    if item != 4 or count < 0:
        raise DktError("expected a vector of 4-byte integers")
    data = stream.read(count * _INT_ITEM.itemsize)
    if len(data) != count * _INT_ITEM.itemsize:
        raise DktError(f"the archive is cut short: {count} integers expected")
    items = np.frombuffer(data, dtype=_INT_ITEM)
    if (items["size"] != 4).any():
        raise DktError("expected a vector of 4-byte integers")
    return items["value"].astype(np.int32)


def read_value(read: Reader, stream: BinaryIO, path: str, utt: str) -> np.ndarray:
    """Call ``read``; whatever is wrong with the data becomes a DktError that names ``path`` and ``utt``."""
    try:
        return read(stream)
    except DktError as error:
        raise DktError(str(error), path=path, utt=utt) from None
    except _BAD_DATA as error:
        raise DktError(f"the archive is damaged or cut short ({error})", path=path, utt=utt) from None


def encode_matrix(matrix: np.ndarray, text: bool = False, compression_method: int | None = None) -> bytes:
    """The bytes of a matrix of shape ``(rows, columns)``: float64 if it is, else float32.

    Args:
        matrix: the values.
        text: Kaldi's text form.
        compression_method: Kaldi's number, 1 to 7; None for none.
    """
    matrix = np.ascontiguousarray(matrix, dtype=np.float64 if matrix.dtype == np.float64 else np.float32)
    if text:
        rows = "".join("\n  " + "".join(f"{x:.7g} " for x in row) for row in matrix)
        return f" [{rows}]\n".encode()
    sink = _Bytes()
    # An empty matrix has no range to compress.
    matio.write_array(sink, matrix, compression_method=compression_method if matrix.size else None)
    return b"".join(sink.parts)


class _Bytes:
    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.parts.append(data)


def encode_int_vector(vector: np.ndarray, text: bool = False) -> bytes:
    """The bytes of an int32 vector of shape ``(n,)``."""
    vector = np.asarray(vector, dtype=np.int32)
    if text:
        return ("".join(f"{x} " for x in vector) + "\n").encode()
    items = np.empty(len(vector), dtype=_INT_ITEM)
    items["size"] = 4
    items["value"] = vector
    return b"\0B" + struct.pack("<Bi", 4, len(vector)) + items.tobytes()
