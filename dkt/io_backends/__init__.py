"""The libraries that pack Kaldi's compressed matrices; the environment variable DKT_IO chooses one.

``kaldiio`` is the default. Its licence is an evaluation agreement: where that is not acceptable,
``DKT_IO=kaldi_native_io`` takes one under the Apache licence, and kaldiio is then never imported.
"""

from __future__ import annotations

import functools
import importlib
import os
from typing import Protocol

import numpy as np

from dkt.errors import DktError

VARIABLE = "DKT_IO"
BACKENDS = {"kaldiio": "dkt.io_backends.with_kaldiio", "kaldi_native_io": "dkt.io_backends.with_native"}


class Backend(Protocol):
    """What a back end can do; both give the very same values."""

    def decompress(self, data: bytes) -> np.ndarray:
        """The matrix, float32 of shape ``(rows, columns)`` and writable, of one whole compressed object.

        Args:
            data: the object from ``\\0B`` on: not empty, its length checked against its header.

        Raises:
            DktError: the library refuses it.
        """

    def compress(self, matrix: np.ndarray, method: int) -> bytes:
        """The object, from ``\\0B`` on, of a matrix.

        Args:
            matrix: finite float32 values of shape ``(rows, columns)``, at least one.
            method: Kaldi's number, 1 to 7.
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
