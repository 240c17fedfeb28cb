"""The objects that tables hold, matrices and vectors, to and from bytes (``matrix/``, ``base/io-funcs``).

Lengths are checked before memory is taken: a damaged header costs no more than the data that is there. Plain
matrices are read straight into the array that is returned; compressed ones go through a back end.
"""

from __future__ import annotations

import re
import struct
from array import array
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

from dkt.bounded import read_exactly, skip_zeros
from dkt.errors import DktError
from dkt.io_backends import backend

_BAD_DATA = (ValueError, OverflowError, OSError, struct.error)
_BINARY = b"\0B"
_DTYPES: dict[bytes, np.dtype] = {b"F": np.dtype("<f4"), b"D": np.dtype("<f8")}
_SIZE = struct.Struct("<Bi")
_SHAPE = struct.Struct("<BiBi")
_COMPRESSED_HEADER = struct.Struct("<ffii")
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
    return read_text_matrix(head + stream.readline(), stream)


def read_vector(stream: BinaryIO) -> np.ndarray:
    """Read one real vector of shape ``(n,)``: writable, float32 or float64 as stored, float64 of text."""
    head = stream.read(2)
    if head == _BINARY:
        return _read_binary(stream, stream.read(3), b"V ")
    value = read_text_matrix(head + stream.readline(), stream)
    if len(value) > 1:
        raise DktError(f"expected a vector, found a matrix of {len(value)} rows")
    return value.reshape(-1)


def read_matrix_or_vector(stream: BinaryIO) -> np.ndarray:
    """Read one real matrix or vector: of text, a vector is what ends on the line that it begins on."""
    head = stream.read(2)
    if head == _BINARY:
        head = stream.read(3)
        return _read_binary(stream, head, b"V ") if head[1:] == b"V " else read_binary_matrix(stream, head)
    line = head + stream.readline()
    value = read_text_matrix(line, stream)
    return value.reshape(-1) if b"]" in line and len(value) <= 1 else value


def read_binary_matrix(stream: BinaryIO, head: bytes = b"") -> np.ndarray:
    """As ``read_matrix``, of a binary object whose ``\\0B``, and then ``head``, have been taken already."""
    head += stream.read(3 - len(head))
    if head in (b"CM2", b"CM3"):
        head += stream.read(1)
    if head in (b"CM ", b"CM2 ", b"CM3 "):
        return _read_compressed(stream, head)
    return _read_binary(stream, head, b"M ")


def _read_binary(stream: BinaryIO, head: bytes, shape: bytes) -> np.ndarray:
    if head[:1] in _DTYPES and head[1:] == shape:
        return _read_plain(stream, _DTYPES[head[:1]], matrix=shape == b"M ")
    expected = "matrix" if shape == b"M " else "vector"
    raise DktError(f"expected a {expected}, found an object that begins with {(_BINARY + head)!r}")


def _read_plain(stream: BinaryIO, dtype: np.dtype, matrix: bool) -> np.ndarray:
    if matrix:
        row_mark, rows, column_mark, columns = _SHAPE.unpack(stream.read(_SHAPE.size))
        _check_shape(rows, columns, row_mark, column_mark)
        data = read_exactly(stream, rows * columns * dtype.itemsize)
        return data.view(dtype).reshape(rows, columns)
    mark, count = _SIZE.unpack(stream.read(_SIZE.size))
    _check_shape(count, count, mark)
    return read_exactly(stream, count * dtype.itemsize).view(dtype)


def _check_shape(rows: int, columns: int, *marks: int) -> None:
    if any(mark != 4 for mark in marks) or rows < 0 or columns < 0 or (rows == 0) != (columns == 0):
        raise DktError(f"the archive is damaged: a matrix of {rows} x {columns}")


def _read_compressed(stream: BinaryIO, kind: bytes) -> np.ndarray:
    header = stream.read(_COMPRESSED_HEADER.size)
    *_, rows, columns = _COMPRESSED_HEADER.unpack(header)
    _check_shape(rows, columns)
    if rows == 0:
        # Kaldi writes four bytes more of an empty matrix than it reads.
        skip_zeros(stream, 4)
        return np.empty((0, 0), dtype=np.float32)
    size = columns * (8 + rows) if kind == b"CM " else columns * rows * (2 if kind == b"CM2 " else 1)
    return backend().decompress(b"".join((_BINARY, kind, header, read_exactly(stream, size).data)))


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
        ValueError: a word is no number.
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
    except _BAD_DATA as error:
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
    kind = b"DM " if matrix.dtype == np.float64 else b"FM "
    return b"".join((_BINARY, kind, _SHAPE.pack(4, len(matrix), 4, matrix.shape[1]), matrix.data))


def _as_real(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values, dtype=np.float64 if values.dtype == np.float64 else np.float32)


def _compress(matrix: np.ndarray, method: int) -> bytes:
    if not 1 <= method <= 7:
        raise DktError(f"compression method {method}, expected 1 to 7")
    matrix = matrix.astype(np.float32, copy=False)
    if not np.isfinite(matrix).all():
        raise DktError("a matrix with NaN or infinite values cannot be compressed")
    return backend().compress(matrix, method)


def encode_vector(vector: np.ndarray, text: bool = False) -> bytes:
    """The bytes of a real vector of shape ``(n,)``: float64 if it is, else float32."""
    vector = _as_real(vector)
    if text:
        return (" [ " + "".join(f"{x:.7g} " for x in vector.tolist()) + "]\n").encode()
    kind = b"DV " if vector.dtype == np.float64 else b"FV "
    return b"".join((_BINARY, kind, _SIZE.pack(4, len(vector)), vector.data))


def encode_int_vector(vector: np.ndarray, text: bool = False) -> bytes:
    """The bytes of an int32 vector of shape ``(n,)``."""
    vector = np.asarray(vector, dtype=np.int32)
    if text:
        return ("".join(f"{x} " for x in vector.tolist()) + "\n").encode()
    items = np.empty(len(vector), dtype=_INT_ITEM)
    items["size"] = 4
    items["value"] = vector
    return b"".join((_BINARY, _SIZE.pack(4, len(vector)), items.data))
