"""The objects that tables hold, matrices and vectors, to and from bytes (``matrix/``, ``base/io-funcs``).

What is binary goes through a back end, kaldiio unless told otherwise, after its header has been held against
the bytes that are there: a damaged one costs no more memory than they do. Done here are

* float32 matrices, for speed;
* integer vectors, which kaldiio reads and writes number by number;
* text. kaldiio tells the type by the first number: it fails at ``[ 0 0.5 ]``, ``[ 1e-05 ]`` and ``[ nan ]``,
  reads ``[ 1 2 ]`` as integers and the rest in single precision. It writes 12 digits of a float, Kaldi 7.
"""

from __future__ import annotations

import math
import re
import struct
from array import array
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

from dkt.base.bounded import read_bytes, read_exactly, skip_zeros
from dkt.base.errors import DktError
from dkt.matrix.compressed import backend

#: What readers raise of bad data.
BAD_DATA = (DktError, ValueError, OverflowError, OSError, struct.error)
_BINARY = b"\0B"
_SIZE = struct.Struct("<Bi")
# What the sizes of an object look like, and the bytes of a value.
_VECTOR, _MATRIX, _COMPRESSED = _SIZE, struct.Struct("<BiBi"), struct.Struct("<8xii")
_KINDS = {
    **{b"FM ": (_MATRIX, 4), b"DM ": (_MATRIX, 8), b"FV ": (_VECTOR, 4), b"DV ": (_VECTOR, 8)},
    **{b"CM ": (_COMPRESSED, 1), b"CM2 ": (_COMPRESSED, 2), b"CM3 ": (_COMPRESSED, 1)},
}
_ROW = re.compile(rb"[^\n;]+")
# A day of frames, which nobody takes for an utterance, and what they are as text.
_MOST_INTEGERS = 10_000_000
_LONGEST_LINE = 1 << 25
_INT_ITEM = np.dtype([("size", "u1"), ("value", "<i4")])

Reader = Callable[[BinaryIO], Any]


def read_matrix(stream: BinaryIO) -> np.ndarray:
    """Read one matrix ``(rows, columns)`` of any Kaldi type: writable, float32 or float64 as stored.

    Text has no type and is read as float64.
    """
    head = stream.read(2)
    if head == _BINARY:
        return read_binary_matrix(stream)
    return read_text_matrix(_first_line(head, stream), stream)


def read_vector(stream: BinaryIO) -> np.ndarray:
    """Read one real vector of shape ``(n,)``: writable, float32 or float64 as stored, float64 of text."""
    head = stream.read(2)
    if head == _BINARY:
        return _read_binary(stream, stream.read(3), "vector")
    value = read_text_matrix(_first_line(head, stream), stream)
    if len(value) > 1:
        raise DktError(f"expected a vector, found a matrix of {len(value)} rows")
    return value.reshape(-1)


def read_matrix_or_vector(stream: BinaryIO) -> np.ndarray:
    """Read one real matrix or vector: of text, a vector is what ends on the line that it begins on."""
    head = stream.read(2)
    if head == _BINARY:
        head = stream.read(3)
        return _read_binary(stream, head, "vector" if head[1:] == b"V " else "matrix")
    line = _first_line(head, stream)
    value = read_text_matrix(line, stream)
    return value.reshape(-1) if b"]" in line and len(value) <= 1 else value


def _first_line(head: bytes, stream: BinaryIO) -> bytes:
    """The first line of an object as text; of what does not begin as one only the beginning."""
    if head.strip() and not head.lstrip().startswith(b"["):
        # Zeros, as a crash leaves them, may go on for as long as the disk is large.
        return head + stream.read(18)
    return head + stream.readline()


def read_binary_matrix(stream: BinaryIO, head: bytes = b"") -> np.ndarray:
    """As ``read_matrix``, of a binary object whose ``\\0B``, and then ``head``, have been taken already."""
    return _read_binary(stream, head + stream.read(3 - len(head)), "matrix")


