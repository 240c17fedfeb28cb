"""Matrices and vectors by kaldiio, in the only module that imports it.

Its readers of one object, not ``read_kaldi``, which would also load pickles, numpy's files and audio.

kaldiio compresses as Kaldi does, except that a value halfway between two codes may go to the other one
(mostly methods 3 and 4), and that matrices of fewer than five rows get other column ranges (method 2): what
is read back differs by a step at most. It unpacks in another order of operations, and so to other last bits,
than Kaldi.
"""

from __future__ import annotations

import io
import struct

import numpy as np
from kaldiio import matio

from dkt.base.errors import DktError

# The methods with a range of their own; kaldiio wraps around what lies outside,
# Kaldi takes the nearest end.
_RANGES = {4: (-32768.0, 32767.0), 6: (0.0, 255.0), 7: (0.0, 1.0)}
# kaldiio multiplies a matrix's range by codes of 16 bits, in single precision.
_WIDEST = float(np.finfo(np.float32).max) / 65535


class _Parts(list[bytes]):
    """As much of a file as kaldiio writes to."""

    write = list.append


class _Object:
    """As much of a file as kaldiio reads from; it gets the memory of the body itself, which is writable."""

    def __init__(self, header: bytes, body: np.ndarray) -> None:
        self._header = io.BytesIO(header)
        self._body = body

    def read(self, size: int) -> bytes | np.ndarray:
        if part := self._header.read(size):
            return part
        taken, self._body = self._body[:size], self._body[size:]
        return taken


def decode(header: bytes, body: np.ndarray) -> np.ndarray:
    """The array of the object that ``header`` and ``body`` make up."""
    compressed = header[2:3] == b"C"
    if not __debug__:
        # kaldiio reads the marks within assertions, which python -O leaves out.
        header = header[2:] if compressed else header[2:5] + header[6:10] + header[11:]
    if not compressed:
        return matio.read_matrix_or_vector(_Object(header, body))
    (extent,) = struct.unpack("<f", header[-12:-8])
    if _WIDEST < abs(extent) < np.inf:
        raise DktError(
            f"kaldiio cannot unpack a matrix of the range {extent:g}", hint="set DKT_IO=kaldi_native_io"
        )
    # A damaged range gives NaN or infinite values, which those who must not have them look for.
    with np.errstate(all="ignore"):
        return np.ascontiguousarray(matio.read_matrix_or_vector(_Object(header, body)))


def encode(value: np.ndarray, method: int | None = None) -> bytes:
    """The bytes of a matrix or vector; a matrix may be compressed by method 1 to 7."""
    if method in _RANGES:
        value = np.clip(value, *_RANGES[method])
    parts = _Parts()
    matio.write_array(parts, value, compression_method=method)
    return b"".join(parts)
