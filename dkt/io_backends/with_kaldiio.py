"""Compressed matrices by kaldiio, the only module that imports it.

kaldiio packs a matrix as Kaldi does, except that a value halfway between two codes may go to the other one
(mostly methods 3 and 4), and that matrices of fewer than five rows get other column ranges (method 2): what
is read back differs by a step at most. It unpacks in another order of operations, and so to other last bits,
than Kaldi; hence unpacking follows ``matrix/compressed-matrix.cc`` here, to the same bits.
"""

from __future__ import annotations

import struct

import numpy as np
from kaldiio import matio

# The methods with a range of their own; kaldiio wraps around what lies outside,
# Kaldi takes the nearest end.
_RANGES = {4: (-32768.0, 32767.0), 6: (0.0, 255.0), 7: (0.0, 1.0)}
_CODES = np.arange(256, dtype=np.float32)[None, :]


def compress(matrix: np.ndarray, method: int) -> bytes:
    """The bytes of a matrix ``(rows, columns)`` packed by method 1 to 7."""
    if method in _RANGES:
        matrix = np.clip(matrix, *_RANGES[method])
    parts = _Parts()
    matio.write_array(parts, matrix, compression_method=method)
    return b"".join(parts)


class _Parts(list[bytes]):
    """As much of a file as kaldiio writes to."""

    write = list.append


def decompress(data: bytes) -> np.ndarray:
    """The matrix ``(rows, columns)`` of the object ``data``, float32."""
    start = data.index(b" ") + 1
    low, extent, rows, columns = struct.unpack_from("<ffii", data, start)
    kind, body = data[2 : start - 1], memoryview(data)[start + 16 :]
    if kind == b"CM":
        heads = np.frombuffer(body, "<u2", 4 * columns).astype(np.float32)
        # 1.5259022e-05 is Kaldi's 1.52590218966964e-05F.
        levels = np.float32(low) + np.float32(extent) * np.float32(1.52590218966964e-05) * heads
        codes = np.frombuffer(body, np.uint8, rows * columns, 8 * columns).reshape(columns, rows)
        table = _column_tables(levels.reshape(columns, 4))
        return np.ascontiguousarray(np.take_along_axis(table, codes, axis=1).T)
    steps, dtype = (65535.0, "<u2") if kind == b"CM2" else (255.0, "u1")
    step = np.float32(extent * (1.0 / steps))
    values = np.frombuffer(body, dtype, rows * columns).reshape(rows, columns).astype(np.float32)
    values *= step
    values += np.float32(low)
    return values


def _column_tables(levels: np.ndarray) -> np.ndarray:
    """What each code stands for, ``(columns, 256)``, given minimum, quartiles and maximum, ``(columns, 4)``.

    ``CompressedMatrix::CharToFloat``: products in single, the last step in double precision.
    """
    p0, p25, p75, p100 = levels.T[:, :, None]
    table = np.empty((len(levels), 256), dtype=np.float32)
    table[:, :65] = p0 + ((p25 - p0) * _CODES[:, :65]).astype(np.float64) * (1 / 64.0)
    table[:, 65:193] = p25 + ((p75 - p25) * (_CODES[:, 65:193] - 64)).astype(np.float64) * (1 / 128.0)
    table[:, 193:] = p75 + ((p100 - p75) * (_CODES[:, 193:] - 192)).astype(np.float64) * (1 / 63.0)
    return table