def _read_binary(stream: BinaryIO, kind: bytes, expected: str) -> np.ndarray:
    if kind in (b"CM2", b"CM3"):
        kind += stream.read(1)
    layout, width = _KINDS.get(kind, (None, 0))
    if layout is None or (layout is _VECTOR) != (expected == "vector"):
        raise DktError(f"expected a {expected}, found an object that begins with {(_BINARY + kind)!r}")
    sizes = bytes(read_bytes(stream, layout.size))
    numbers = layout.unpack(sizes)
    marks, shape = ((), numbers) if layout is _COMPRESSED else (numbers[::2], numbers[1::2])
    if marks.count(4) < len(marks) or min(shape) < 0 or (0 in shape and any(shape)):
        raise DktError(f"the archive is damaged: a {expected} of {' x '.join(map(str, shape))}")
    size = math.prod(shape) * width + (8 * shape[1] if kind == b"CM " else 0)
    if layout is _COMPRESSED and size == 0:
        # Kaldi writes four bytes more of an empty matrix than it reads.
        skip_zeros(stream, 4)
        return np.empty((0, 0), dtype=np.float32)
    body = read_exactly(stream, size)
    if kind == b"FM ":
        # The values are the bytes. kaldiio takes headers apart in Python: 38 against 26 microseconds for
        # 300 frames of 40 values (benchmarks/read_archives.py).
        return body.view("<f4").reshape(shape)
    return backend().decode(_BINARY + kind + sizes, body)


def read_text_matrix(text: bytes, stream: BinaryIO) -> np.ndarray:
    """As ``read_matrix``, of a text object whose first line, ``text``, has been taken already."""
    before, bracket, text = text.partition(b"[")
    if not bracket or before.strip():
        raise DktError(f"expected a matrix, found {(before + bracket + text)[:20]!r}")
    body = bytearray()
    while b"]" not in text:
        body += text
        text = stream.readline()
        if not text:
            raise DktError("the archive is cut short: no closing ']'")
    last, _, after = text.partition(b"]")
    if after.strip():
        raise DktError(f"expected the end of a line after ']', found {after[:20]!r}")
    return parse_rows(body + last)


def parse_rows(text: bytes | bytearray) -> np.ndarray:
    """The matrix ``(rows, columns)``, float64, of what stands between the brackets of a text object.

    Raises:
        DktError: rows differ in length.
        ValueError: a word is not a number.
    """
    refuse_underscore(text)
    values, rows, columns = array("d"), 0, 0
    for row in _ROW.finditer(text):
        before = len(values)
        values.extend(map(float, row[0].split()))
        width = len(values) - before
        if width and rows and width != columns:
            raise DktError("the rows of the matrix differ in length")
        rows, columns = rows + bool(width), width or columns
    return np.array(values, dtype=np.float64).reshape(rows, columns)


def refuse_underscore(numbers: bytes | bytearray) -> None:
    """Raise DktError for an underscore: Python would read 1_0 as 10."""
    if b"_" in numbers:
        raise DktError(f"expected numbers, found {bytes(numbers[:20])!r}")


def read_int_vector(stream: BinaryIO) -> np.ndarray:
    """Read one integer vector as int32 of shape ``(n,)``: all at once, not number by number."""
    first = stream.read(1)
    if first != b"\0":
        # An empty vector is a line end alone: what follows is the next utterance's.
        return _parse_int_line(first if first == b"\n" else first + stream.readline(_LONGEST_LINE))
    if stream.read(1) != b"B":
        raise DktError("expected a vector of integers, found a zero byte")
    item, count = _SIZE.unpack(stream.read(_SIZE.size))
    if item != 4 or count < 0:
        raise DktError("expected a vector of 4-byte integers")
    if count > _MOST_INTEGERS and not stream.seekable():
        raise DktError(f"a vector of {count} integers: no utterance has so many frames")
    items = read_exactly(stream, count * _INT_ITEM.itemsize).view(_INT_ITEM)
    if (items["size"] != 4).any():
        raise DktError("expected a vector of 4-byte integers")
    return items["value"].astype(np.int32)


