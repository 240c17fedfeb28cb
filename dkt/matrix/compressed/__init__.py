"""The libraries that read and write Kaldi's matrices and vectors; the environment variable DKT_IO chooses.

``kaldiio`` is the default. Its licence is an evaluation agreement: where that is not acceptable,
``DKT_IO=kaldi_native_io`` takes one under the Apache licence, and kaldiio is then never imported.
"""

from __future__ import annotations

import functools
import importlib
import os
from typing import Protocol

import numpy as np

from dkt.base.errors import DktError

VARIABLE = "DKT_IO"
BACKENDS = {
    "kaldiio": "dkt.matrix.compressed.with_kaldiio",
    "kaldi_native_io": "dkt.matrix.compressed.with_native",
}


class Backend(Protocol):
    """What a back end can do; values unpacked differ by less than Kaldi's step."""

    def decode(self, header: bytes, body: np.ndarray) -> np.ndarray:
        """The writable array of one whole matrix or vector, compressed or not, float32 or float64 as stored.

        Args:
            header: the object from ``\\0B`` on to its sizes, which are right, and not zero if compressed.
            body: what follows, uint8; the array may share its memory.

        Raises:
            DktError: the library refuses it.
        """

    def encode(self, value: np.ndarray, method: int | None = None) -> bytes:
        """The object, from ``\\0B`` on, of a matrix or vector.

        Args:
            value: float32 or float64; to be compressed, a matrix of finite float32 values, at least one.
            method: Kaldi's number of a way to compress, 1 to 7; None for none.
        """


def backend() -> Backend:
    """The back end that DKT_IO names.

    Raises:
        DktError: there is none of that name, or its library is not installed.
    """
    return _load(os.environ.get(VARIABLE) or "kaldiio")


@functools.cache
def _load(name: str) -> Backend:
    if name not in BACKENDS:
        raise DktError(f"{VARIABLE} is '{name}', expected {' or '.join(BACKENDS)}")
    try:
        module: Backend = importlib.import_module(BACKENDS[name])
    except ImportError as error:
        others = " or ".join(other for other in BACKENDS if other != name)
        raise DktError(
            f"{name} cannot be imported: {error}",
            hint=f"pip install {name}, or choose another with {VARIABLE}={others}",
        ) from None
    return module