def _parse_int_line(line: bytes) -> np.ndarray:
    if not line.endswith(b"\n"):
        if len(line) >= _LONGEST_LINE:
            raise DktError(f"a line of more than {_LONGEST_LINE} bytes: no utterance is as long as that")
        raise DktError("the archive is cut short: the end of a line expected")
    refuse_underscore(line)
    try:
        return np.array(line.split(), dtype=np.int32)
    except (ValueError, OverflowError):
        word = next(word for word in line.split() if not _is_int32(word))
        raise DktError(f"expected integers, found {word[:40].decode('utf-8', errors='replace')!r}") from None


def _is_int32(word: bytes) -> bool:
    try:
        np.int32(int(word))
    except (ValueError, OverflowError):
        return False
    return True


def read_value(read: Reader, stream: BinaryIO, path: str, utt: str) -> Any:
    """Call ``read``; whatever is wrong with the data becomes a DktError that names ``path`` and ``utt``."""
    try:
        return read(stream)
    except DktError as error:
        if error.path == str(path):
            raise
        raise DktError(str(error), path=path, utt=utt) from None
    except BAD_DATA as error:
        raise DktError(f"the archive is damaged or cut short ({error})", path=path, utt=utt) from None


def encode_matrix(matrix: np.ndarray, text: bool = False, compression_method: int | None = None) -> bytes:
    """The bytes of a matrix of shape ``(rows, columns)``: float64 if it is, else float32.

    Args:
        matrix: the values; one without any is written as 0 x 0, the only empty one that Kaldi knows.
        text: Kaldi's text form, seven digits and no compression.
        compression_method: Kaldi's number, 1 to 7; None for none. Methods 4, 6 and 7 have ranges of their
            own, [-32768, 32767], [0, 255] and [0, 1], to whose ends other values go.

    Raises:
        DktError: there is no such method, or a value to be compressed is NaN or infinite.
    """
    matrix = _as_real(matrix if matrix.size else matrix.reshape(0, 0))
    if text:
        rows = "".join("\n  " + "".join(f"{x:.7g} " for x in row) for row in matrix.tolist())
        return f" [{rows or ' '}]\n".encode()
    if compression_method is not None and matrix.size:
        return _compress(matrix, compression_method)
    return backend().encode(matrix)


def _as_real(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values, dtype=np.float64 if values.dtype == np.float64 else np.float32)


def _compress(matrix: np.ndarray, method: int) -> bytes:
    if not 1 <= method <= 7:
        raise DktError(f"compression method {method}, expected 1 to 7")
    matrix = matrix.astype(np.float32, copy=False)
    if not np.isfinite(matrix).all():
        raise DktError("a matrix with NaN or infinite values cannot be compressed")
    return backend().encode(matrix, method)


def encode_vector(vector: np.ndarray, text: bool = False) -> bytes:
    """The bytes of a real vector of shape ``(n,)``: float64 if it is, else float32."""
    vector = _as_real(vector)
    if text:
        return (" [ " + "".join(f"{x:.7g} " for x in vector.tolist()) + "]\n").encode()
    return backend().encode(vector)


def encode_int_vector(vector: np.ndarray, text: bool = False) -> bytes:
    """The bytes of an int32 vector of shape ``(n,)``."""
    vector = np.asarray(vector, dtype=np.int32)
    if text:
        return ("".join(f"{x} " for x in vector.tolist()) + "\n").encode()
    items = np.empty(len(vector), dtype=_INT_ITEM)
    items["size"] = 4
    items["value"] = vector
    return b"".join((_BINARY, _SIZE.pack(4, len(vector)), items.data))
